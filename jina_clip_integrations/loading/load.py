"""Loading files of vectors into a store: which rows are left to do, and what became of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from threading import Event
from typing import Any

from ..retrieval.fingerprint import VectorFingerprint
from .files import Batch, VectorFile, open_files
from .stores import open_target
from .target import Target

BATCH_BYTES = 32 << 20
"""Vectors of a batch: few commits and few fragments, and still little memory."""

DEFAULT_PARALLEL = 4


@dataclass
class LoadReport:
    """What a load did."""

    into: str
    fingerprint: VectorFingerprint
    files: int
    total: int
    """Rows of all files."""
    loaded: int = 0
    """Rows that this run stored."""
    already: int = 0
    """Rows that were there before, from an earlier run of the same files."""
    without_vector: int = 0
    """Rows that have no vector and so were left out, as far as this run has looked at them."""
    seconds: float = 0.0
    count: int = 0
    """Rows in the store at the end."""

    @property
    def done(self) -> int:
        """Rows of the files that are dealt with."""
        return self.loaded + self.already + self.without_vector

    def to_json(self) -> dict[str, Any]:
        """Everything of it, for a machine to read."""
        facts = {"model": self.fingerprint.name or self.fingerprint.model, "dimensions": self.fingerprint.dimensions}
        return {**{name: value for name, value in vars(self).items() if name != "fingerprint"}, **facts}


OnProgress = Callable[[LoadReport], None]


def load_files(
    names: Sequence[str],
    *,
    into: str,
    collection: str | None = None,
    id_column: str | None = None,
    batch_rows: int | None = None,
    parallel: int = DEFAULT_PARALLEL,
    index: bool = True,
    on_progress: OnProgress | None = None,
    stop: Event | None = None,
) -> LoadReport:
    """Load Parquet files of vectors into a store. Interrupted or killed, the same call goes on where it stopped.

    Args:
        names: Files that `jina-clip embed` or `embed_dataset` wrote, or folders of them.
        into: See `open_target`.
        collection: Name of the collection or table.
        id_column: A column whose value says what a row is about: a later row of the same kind and value replaces an
            earlier one, whichever file it is in. None = every row of every file is one record, however alike they are,
            and a file that is loaded again changes nothing.
        batch_rows: Rows written at once; None = as many as have 32 MiB of vectors.
        parallel: Requests to a Qdrant server at a time.
        index: Make the stores' indexes at the end. Without, a later run can make them.
        on_progress: Called after every batch.
        stop: Set it to end after the current batch, as if interrupted.

    Raises:
        InputError: What was named is no file of vectors, or damaged.
        ConfigurationError: The files are of several models, or the store holds another model's vectors.
        BackendError: The store failed; what is stored stays.
        KeyboardInterrupt: `stop` was set.
    """
    files = open_files(names, id_column=id_column)
    size = batch_rows or max(1, BATCH_BYTES // (4 * files[0].info.dimensions))
    started_s = time.monotonic()
    with open_target(into, collection=collection, replace=id_column is not None, parallel=parallel) as target:
        target.prepare(files[0])
        report = LoadReport(target.where, files[0].fingerprint, len(files), sum(file.count for file in files))

        def on_stored(stored: int, already: int) -> None:
            report.loaded += stored
            report.already += already
            report.seconds = time.monotonic() - started_s
            if on_progress is not None:
                on_progress(report)

        on_stored(0, 0)
        target.write(_remaining(files, target, report, size, stop), on_stored)
        if index:
            target.finish()
        report.count = target.count()
    report.seconds = time.monotonic() - started_s
    return report


def _remaining(
    files: Sequence[VectorFile],
    target: Target,
    report: LoadReport,
    size: int,
    stop: Event | None,
) -> Iterator[Batch]:
    """Batches of what may not be stored yet. What is skipped is counted."""
    for file in files:
        start = target.next_row(file)
        report.already += start
        for batch in file.batches(size, start=start):
            if stop is not None and stop.is_set():
                raise KeyboardInterrupt
            report.without_vector += batch.skipped
            yield batch
