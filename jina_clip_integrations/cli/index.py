"""`jina-clip index`: put a folder of images and texts into a vector store, and keep it up to date."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from ..collections.identity import CollectionModel
from ..collections.indexing import Indexer, IndexProgress, IndexReport
from ..collections.scan import resolve_folder
from ..collections.store import DEFAULT_COLLECTION, FolderStore
from ..collections.watch import Changes, watch_folder
from ..errors import BackendError, InputError, JinaClipError, require_extra
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
    parser.add_argument("--watch", action="store_true", help="follow the folder, and index what changes, until Ctrl-C")
    parser.add_argument("--strict", action="store_true", help=f"exit with {INCOMPLETE} if a file had to be left out")
    add_model_options(parser)
    add_output_options(parser)


def add_store_options(parser: argparse.ArgumentParser) -> None:
    """`--store` and `--collection`."""
    parser.add_argument("--store", required=True, metavar="PATH", help="folder of the store, or URL of a Qdrant server")
    parser.add_argument("--collection", default=DEFAULT_COLLECTION, help="collection in it (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Bring the store up to date with the folder, and keep it so with `--watch`."""
    out = open_output(args)
    root = resolve_folder(args.folder)
    if args.watch:
        require_extra("watchfiles", extra="app", purpose="--watch")
        if args.json:
            raise InputError("--watch and --json exclude each other: following a folder has no end")
    with open_encoder(args) as encoder:
        report = index_once(root, encoder, args, out)
        if args.watch:
            follow(root, encoder, args, out)
    return INCOMPLETE if args.strict and report.left_out else OK


def index_once(root: Path, encoder: JinaClipEncoder, args: argparse.Namespace, out: Output) -> IndexReport:
    """Bring the store up to date and report."""
    with open_store(encoder, args) as (store, model):
        report = run_indexer(Indexer(store, root, encoder, model, keep_vanished=args.keep_vanished), out)
        print_report(out, store, report, args, encoder)
    return report


@contextlib.contextmanager
def open_store(encoder: JinaClipEncoder, args: argparse.Namespace) -> Iterator[tuple[FolderStore, CollectionModel]]:
    """The store of the options, prepared for the encoder's vectors."""
    model = CollectionModel.of_encoder(encoder, backend=args.backend, address=address_options(args))
    with FolderStore(args.store, collection=args.collection) as store:
        store.prepare(model)
        yield store, model


def follow(root: Path, encoder: JinaClipEncoder, args: argparse.Namespace, out: Output) -> None:
    """Index what changes, until an interruption. The store is open only meanwhile, so that searches can open it."""
    store = None if args.store.startswith(("http://", "https://")) else Path(args.store).expanduser().resolve()
    changed: Changes = frozenset()
    out.note(f"following {root}; Ctrl-C ends it")
    try:
        for found in watch_folder(root, exclude=store):
            changed = None if changed is None or found is None else changed | found
            if index_changes(root, encoder, args, out, changed):
                changed = frozenset()
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"no longer following {root}; what changed until now is in the store") from None


def index_changes(
    root: Path, encoder: JinaClipEncoder, args: argparse.Namespace, out: Output, changed: Changes
) -> bool:
    """Index what changed; whether that worked. An outage, or a store in use, is for the next time."""
    try:
        with open_store(encoder, args) as (store, model):
            indexer = Indexer(store, root, encoder, model, keep_vanished=args.keep_vanished)
            report = indexer.run(only=changed)
    except BackendError as error:
        out.warn(f"{error}; tried again after the next change")
        return False
    if report.changes:
        out.line(format_counts(report))
        warn_of_left_out(out, report)
    return True


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
    warn_of_left_out(out, report)
    images, texts = store.count("image"), store.count("text")
    out.line(format_counts(report))
    if report.refreshed:
        out.line(f"{plural(report.refreshed, 'file')} of an older store got their facts, without being embedded again.")
    out.line(f"The store {args.store} holds {plural(images, 'image')} and {plural(texts, 'passage')} of text.")
    out.result(
        {
            "store": args.store,
            "collection": args.collection,
            "model": encoder.model,
            "dimensions": encoder.dimensions,
            "image_size": encoder.reduced_image_size,
            "files": count_files(report),
            "refreshed": report.refreshed,
            "images": images,
            "passages": texts,
            "failed": report.left_out,
            "tokens": encoder.usage.total_tokens,
        }
    )


def warn_of_left_out(out: Output, report: IndexReport) -> None:
    """Name every file that was left out, and why."""
    for name, reason in sorted(report.failed.items()):
        out.warn(f"left out {name}: {reason}")
    warn_of_unread(out, report.unread)


def count_files(report: IndexReport) -> dict[str, int]:
    """What was done with how many files."""
    return {
        "added": report.added,
        "updated": report.updated,
        "unchanged": report.unchanged,
        "removed": report.removed,
        "left_out": len(report.left_out),
    }


def format_counts(report: IndexReport) -> str:
    """`5 added, 0 updated, …`."""
    return ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in count_files(report).items())
