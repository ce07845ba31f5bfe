"""`jina-clip load`: Parquet files of vectors into Qdrant, LanceDB or PostgreSQL, in bulk."""

from __future__ import annotations

import argparse
import contextlib

from ..errors import JinaClipError
from ..loading.load import LoadReport, load_files
from ..loading.stores import COLLECTION, TABLE
from .messages import INCOMPLETE, OK
from .options import add_output_options, open_output, positive_int
from .output import Output, Progress, plural


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of `jina-clip load`."""
    parser.add_argument(
        "files", nargs="+", metavar="FILE", help="Parquet files of `embed --output`, or folders of them"
    )
    parser.add_argument(
        "--into",
        required=True,
        metavar="URL",
        help="https://HOST of a Qdrant server, the folder of an embedded one, lancedb:PATH, postgresql://HOST/DATABASE",
    )
    parser.add_argument("--collection", metavar="NAME", help=f"collection or table (default: {COLLECTION}, or {TABLE})")
    parser.add_argument(
        "--id-column",
        metavar="COLUMN",
        help="a row replaces an earlier one with this value, instead of standing beside",
    )
    parser.add_argument("--batch-rows", type=positive_int, metavar="N", help="rows at a time (default: 32 MiB of them)")
    parser.add_argument("--no-index", action="store_true", help="leave the index of the vectors to a later run")
    parser.add_argument("--strict", action="store_true", help=f"exit with {INCOMPLETE} if a row has no vector")
    add_output_options(parser)


def run(args: argparse.Namespace) -> int:
    """Load the files."""
    out = open_output(args)
    with LoadProgress(out) as progress:
        report = load_files(
            args.files,
            into=args.into,
            collection=args.collection,
            id_column=args.id_column,
            batch_rows=args.batch_rows,
            index=not args.no_index,
            on_progress=progress.show,
        )
    print_report(out, report)
    return INCOMPLETE if args.strict and report.without_vector else OK


class LoadProgress:
    """A bar of rows, and what an interruption or an error has to say of them."""

    def __init__(self, out: Output) -> None:
        self._out = out
        self._stack = contextlib.ExitStack()
        self._bar: Progress | None = None
        self._report: LoadReport | None = None
        self._already = 0

    def show(self, report: LoadReport) -> None:
        """Move the bar to where the report is."""
        if self._bar is None:
            self._bar = self._stack.enter_context(self._out.progress(report.total, "loading"))
        self._bar.skip(report.already - self._already)
        self._bar.advance(report.done - self._bar.done)
        self._report, self._already = report, report.already

    def __enter__(self) -> LoadProgress:
        return self

    def __exit__(self, kind: object, error: BaseException | None, at: object) -> None:
        self._stack.close()
        if self._report is None or not isinstance(error, (JinaClipError, KeyboardInterrupt, OSError)):
            return
        done = self._report.loaded + self._report.already
        remark = f"{done:,} of {plural(self._report.total, 'row')} are in the store"
        if isinstance(error, KeyboardInterrupt):
            raise KeyboardInterrupt(f"interrupted: {remark}; the same command again goes on from there") from None
        self._out.note(f"{remark}; the same command again goes on from there")


def print_report(out: Output, report: LoadReport) -> None:
    """Print what was done, for people or as JSON."""
    if report.without_vector:
        out.warn(f"left out {plural(report.without_vector, 'row')} without a vector")
    there = f", {report.already:,} were there" if report.already else ""
    rate = f" in {report.seconds:.1f} s, {report.loaded / report.seconds:,.0f} a second" if report.loaded else ""
    out.line(f"{plural(report.loaded, 'row')} loaded{there}{rate}")
    out.line(f"The {report.into} holds {plural(report.count, 'row')} of [{report.fingerprint}].")
    out.result(report.to_json())
