"""`jina-clip search`: search a store made by `jina-clip index`, with words or with an image."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..backends.registry import default_backend
from ..collections.filters import Filters
from ..collections.hits import Hit
from ..collections.identity import CollectionModel
from ..collections.query import Query
from ..collections.refine import Refiner
from ..collections.search import FolderSearch, Results
from ..collections.store import FolderStore
from ..errors import InputError
from ..images.rendering import make_rendering, parse_colors
from ..printable import printable_name
from ..retrieval.ranking import reciprocal_rank_fusion
from .index import add_store_options
from .messages import OK
from .options import (
    add_fetch_options,
    add_model_options,
    add_output_options,
    open_encoder,
    open_output,
    rendering_options,
)
from .output import Output
from .search_options import (
    KINDS,
    add_display_options,
    add_filter_options,
    add_query_options,
    add_result_options,
    check_display,
    make_filters,
    make_query,
    read_kinds,
)
from .terminal import Graphics
from .thumbnails import choose_graphics, draw_thumbnail

if TYPE_CHECKING:
    from ..encoder import JinaClipEncoder

SNIPPET_CHARACTERS = 100
"""Most characters of a passage in the list; with its rank and name it still fits a terminal's line or two."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of `jina-clip search`."""
    add_query_options(parser)
    add_store_options(parser)
    add_result_options(parser)
    add_filter_options(parser)
    add_display_options(parser, paths="the paths of the results")
    add_model_options(parser, model=None)
    add_fetch_options(parser)
    add_output_options(parser)


def run(args: argparse.Namespace) -> int:
    """Search for one query."""
    out = open_output(args)
    query = make_query(args)
    check_display(args)
    if args.refine is not None and args.diversity:
        raise InputError("--refine and --diversity exclude each other: one orders by score, the other does not")
    kinds, formats = read_kinds(args.kind)
    filters = make_filters(args, formats)
    # The store is looked at before the model is loaded, which takes seconds and may turn out to be the wrong one.
    check_store_exists(args.store)
    with FolderStore(args.store, collection=args.collection) as store:
        held = store.model()
        if held is None:
            raise InputError(f"{args.store} is an empty store; fill it with: jina-clip index FOLDER --store PATH")
        adopt_settings(args, held)
        # Checked again with the encoder: only it knows the width of a model that its server names.
        with contextlib.ExitStack() as stack:
            encoder = stack.enter_context(open_encoder(args))
            CollectionModel.of_encoder(encoder).check(held, where=args.store)
            full = None if args.refine is None else stack.enter_context(open_full_size(args))
            # Words have one vector at every size, so that only one model has to be loaded for them.
            words_only = all(term.text is not None for term in query.terms)
            search = FolderSearch(store, full if full is not None and words_only else encoder)
            lists = search_lists(search, query, filters, kinds, args, full=full)
    print_results(out, lists, args)
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
        adopt_image_size(args, held)
        colors = make_rendering(**rendering_options(args)).colors
        asked = CollectionModel.of(args.model, args.dimensions, colors=colors, image_size=args.image_size)
        asked.check(held, where=args.store)
        return
    args.model = held.model
    args.backend = args.backend or held.backend or None
    adopt_image_size(args, held)
    if args.backend == (held.backend or None):  # an address belongs to its backend
        for name, value in held.address.items():
            setattr(args, name, getattr(args, name) or value)


def adopt_image_size(args: argparse.Namespace, held: CollectionModel) -> None:
    """Look at images as quickly as the store was made, where the backend can; another one is refused later."""
    if (args.backend or default_backend(args.model)) == "local":
        args.image_size = args.image_size or held.fingerprint.image_size or None


def open_full_size(args: argparse.Namespace) -> JinaClipEncoder:
    """The encoder that the options describe, at the model's own image size."""
    return open_encoder(argparse.Namespace(**{**vars(args), "image_size": None}))


def search_lists(
    search: FolderSearch,
    query: Query,
    filters: Filters,
    kinds: Sequence[str],
    args: argparse.Namespace,
    *,
    full: JinaClipEncoder | None = None,
) -> dict[str, Results]:
    """One list of results per kind; with `full` that encoder looks at the best images again."""
    options = {"filters": filters, "top": args.top, "cut_off": args.cut_off, "vector": search.embed(query)}
    plain = partial(search.search, diversity=args.diversity)
    find = plain if full is None else partial(Refiner(search, full).search, refine=args.refine)
    return {kind: find(query, modality=KINDS[kind], **options) for kind in kinds}


def fuse(lists: Sequence[Sequence[Hit]], *, top: int) -> list[Hit]:
    """One list out of several by reciprocal rank, since scores of different modalities cannot be compared."""
    return [fused.id for fused in reciprocal_rank_fusion(lists)][:top]


def print_results(out: Output, results: dict[str, Results], args: argparse.Namespace) -> None:
    """Print the results as lists, as JSON, or as paths."""
    lists = {kind: found.hits for kind, found in results.items()}
    if args.fuse:
        lists = {"merged by rank": fuse(list(lists.values()), top=args.top)}
    if args.paths:
        paths = dict.fromkeys(hit.path for hits in lists.values() for hit in hits)
        out.paths(paths, end=b"\0" if args.null else b"\n")
    else:
        print_hits(out, lists, choose_graphics(args, out))
    tell_hidden(out, results)
    tell_refined(out, results)
    if (len(lists) > 1 or args.fuse) and not args.paths:
        out.note("Texts score higher against words than images do: compare scores within a list, not between them.")
    out.result(
        {
            "query": args.query,
            "image": args.image,
            "model": args.model,
            "results": _as_json(lists),
            "hidden": {kind: found.hidden for kind, found in results.items()},
            "cut_off": {kind: found.cut_off for kind, found in results.items()},
            "refined": {kind: found.refined for kind, found in results.items()},
        }
    )


def print_hits(out: Output, lists: dict[str, list[Hit]], graphics: Graphics | None) -> None:
    """Print the lists for people, images drawn in front of their line."""
    for title, hits in lists.items():
        out.line(f"{title[0].upper()}{title[1:]}")
        for rank, hit in enumerate(hits, 1):
            if graphics is not None and hit.modality == "image":
                draw_thumbnail(out, graphics, hit.path)
            out.line(f"{rank:3d}  {hit.score:6.3f}  {describe_hit(hit)}")
        out.line("" if hits else "     nothing\n")


def tell_hidden(out: Output, results: dict[str, Results]) -> None:
    """Say how many results the cut-off left out."""
    for kind, found in results.items():
        if found.hidden and found.cut_off is not None:
            hidden = f"{found.hidden:,} {kind} below the cut-off of {found.cut_off:.3f} are hidden"
            out.note(f"{hidden}; --cut-off none shows them.")


def tell_refined(out: Output, results: dict[str, Results]) -> None:
    """Say how many images were scored again, where others stand behind them."""
    for kind, found in results.items():
        if 0 < found.refined < len(found.hits):
            out.note(f"The first {found.refined:,} {kind} were scored again at the model's own size; those behind not.")


def describe_hit(hit: Hit) -> str:
    """A hit on one line: its name, and for a text which passage and how it begins."""
    if hit.text is None:
        return printable_name(hit.name)
    where = f" (passage {hit.passage + 1} of {hit.passages})" if hit.passages > 1 else ""
    text = " ".join(hit.text.split())
    snippet = text if len(text) <= SNIPPET_CHARACTERS else f"{text[: SNIPPET_CHARACTERS - 1]}…"
    return f"{printable_name(hit.name)}{where}: {snippet}"


def _as_json(lists: dict[str, list[Hit]]) -> Any:
    named = {title.replace(" ", "_"): hits for title, hits in lists.items()}
    return {title: [{"rank": rank, **asdict(hit)} for rank, hit in enumerate(hits, 1)] for title, hits in named.items()}
