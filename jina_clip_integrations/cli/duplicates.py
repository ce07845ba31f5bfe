"""`jina-clip duplicates`: images of a folder that are the same or nearly so, and which to keep. Nothing is deleted."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

from ..collections.duplicates import NEAR_DUPLICATE, Duplicate, DuplicateGroup, find_duplicates
from ..collections.filters import Filters
from ..collections.folder import FolderCollection
from ..collections.identity import CollectionModel
from ..collections.indexing import Indexer
from ..collections.points import Where
from ..collections.scan import resolve_folder
from ..collections.store import DEFAULT_COLLECTION, FolderStore
from ..errors import InputError
from ..printable import printable_name
from ..settings import DEFAULT_MODEL
from .index import run_indexer, warn_of_left_out
from .messages import OK
from .options import (
    add_model_options,
    add_output_options,
    address_options,
    open_encoder,
    open_output,
    probability,
)
from .output import Output, plural
from .search import adopt_settings, check_store_exists
from .search_options import add_display_options, add_filter_options, check_display, make_filters, read_kinds
from .terminal import Graphics
from .thumbnails import choose_graphics, draw_thumbnail

if TYPE_CHECKING:
    from ..encoder import JinaClipEncoder


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of `jina-clip duplicates`."""
    parser.add_argument(
        "images",
        nargs="?",
        metavar="FOLDER",
        help="folder of images, indexed first (default: --store as it is)",
    )
    parser.add_argument(
        "--store", metavar="PATH", help="store made by index (default: one in the user's cache, for FOLDER)"
    )
    parser.add_argument("--collection", default=DEFAULT_COLLECTION, help="collection in it (default: %(default)s)")
    parser.add_argument(
        "--threshold",
        type=probability,
        default=NEAR_DUPLICATE,
        metavar="SCORE",
        help="similarity from which two images count as the same (default: %(default)s)",
    )
    parser.add_argument("--kept", action="store_true", help="with --paths: the paths of the images to keep instead")
    add_filter_options(parser, texts=False)
    add_display_options(parser, paths="the paths of the images that could go")
    add_model_options(parser, model=None)
    add_output_options(parser)


def run(args: argparse.Namespace) -> int:
    """Find duplicates."""
    out = open_output(args)
    check_display(args)
    if args.images is None and args.store is None:
        raise InputError("give either a folder of images or --store PATH")
    filters = make_filters(args, read_kinds(args.kind, lists=())[1])
    groups = search_store(args, filters) if args.images is None else search_folder(args, filters, out)
    print_groups(out, groups, args)
    return OK


def search_store(args: argparse.Namespace, filters: Filters) -> list[DuplicateGroup]:
    """The groups in a store as it is; no model is needed."""
    check_store_exists(args.store)
    with FolderStore(args.store, collection=args.collection) as store:
        if store.model() is None:
            raise InputError(f"{args.store} is an empty store; fill it with: jina-clip index FOLDER --store PATH")
        return find_duplicates(store.points(), Where(None, "image", filters), threshold=args.threshold)


def search_folder(args: argparse.Namespace, filters: Filters, out: Output) -> list[DuplicateGroup]:
    """The groups in a folder, which is indexed first."""
    root = resolve_folder(args.images)
    with FolderCollection.open(
        root,
        encoder=partial(make_encoder, args),
        store=args.store,
        collection=args.collection,
        backend=args.backend,
        address=address_options(args),
    ) as collection:
        indexer = Indexer(collection.store, root, collection.encoder, collection.model)
        warn_of_left_out(out, run_indexer(indexer, out))
        return collection.duplicates(threshold=args.threshold, filters=filters)


def make_encoder(args: argparse.Namespace, held: CollectionModel | None) -> JinaClipEncoder:
    """The encoder that the store was made with; for a new one what the options say."""
    if held is None:
        args.model = args.model or DEFAULT_MODEL
    else:
        adopt_settings(args, held)
    return open_encoder(args)


def print_groups(out: Output, groups: Sequence[DuplicateGroup], args: argparse.Namespace) -> None:
    """Print the groups for people, as JSON, or as paths."""
    others = [other for group in groups for other in group.others]
    size = sum(other.image.size for other in others)
    if args.paths:
        hits = [group.keep for group in groups] if args.kept else [other.image for other in others]
        out.paths([hit.path for hit in hits], end=b"\0" if args.null else b"\n")
        return
    graphics = choose_graphics(args, out)
    for group in groups:
        print_group(out, group, graphics)
    out.line(f"{plural(len(groups), 'group')}: {plural(len(others), 'image')} of {size:,} bytes could go.")
    out.result(
        {
            "threshold": args.threshold,
            "groups": [_as_json(group) for group in groups],
            "images_that_could_go": len(others),
            "bytes_that_could_go": size,
        }
    )


def print_group(out: Output, group: DuplicateGroup, graphics: Graphics | None) -> None:
    """A group on a line per image, the one to keep first."""
    lines = [(group.keep.path, f"keep  {printable_name(group.keep.name)}  ({group.reason})")]
    lines += [(other.image.path, f"      {printable_name(other.name)}  ({_describe(other)})") for other in group.others]
    for path, line in lines:
        if graphics is not None:
            draw_thumbnail(out, graphics, path)
        out.line(line)
    out.line()


def _describe(other: Duplicate) -> str:
    same = "the same bytes" if other.identical else f"{other.image.score:.3f}"
    return f"{same}, {other.image.size:,} bytes"


def _as_json(group: DuplicateGroup) -> dict[str, Any]:
    others = [{**asdict(other.image), "identical": other.identical} for other in group.others]
    return {"keep": asdict(group.keep), "reason": group.reason, "others": others}
