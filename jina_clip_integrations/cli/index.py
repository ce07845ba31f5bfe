"""`jina-clip index`: put a folder of images and texts into a vector store, and keep it up to date."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Collection
from typing import TYPE_CHECKING, ClassVar

from ..collections.identity import CollectionModel
from ..collections.indexing import Indexer, IndexProgress, IndexReport
from ..collections.scan import resolve_folder
from ..collections.store import DEFAULT_COLLECTION, FolderStore
from ..errors import JinaClipError
from .messages import INCOMPLETE, OK
from .options import add_model_options, add_output_options, address_options, open_encoder, open_output
from .output import Output, Progress, plural, warn_of_unread

if TYPE_CHECKING:
    from ..encoder import JinaClipEncoder


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of `jina-clip index`."""
    parser.add_argument("folder", help="folder of images and .txt or .md files, with its subfolders")
    add_store_options(parser)
    parser.add_argument("--keep-vanished", action="store_true", help="keep entries of files that are no longer there")
    parser.add_argument("--strict", action="store_true", help=f"exit with {INCOMPLETE} if a file had to be left out")
    add_model_options(parser)
    add_output_options(parser)


def add_store_options(parser: argparse.ArgumentParser) -> None:
    """`--store` and `--collection`."""
    parser.add_argument("--store", required=True, metavar="PATH", help="folder of the store, or URL of a Qdrant server")
    parser.add_argument("--collection", default=DEFAULT_COLLECTION, help="collection in it (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Bring the store up to date with the folder."""
    out = open_output(args)
    root = resolve_folder(args.folder)
    with open_encoder(args) as encoder:
        model = CollectionModel.of_encoder(encoder, backend=args.backend, address=address_options(args))
        with FolderStore(args.store, collection=args.collection) as store:
            store.prepare(model)
            indexer = Indexer(store, root, encoder, model, keep_vanished=args.keep_vanished)
            report = run_indexer(indexer, out)
            print_report(out, store, report, args, encoder)
    return INCOMPLETE if args.strict and report.left_out else OK


def run_indexer(indexer: Indexer, out: Output, only: Collection[str] | None = None) -> IndexReport:
    """Run it with progress on stderr; an error or an interruption says how far it came."""
    bars = Bars(out)
    try:
        with contextlib.closing(bars):
            return indexer.run(bars.show, only=only)
    except (JinaClipError, KeyboardInterrupt) as error:
        remark = f"{indexer.finished} of {plural(indexer.to_embed, 'file')} are in the store"
        if isinstance(error, KeyboardInterrupt):
            raise KeyboardInterrupt(f"interrupted: {remark}; the same command again goes on from there") from None
        if indexer.to_embed:
            out.note(f"{remark}; the same command again goes on from there")
        raise


class Bars:
    """Shows the progress of a run, a bar for each stage that takes its time."""

    LABELS: ClassVar = {"refreshing": "adding facts", "embedding": "indexing"}

    def __init__(self, out: Output) -> None:
        self._out = out
        self._stage = ""
        self._bar: Progress | None = None

    def show(self, progress: IndexProgress) -> None:
        """Show how far a stage has come."""
        if progress.total is None:
            return
        if progress.stage != self._stage:
            self.close()
            self._stage = progress.stage
            self._bar = Progress(progress.total, self.LABELS[progress.stage], quiet=self._out.quiet)
        if self._bar is not None:
            self._bar.advance(progress.done - self._bar.done)

    def close(self) -> None:
        """Show where the count ended."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def print_report(
    out: Output, store: FolderStore, report: IndexReport, args: argparse.Namespace, encoder: JinaClipEncoder
) -> None:
    """Print what was done, for people or as JSON, and every file that was left out, by name."""
    for name, reason in sorted(report.failed.items()):
        out.warn(f"left out {name}: {reason}")
    warn_of_unread(out, report.unread)
    counts = {
        "added": report.added,
        "updated": report.updated,
        "unchanged": report.unchanged,
        "removed": report.removed,
        "left_out": len(report.left_out),
    }
    images, texts = store.count("image"), store.count("text")
    out.line(", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in counts.items()))
    if report.refreshed:
        out.line(f"{plural(report.refreshed, 'file')} of an older store got their facts, without being embedded again.")
    out.line(f"The store {args.store} holds {plural(images, 'image')} and {plural(texts, 'passage')} of text.")
    out.result(
        {
            "store": args.store,
            "collection": args.collection,
            "model": encoder.model,
            "dimensions": encoder.dimensions,
            "files": counts,
            "refreshed": report.refreshed,
            "images": images,
            "passages": texts,
            "failed": report.left_out,
            "tokens": encoder.usage.total_tokens,
        }
    )
