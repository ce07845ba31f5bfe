"""`jina-clip embed`: vectors of texts and images in a file, or as JSON lines on stdout."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..collections.identity import ModelMark, mark_of
from ..collections.scan import modality_of, read_text, scan, stamp
from ..errors import InputError, JinaClipError
from ..types import Vectors
from .batches import Pace
from .messages import INCOMPLETE, OK
from .options import add_model_options, add_output_options, open_encoder, output_of, width_of
from .output import Output, plural
from .vector_files import Source, WorkingFile, dump_lines, writer_for

if TYPE_CHECKING:
    from ..encoder import JinaClipEncoder

STDIN = "-"


@dataclass
class Job:
    """What is to be embedded, and what turned out not to be."""

    sources: Sequence[Source]
    skip_errors: bool = False
    failed: dict[int, str] = field(default_factory=dict)
    """Row to why it was left out."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of `jina-clip embed`."""
    parser.add_argument("items", nargs="*", metavar="TEXT", help="texts; a text is never opened as a file")
    parser.add_argument("--images", nargs="+", default=[], metavar="FILE", help="images: files, folders, URLs")
    parser.add_argument("--texts", metavar="FILE", help="a file with one text per line; - reads stdin")
    parser.add_argument("--output", metavar="FILE", help=".npy, .parquet or .jsonl (default: JSON lines on stdout)")
    parser.add_argument("--skip-errors", action="store_true", help="leave bad inputs out (NaN or null) and go on")
    parser.add_argument("--strict", action="store_true", help=f"with --skip-errors: exit with {INCOMPLETE} if any was")
    add_model_options(parser)
    add_output_options(parser)


def run(args: argparse.Namespace) -> int:
    """Embed everything that was named: the texts, then the lines of --texts, then the images."""
    out = output_of(args)
    job = Job(gather(args, out), skip_errors=args.skip_errors)
    if args.output:
        to_file(job, args, out)
    else:
        to_stdout(job, args, out)
    for row, reason in job.failed.items():
        out.warn(f"left out {job.sources[row].input}: {reason}")
    return INCOMPLETE if job.failed and args.strict else OK


def gather(args: argparse.Namespace, out: Output) -> list[Source]:
    """Everything that the command line names, in order. Raises `InputError` if that is nothing or not there."""
    for text in args.items:
        if modality_of(text) == "image" and Path(text).is_file():
            out.note(f"note: {text} is embedded as words; for the image use --images {text}")
    sources = [Source("text", text) for text in args.items]
    sources += [Source("text", line) for line in _lines(args.texts)]
    for named in args.images:
        sources += _images(named, must_exist=not args.skip_errors)
    if not sources:
        raise InputError("nothing to embed: give texts, --texts FILE or --images FILE")
    return sources


def _lines(file: str | None) -> list[str]:
    if file is None:
        return []
    content = sys.stdin.read() if file == STDIN else read_text(Path(file).expanduser())
    return [line for line in content.splitlines() if line.strip()]


def _images(named: str, *, must_exist: bool) -> list[Source]:
    path = Path(named).expanduser()
    if named.startswith(("http://", "https://", "data:")) or path.is_file():
        return [Source("image", named)]
    if path.is_dir():
        return [Source("image", str(found.path)) for found in scan(path.resolve()) if found.modality == "image"]
    if must_exist:
        raise InputError(f"--images {named}: there is no such file or folder")
    return [Source("image", named)]


def to_file(job: Job, args: argparse.Namespace, out: Output) -> None:
    """Embed into a working file, and turn that into the output once it is complete."""
    output = Path(args.output).expanduser()
    write = writer_for(output)
    with open_encoder(args) as encoder:
        width = width_of(encoder)
        about = {"model": encoder.model, "dimensions": width, "normalized": True}
        part = WorkingFile(output, dimensions=width, job=digest_of(job, mark_of(encoder.model, width)))
        if part.rows:
            out.note(f"going on after {plural(part.rows, 'row')} of an earlier run")
        with kept(part, job, out):
            embed(job, encoder, part.append, out, start=part.rows)
    write(output, job.sources, part.vectors(), about)
    part.discard()
    out.line(f"{plural(len(job.sources), 'vector')} of {about['dimensions']} dimensions in {output}")
    failed = {job.sources[row].input: reason for row, reason in job.failed.items()}
    out.result({**about, "output": str(output), "count": len(job.sources), "failed": failed})


def to_stdout(job: Job, args: argparse.Namespace, out: Output) -> None:
    """Embed and print JSON lines as they come."""
    printed = 0

    def print_rows(rows: Vectors) -> None:
        nonlocal printed
        dump_lines(sys.stdout, job.sources[printed : printed + len(rows)], rows)
        printed += len(rows)

    with open_encoder(args) as encoder:
        embed(job, encoder, print_rows, out)


def embed(job: Job, encoder: JinaClipEncoder, keep: Callable[[Vectors], None], out: Output, *, start: int = 0) -> None:
    """Hand rows to `keep`, chunk by chunk, from row `start` on. What was finished before an error is kept too."""
    pace = Pace()
    with out.progress(len(job.sources), "embedding") as bar:
        bar.advance(start)
        while bar.done < len(job.sources):
            with pace.timed():
                rows = _chunk(job, encoder, keep, bar.done, pace.size)
            bar.advance(len(rows))


def _chunk(job: Job, encoder: JinaClipEncoder, keep: Callable[[Vectors], None], first: int, size: int) -> Vectors:
    chunk = job.sources[first : first + size]
    items: list[dict[str, str]] = [{source.kind: source.input} for source in chunk]
    try:
        rows = encoder.encode(items, on_error="skip" if job.skip_errors else "raise")
    except (JinaClipError, KeyboardInterrupt) as error:
        done = finished(getattr(error, "partial", None))
        if len(done):
            keep(done)
        if isinstance(error, InputError) and error.index is not None:
            error.at(first + error.index)
        raise
    for position, reason in encoder.last_errors.items():
        job.failed[first + position] = reason.message.removeprefix(f"{chunk[position].input}: ")
    keep(rows)
    return rows


def finished(partial: Vectors | None) -> Vectors:
    """The rows before the first that is missing, `(k, d)`."""
    if partial is None:
        return np.empty((0, 0), np.float32)
    missing = np.flatnonzero(np.isnan(partial).any(axis=1))
    return partial[: missing[0]] if missing.size else partial


@contextlib.contextmanager
def kept(part: WorkingFile, job: Job, out: Output) -> Iterator[None]:
    """Say what an interruption or an error leaves behind."""
    try:
        yield
    except (JinaClipError, KeyboardInterrupt) as error:
        if not part.rows:
            part.discard()
            raise
        remark = f"{part.rows} of {plural(len(job.sources), 'vector')} are kept in {part.path.name}"
        if isinstance(error, KeyboardInterrupt):
            raise KeyboardInterrupt(f"interrupted: {remark}; the same command again goes on from there") from None
        out.note(f"{remark}; the same command again goes on from there")
        raise


def digest_of(job: Job, mark: ModelMark) -> str:
    """A digest of the model and of every input, files by size and time: only the same job may be gone on with."""
    content = hashlib.sha256(mark.fingerprint.encode())
    for source in job.sources:
        path = Path(source.input).expanduser() if source.kind == "image" else None
        seen: Any = stamp(path) if path is not None and path.is_file() else ""
        content.update(f"{source.kind}\n{source.input}\n{seen}\n".encode())
    return content.hexdigest()
