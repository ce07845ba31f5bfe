"""`jina-clip embed`: vectors of texts and images in a file, or as JSON lines on stdout."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..collections.chunk_sizes import ChunkSizer
from ..errors import InputError, JinaClipError
from ..retrieval.fingerprint import model_fingerprint
from ..retrieval.vector_table import TableInfo
from ..types import Vectors
from .embed_job import Job, gather_sources, job_digest
from .embed_ray import add_ray_options, describe_run, embed_with_ray, is_dataset, wants_ray
from .messages import INCOMPLETE, OK, for_command_line
from .options import add_fetch_options, add_model_options, add_output_options, open_encoder, open_output, vector_width
from .output import Output, plural, warn_of_unread
from .vector_files import WorkingFile, dump_lines, find_writer

if TYPE_CHECKING:
    from ..encoder import JinaClipEncoder


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of `jina-clip embed`."""
    parser.add_argument("items", nargs="*", metavar="TEXT", help="texts; a text is never opened as a file")
    parser.add_argument("--images", nargs="+", default=[], metavar="FILE", help="images: files, folders, URLs")
    parser.add_argument("--texts", metavar="FILE", help="a file with one text per line; - reads stdin")
    parser.add_argument("--output", metavar="FILE", help=".npy, .parquet or .jsonl (default: JSON lines on stdout)")
    parser.add_argument("--skip-errors", action="store_true", help="leave bad inputs out (NaN or null) and go on")
    parser.add_argument("--strict", action="store_true", help=f"exit with {INCOMPLETE} if anything was left out")
    add_model_options(parser)
    add_fetch_options(parser)
    add_ray_options(parser)
    add_output_options(parser)


def run(args: argparse.Namespace) -> int:
    """Embed everything that was named: the texts, then the lines of --texts, then the images."""
    out = open_output(args)
    if wants_ray(args) and is_dataset(args.output):
        from .embed_partitions import embed_partitions

        return embed_partitions(args, out)
    unread: dict[str, str] = {}
    job = Job(gather_sources(args, out, unread), skip_errors=args.skip_errors, unread=unread)
    # A file can be resumed, so its rows go to a working file first; what went down a pipe is gone.
    if args.output:
        embed_to_file(job, args, out)
    else:
        embed_to_stdout(job, args, out)
    # At the end, where the progress bar cannot overwrite them.
    for row, reason in job.failed.items():
        out.warn(f"left out {job.sources[row].input}: {for_command_line(str(reason))}")
    warn_of_unread(out, job.unread)
    return INCOMPLETE if args.strict and (job.failed or job.unread) else OK


def embed_to_file(job: Job, args: argparse.Namespace, out: Output) -> None:
    """Embed into a working file, and turn that into the output once it is complete."""
    output = Path(args.output).expanduser()
    write = find_writer(output)
    with open_encoder(args) as encoder:
        width = vector_width(encoder)
        colors, size = encoder.rendering.colors, encoder.reduced_image_size
        fingerprint = model_fingerprint(encoder.model, width, colors=colors, image_size=size)
        info = TableInfo(model=encoder.model, dimensions=width, fingerprint=fingerprint)
        part = WorkingFile(output, dimensions=width, job=job_digest(job, fingerprint))
        with contextlib.closing(part):
            ray_facts: dict[str, Any] = {}
            with report_kept_rows(part, job, out), contextlib.ExitStack() as stack:
                if wants_ray(args):
                    ray_facts["ray"] = stack.enter_context(embed_with_ray(job, part, args, out))
                else:
                    resume(part, job, out)
                    embed_rows(job, encoder, part.append, out, start=part.rows)
                write(output, job.sources, part.vectors(), info)
            part.discard()
    out.line(f"{plural(len(job.sources), 'vector')} of {width} dimensions in {output}")
    failed = {job.sources[row].input: reason for row, reason in job.failed.items()}
    failed.update(job.unread)
    if ray_facts:
        out.line(describe_run(ray_facts["ray"]))
    out.result({**info.facts(), "output": str(output), "count": len(job.sources), "failed": failed, **ray_facts})


def resume(part: WorkingFile, job: Job, out: Output) -> None:
    """Take over the rows of an earlier run, except those that it left out and this one would not."""
    # Trusted, because the digest of the job covers the model and every input.
    missing = part.missing_rows()
    if missing and not job.skip_errors:
        part.forget_from(missing[0])
    elif missing:
        job.failed.update(dict.fromkeys(missing, "left out by the earlier run"))
    if part.rows:
        out.note(f"going on after {plural(part.rows, 'row')} of an earlier run")


def embed_to_stdout(job: Job, args: argparse.Namespace, out: Output) -> None:
    """Embed and print JSON lines as they come."""
    printed = 0

    def print_rows(rows: Vectors) -> None:
        nonlocal printed
        dump_lines(sys.stdout, job.sources[printed : printed + len(rows)], rows)
        printed += len(rows)

    with open_encoder(args) as encoder:
        embed_rows(job, encoder, print_rows, out)


def embed_rows(
    job: Job, encoder: JinaClipEncoder, keep: Callable[[Vectors], None], out: Output, *, start: int = 0
) -> None:
    """Hand rows to `keep`, chunk by chunk, from row `start` on; also those that were finished before an error."""
    sizer = ChunkSizer()
    with out.progress(len(job.sources), "embedding") as bar:
        bar.skip(start)
        while bar.done < len(job.sources):
            with sizer.measure():
                rows = _embed_chunk(job, encoder, keep, bar.done, sizer.size)
            bar.advance(len(rows))


def _embed_chunk(job: Job, encoder: JinaClipEncoder, keep: Callable[[Vectors], None], first: int, size: int) -> Vectors:
    chunk = job.sources[first : first + size]
    items: list[dict[str, str]] = [{source.kind: source.input} for source in chunk]
    try:
        rows = encoder.encode(items, on_error="skip" if job.skip_errors else "raise")
    except (JinaClipError, KeyboardInterrupt) as error:
        # Rows after the first gap are dropped: a working file has no holes, so they could not be resumed.
        done = leading_rows(getattr(error, "partial", None))
        if len(done):
            keep(done)
        if isinstance(error, InputError) and error.index is not None:
            error.at(first + error.index)  # the encoder counts within the chunk, a user within everything
        raise
    # The encoder prefixes the input, which the warning names anyway.
    for position, reason in encoder.last_errors.items():
        job.failed[first + position] = reason.message.removeprefix(f"{chunk[position].input}: ")
    keep(rows)
    return rows


def leading_rows(partial: Vectors | None) -> Vectors:
    """The rows before the first that is missing, `(k, d)`."""
    if partial is None:
        return np.empty((0, 0), np.float32)
    missing = np.flatnonzero(np.isnan(partial).any(axis=1))
    return partial[: missing[0]] if missing.size else partial


@contextlib.contextmanager
def report_kept_rows(part: WorkingFile, job: Job, out: Output) -> Iterator[None]:
    """Say what an interruption or an error leaves in the working file; without a row it is deleted."""
    try:
        yield
    except (JinaClipError, KeyboardInterrupt, OSError) as error:
        if not part.rows:
            part.discard()
            raise
        remark = f"{part.rows} of {plural(len(job.sources), 'vector')} are kept in {part.path.name}"
        if isinstance(error, KeyboardInterrupt):
            raise KeyboardInterrupt(f"interrupted: {remark}; the same command again goes on from there") from None
        out.note(f"{remark}; the same command again goes on from there")
        raise
