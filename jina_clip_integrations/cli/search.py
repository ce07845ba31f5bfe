"""`jina-clip search`: ask a store made by `jina-clip index`, with words or with an image."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..collections.identity import ModelMark, check_same_model, mark_of
from ..collections.store import FolderStore, Found
from ..errors import InputError
from ..retrieval.ranking import reciprocal_rank_fusion
from ..types import Modality, Vectors
from .index import add_store_options
from .messages import OK
from .options import add_model_options, add_output_options, open_encoder, output_of, positive_int, width_of
from .output import Output

if TYPE_CHECKING:
    from ..encoder import JinaClipEncoder

SNIPPET_CHARACTERS = 100

KINDS: dict[str, Modality] = {"images": "image", "texts": "text"}


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of `jina-clip search`."""
    parser.add_argument("query", nargs="?", help="words to search with")
    parser.add_argument("--image", metavar="FILE", help="search with this image instead")
    add_store_options(parser)
    parser.add_argument("--top", type=positive_int, default=5, metavar="K", help="answers per list (default: 5)")
    parser.add_argument("--kind", choices=["all", *KINDS], default="all", help="what to look for (default: all)")
    parser.add_argument("--fuse", action="store_true", help="one list of images and texts, merged by rank")
    add_model_options(parser, model=None)
    add_output_options(parser)


def run(args: argparse.Namespace) -> int:
    """Answer one query."""
    out = output_of(args)
    if (args.query is None) == (args.image is None):
        raise InputError("give either words to search with or --image FILE")
    check_store_exists(args.store)
    with FolderStore(args.store, collection=args.collection) as store:
        held = store.mark()
        if held is None:
            raise InputError(f"{args.store} is an empty store; fill it with: jina-clip index FOLDER --store PATH")
        adopt(args, held)
        with open_encoder(args) as encoder:
            check_same_model(held, mark_of(encoder.model, width_of(encoder)), where=args.store)
            vector = query_vector(encoder, args.query, args.image)
        kinds = KINDS if args.kind == "all" else {args.kind: KINDS[args.kind]}
        lists = {kind: store.search(vector, modality, top=args.top) for kind, modality in kinds.items()}
    show(out, lists, args)
    return OK


def check_store_exists(location: str) -> None:
    """Raise `InputError` for a local store that is not there, so that a mistyped path does not make an empty one."""
    if not location.startswith(("http://", "https://")) and not Path(location).expanduser().is_dir():
        raise InputError(f"there is no store at {location}; make one with: jina-clip index FOLDER --store {location}")


def adopt(args: argparse.Namespace, held: ModelMark) -> None:
    """Fill in what was not said with what the store was made with. Raises `ConfigurationError` for another model."""
    args.dimensions = args.dimensions or held.dimensions
    if args.model is not None:
        check_same_model(held, mark_of(args.model, args.dimensions), where=args.store)
        return
    args.model = held.model
    args.backend = args.backend or held.backend or None
    args.base_url = args.base_url or held.base_url or None


def query_vector(encoder: JinaClipEncoder, query: str | None, image: str | None) -> Vectors:
    """The vector `(d,)` of the query; a model with a query instruction gets it."""
    if image is not None:
        return encoder.encode_image(image)
    if query is None or not query.strip():
        raise InputError("the query is blank")
    from ..catalog import RETRIEVAL_QUERY, find_model

    spec = find_model(encoder.model)
    return encoder.encode_text(query, task=RETRIEVAL_QUERY if spec and RETRIEVAL_QUERY in spec.tasks else None)


def fuse(lists: Sequence[Sequence[Found]], *, top: int) -> list[Found]:
    """One list out of several by reciprocal rank, since the scores of different modalities do not compare."""
    return [fused.id for fused in reciprocal_rank_fusion(lists)][:top]


def show(out: Output, lists: dict[str, list[Found]], args: argparse.Namespace) -> None:
    """The answers, for people or as JSON."""
    if args.fuse:
        lists = {"merged by rank": fuse(list(lists.values()), top=args.top)}
    for title, answers in lists.items():
        out.line(f"{title[0].upper()}{title[1:]}")
        for rank, found in enumerate(answers, 1):
            out.line(f"{rank:3d}  {found.score:6.3f}  {described(found)}")
        out.line("" if answers else "     nothing\n")
    if len(lists) > 1 or args.fuse:
        out.note("Texts score higher against words than images do: compare scores within a list, not between them.")
    out.result({"query": args.query, "image": args.image, "model": args.model, "results": _as_json(lists)})


def described(found: Found) -> str:
    """A found file on one line: its name, and for a text which passage and how it begins."""
    if found.text is None:
        return found.name
    where = f" (passage {found.passage + 1} of {found.passages})" if found.passages > 1 else ""
    text = " ".join(found.text.split())
    snippet = text if len(text) <= SNIPPET_CHARACTERS else f"{text[: SNIPPET_CHARACTERS - 1]}…"
    return f"{found.name}{where}: {snippet}"


def _as_json(lists: dict[str, list[Found]]) -> Any:
    named = {title.replace(" ", "_"): answers for title, answers in lists.items()}
    return {
        title: [{"rank": rank, **asdict(found)} for rank, found in enumerate(answers, 1)]
        for title, answers in named.items()
    }
