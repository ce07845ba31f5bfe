"""`jina-clip embed --ray`: the work of `embed` over the processes of a Ray cluster, and the same file at the end.

What is to be embedded is written to a table beside the output, from which `embed_dataset` makes vectors, partition by
partition. They stay there until the output is complete, so an interrupted run goes on. With a folder as the output its
partitions are the result, and neither inputs nor vectors go through this process.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import BackendError, InputError, JinaClipError, require_extra
from ..inputs import check_unicode
from ..retrieval.vector_table import EMBEDDING, to_vectors
from .embed_job import Job
from .options import backend_or_factory, encoder_settings, positive_int
from .output import Output, Progress, format_duration, format_rate, plural
from .vector_files import Source, WorkingFile, replace_file

if TYPE_CHECKING:
    from ..ray import EmbedProgress

ROW, TEXT, IMAGE = "row", "text", "image"
"""Columns of the table of inputs: the number of the row, and what is embedded in one of two columns."""

LANCE = ".lance"

ADDRESSES = ("http://", "https://", "data:")


def add_ray_options(parser: argparse.ArgumentParser) -> None:
    """`--ray` and what belongs to it."""
    group = parser.add_argument_group("ray")
    group.add_argument("--ray", action="store_true", help="compute with the processes of a Ray cluster, for large jobs")
    group.add_argument(
        "--address",
        metavar="ADDR",
        help="with --ray, the cluster: auto, HOST:6379, ray://HOST:10001 (default: one on this machine for this run)",
    )
    group.add_argument(
        "--workers", type=positive_int, metavar="N", help="processes with a model (default: by the cluster)"
    )


def wants_ray(args: argparse.Namespace) -> bool:
    """Whether Ray is wanted. Raises `InputError` for options that need it, `ImportError` without the extra."""
    if not args.ray and args.address is None:
        if args.workers is not None:
            raise InputError("--workers is the number of processes with --ray")
        return False
    if not args.output:
        raise InputError("--ray needs --output: rows that are computed out of order cannot go down a pipe")
    for package in ("ray", "pyarrow"):
        require_extra(package, extra="ray", purpose="jina-clip embed --ray")
    return True


class RayFolder:
    """What a run on Ray keeps beside its output until that is complete: inputs, and partitions of vectors."""

    def __init__(self, output: Path, digest: str) -> None:
        self.path = output.with_name(f"{output.name}.ray")
        self.inputs = self.path / "inputs.parquet"
        self.vectors = self.path / "vectors"
        self._digest = digest
        self._mark = self.path / "job.json"

    def prepare(self, job: Job) -> None:
        """Write the inputs, unless an earlier run of the same job did; what another job left is deleted."""
        if self._mark.is_file() and self._mark.read_text("utf-8") == json.dumps(self._digest):
            return
        self.discard()
        self.path.mkdir()
        write_inputs(self.inputs, job)
        with replace_file(self._mark) as fresh:  # last, so that the inputs are complete
            fresh.write_text(json.dumps(self._digest), "utf-8")

    def discard(self) -> None:
        """Delete the folder. Idempotent."""
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self.path)

    def collect(self, part: WorkingFile, count: int) -> None:
        """Hand the vectors of all partitions to `part`, in the order of the inputs; NaN where there is none."""
        part.forget_from(0)
        for rows, vectors in self._read(part.dimensions):
            block = np.full((int(rows[-1]) + 1 - part.rows, part.dimensions), np.nan, np.float32)
            block[rows - part.rows] = vectors
            part.append(block)
        part.append(np.full((count - part.rows, part.dimensions), np.nan, np.float32))

    def _read(self, width: int) -> Iterator[tuple[Any, Any]]:
        from pyarrow import parquet

        for path in sorted(self.vectors.glob("part-*.parquet")):
            with parquet.ParquetFile(path) as file:
                for batch in file.iter_batches(columns=[ROW, EMBEDDING]):
                    if len(batch):
                        yield np.asarray(batch.column(ROW)), to_vectors(batch.column(EMBEDDING), width)

    def reasons(self) -> dict[int, str]:
        """Rows without a vector, to the reason."""
        from pyarrow import parquet

        tables = [parquet.read_table(path) for path in sorted(self.vectors.glob("_failed/*.parquet"))]
        pairs = [zip(table[ROW].to_pylist(), table["reason"].to_pylist(), strict=True) for table in tables]
        return {row: reason for some in pairs for row, reason in some}


def write_inputs(path: Path, job: Job) -> None:
    """The table of inputs. One that cannot stand in it goes to `job.failed`, or is an `InputError`."""
    import pyarrow as pa
    from pyarrow import parquet

    job.failed.update({row: reason for row, source in enumerate(job.sources) if (reason := find_flaw(source))})
    if job.failed and not job.skip_errors:
        row = min(job.failed)
        raise InputError(job.failed[row], index=row)
    usable = [(row, source) for row, source in enumerate(job.sources) if row not in job.failed]
    columns = {
        ROW: pa.array([row for row, _ in usable], pa.int64()),
        TEXT: pa.array([source.input if source.kind == TEXT else None for _, source in usable], pa.string()),
        IMAGE: pa.array([find_image(source) if source.kind == IMAGE else None for _, source in usable], pa.string()),
    }
    parquet.write_table(pa.table(columns), path)


def find_flaw(source: Source) -> str | None:
    """Why an input cannot stand in a table, which has no texts but those of valid Unicode; None if it can."""
    try:
        check_unicode(source.input)
    except InputError as error:
        named = f"{source.input}: the name is no UTF-8 and cannot be told to a worker; rename it, or leave out --ray"
        return error.message if source.kind == TEXT else named
    return None


def find_image(source: Source) -> str:
    """An image as a worker finds it, which runs in another folder."""
    if source.input.startswith(ADDRESSES):
        return source.input
    return str(Path(source.input).expanduser().absolute())


@contextlib.contextmanager
def embed_with_ray(job: Job, part: WorkingFile, args: argparse.Namespace, out: Output) -> Iterator[dict[str, Any]]:
    """Embed everything on a cluster, and hand the rows to `part`. Yields what the job says of itself.

    The partitions are deleted when the block ends well. Raises `InputError` for the first bad input, once all others
    are embedded, unless they are to be skipped.
    """
    from ..ray import embed_dataset

    folder = RayFolder(Path(args.output).expanduser(), part.job)
    folder.prepare(job)
    with attach(args, out), RayProgress(out, folder.path.name, total=len(job.sources)) as progress:
        report = embed_dataset(
            folder.inputs,
            folder.vectors,
            text=TEXT,
            image=IMAGE,
            carry=[ROW],
            workers=args.workers,
            on_progress=progress.show,
            **worker_settings(args),
        )
    for row, reason in folder.reasons().items():
        job.failed[row] = reason.removeprefix(f"{find_image(job.sources[row])}: ")
    if job.failed and not job.skip_errors:
        raise first_failure(job)
    folder.collect(part, len(job.sources))
    yield report.to_dict()
    folder.discard()


def attach(args: argparse.Namespace, out: Output) -> contextlib.AbstractContextManager[None]:
    """Be attached to the cluster that was named; one of this machine takes a while to start, which is said."""
    from ..ray.cluster import attached

    if args.address is None:
        out.note("starting a Ray cluster on this machine for this run")
    return attached(args.address)


def first_failure(job: Job) -> InputError:
    """The error for inputs that have no vector, when all others have one."""
    row = min(job.failed)
    more = f" (and {plural(len(job.failed) - 1, 'other input')})" if len(job.failed) > 1 else ""
    return InputError(
        f"{job.sources[row].input}: {job.failed[row]}{more}; the other vectors are kept, and the same command with "
        "--skip-errors writes them",
        index=row,
    )


def is_dataset(output: str) -> bool:
    """Whether a name is that of a folder of partitions, or of a Lance data set, and not of one file."""
    return "://" in output or output.endswith(("/", LANCE)) or Path(output).expanduser().is_dir()


def describe_run(facts: Mapping[str, Any]) -> str:
    """A line on how a job went."""
    done = f"{plural(facts['partitions'], 'partition')} by {plural(facts['workers'], 'worker')}"
    earlier = f", {facts['resumed_partitions']:,} of them earlier" if facts["resumed_partitions"] else ""
    return f"{done}{earlier}, in {format_duration(facts['seconds'])}, {format_rate(facts['rows_per_second'])}"


def worker_settings(args: argparse.Namespace) -> Mapping[str, Any]:
    """The encoder's settings for a worker: a backend of the user's own is made there."""
    return {**encoder_settings(args), "backend": backend_or_factory(args.backend, args.model)}


class RayProgress:
    """A bar of rows, and what an interruption or an error has to say of them."""

    def __init__(self, out: Output, kept_in: str, *, total: int | None) -> None:
        self._out, self._kept_in, self._total = out, kept_in, total
        self._stack = contextlib.ExitStack()
        self._bar: Progress | None = None
        self._rows = 0

    def show(self, progress: EmbedProgress) -> None:
        """Move the bar to where the job is."""
        finished = progress.rows + progress.failed
        if self._bar is None:  # where the number of rows is not known, partitions are counted
            bar = self._out.progress(progress.total_partitions, "partitions", elapsed_s=progress.seconds)
            self._bar = self._stack.enter_context(bar)
        elif not self._rows and self._total is not None and finished > progress.new_rows:
            self._bar.skip(finished - progress.new_rows)
            self._out.note(f"going on after {plural(finished - progress.new_rows, 'row')} of an earlier run")
        done = progress.partitions if self._total is None else finished
        self._bar.advance(done - self._bar.done)
        self._rows = progress.rows

    def __enter__(self) -> RayProgress:
        if self._total is not None:
            self._bar = self._stack.enter_context(self._out.progress(self._total, "embedding"))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stack.close()
        if not isinstance(error, (JinaClipError, KeyboardInterrupt, OSError)):
            return
        of = f" of {plural(self._total, 'vector')}" if self._total is not None else " vectors"
        remark = f"{self._rows:,}{of} of this run and earlier ones are kept in {self._kept_in}"
        if isinstance(error, KeyboardInterrupt):
            raise KeyboardInterrupt(f"interrupted: {remark}; the same command again goes on from there") from None
        if isinstance(error, BackendError):
            self._out.note(f"{remark}; the same command again goes on from there")
