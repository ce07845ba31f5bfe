"""`jina-clip search`: search a store made by `jina-clip index`, with words or with an image."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..collections.hits import Hit
from ..collections.identity import CollectionModel
from ..collections.query import Query
from ..collections.search import FolderSearch
from ..collections.store import FolderStore
from ..errors import InputError
from ..images.rendering import make_rendering, parse_colors
from ..printable import printable_name
from ..retrieval.ranking import reciprocal_rank_fusion
from ..types import Modality
from .index import add_store_options
from .messages import OK
from .options import (
    add_fetch_options,
    add_model_options,
    add_output_options,
    open_encoder,
    open_output,
    positive_int,
    rendering_options,
)
from .output import Output

SNIPPET_CHARACTERS = 100
"""Most characters of a passage in the list; with its rank and name it still fits a terminal's line or two."""

KINDS: dict[str, Modality] = {"images": "image", "texts": "text"}


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of `jina-clip search`."""
    parser.add_argument("query", nargs="?", help="words to search with")
    parser.add_argument("--image", metavar="FILE", help="search with this image instead")
    add_store_options(parser)
    parser.add_argument("--top", type=positive_int, default=5, metavar="K", help="results per list (default: 5)")
    parser.add_argument("--kind", choices=["all", *KINDS], default="all", help="what to look for (default: all)")
    parser.add_argument("--fuse", action="store_true", help="one list of images and texts, merged by rank")
    add_model_options(parser, model=None)
    add_fetch_options(parser)
    add_output_options(parser)


def run(args: argparse.Namespace) -> int:
    """Search for one query."""
    out = open_output(args)
    if (args.query is None) == (args.image is None):
        raise InputError("give either words to search with or --image FILE")
    # The store is looked at before the model is loaded, which takes seconds and may turn out to be the wrong one.
    check_store_exists(args.store)
    with FolderStore(args.store, collection=args.collection) as store:
        held = store.model()
        if held is None:
            raise InputError(f"{args.store} is an empty store; fill it with: jina-clip index FOLDER --store PATH")
        adopt_settings(args, held)
        # Checked again with the encoder: only it knows the width of a model that its server names.
        with open_encoder(args) as encoder:
            CollectionModel.of_encoder(encoder).check(held, where=args.store)
            lists = search_lists(FolderSearch(store, encoder), make_query(args), args)
    print_hits(out, lists, args)
    return OK


def check_store_exists(location: str) -> None:
    """Raise `InputError` for a local store that is not there, so that a mistyped path does not make an empty one."""
    if not location.startswith(("http://", "https://")) and not Path(location).expanduser().is_dir():
        raise InputError(f"there is no store at {location}; make one with: jina-clip index FOLDER --store {location}")


def adopt_settings(args: argparse.Namespace, held: CollectionModel) -> None:
    """Fill in what was not said with what the store was made with. Raises `ConfigurationError` for another model."""
    # Without --dimensions the store's width is meant, not the model's full one.
    args.dimensions = args.dimensions or held.fingerprint.dimensions
    for name, value in parse_colors(held.fingerprint.colors).items():
        setattr(args, name, getattr(args, name) or value)
    if args.model is not None:
        colors = make_rendering(**rendering_options(args)).colors
        CollectionModel.of(args.model, args.dimensions, colors=colors).check(held, where=args.store)
        return
    args.model = held.model
    args.backend = args.backend or held.backend or None
    if args.backend == (held.backend or None):  # an address belongs to its backend
        for name, value in held.address.items():
            setattr(args, name, getattr(args, name) or value)


def make_query(args: argparse.Namespace) -> Query:
    """What is searched for. Raises `InputError` for a query that is not understood."""
    return Query.parse(args.query) if args.image is None else Query.of(image=args.image)


def search_lists(search: FolderSearch, query: Query, args: argparse.Namespace) -> dict[str, list[Hit]]:
    """One list of results per kind."""
    kinds = KINDS if args.kind == "all" else {args.kind: KINDS[args.kind]}
    vector = search.embed(query)
    return {
        kind: search.search(query, modality=modality, top=args.top, cut_off=None, vector=vector).hits
        for kind, modality in kinds.items()
    }


def fuse(lists: Sequence[Sequence[Hit]], *, top: int) -> list[Hit]:
    """One list out of several by reciprocal rank, since scores of different modalities cannot be compared."""
    return [fused.id for fused in reciprocal_rank_fusion(lists)][:top]


def print_hits(out: Output, lists: dict[str, list[Hit]], args: argparse.Namespace) -> None:
    """Print the results, for people or as JSON."""
    if args.fuse:
        lists = {"merged by rank": fuse(list(lists.values()), top=args.top)}
    for title, hits in lists.items():
        out.line(f"{title[0].upper()}{title[1:]}")
        for rank, hit in enumerate(hits, 1):
            out.line(f"{rank:3d}  {hit.score:6.3f}  {describe_hit(hit)}")
        out.line("" if hits else "     nothing\n")
    if len(lists) > 1 or args.fuse:
        out.note("Texts score higher against words than images do: compare scores within a list, not between them.")
    out.result({"query": args.query, "image": args.image, "model": args.model, "results": _as_json(lists)})


def describe_hit(hit: Hit) -> str:
    """A hit on one line: its name, and for a text which passage and how it begins."""
    if hit.text is None:
        return printable_name(hit.name)
    where = f" (passage {hit.passage + 1} of {hit.passages})" if hit.passages > 1 else ""
    text = " ".join(hit.text.split())
    snippet = text if len(text) <= SNIPPET_CHARACTERS else f"{text[: SNIPPET_CHARACTERS - 1]}…"
    return f"{hit.name}{where}: {snippet}"


def _as_json(lists: dict[str, list[Hit]]) -> Any:
    named = {title.replace(" ", "_"): hits for title, hits in lists.items()}
    return {title: [{"rank": rank, **asdict(hit)} for rank, hit in enumerate(hits, 1)] for title, hits in named.items()}
