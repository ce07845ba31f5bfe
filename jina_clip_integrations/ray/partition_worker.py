"""What a worker does with a partition: read, embed, write, and leave a receipt."""

from __future__ import annotations

import pickle
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from ..collections.names import decode_name
from ..encoder import JinaClipEncoder
from ..errors import BackendError, JinaClipError
from ..retrieval.vector_table import EMBEDDING, INPUT, KIND, to_list_array
from ..types import Vectors
from .manifest import Manifest, Receipt, check_pieces
from .reading import Chunk, Columns, read_chunks
from .recipe import EncoderRecipe, Secrets
from .rows import embed_inputs
from .sinks import FAILED, Sink, count_rows, write_parquet_file
from .storage import Storage

AHEAD = 2
"""Chunks in work at a time: images of the second are decoded while the first is computed."""

MAX_ATTEMPTS = 5
"""Attempts of one run at a partition whose worker dies: some input of it may be the reason."""

PARTITION = "partition"

FAILED_FIELDS = [
    (KIND, pa.string()),
    (INPUT, pa.string()),
    ("reason", pa.string()),
    ("file", pa.string()),
    ("position", pa.int64()),
]
"""Columns of the side table, before those carried along."""

RESULT = pa.schema(
    [(PARTITION, pa.int64()), ("rows", pa.int64()), ("failed", pa.int64()), ("new", pa.bool_()), ("error", pa.binary())]
)
"""What a worker answers."""


@dataclass(frozen=True, kw_only=True)
class PartitionJob:
    """Everything that a worker has to know; it travels once per worker."""

    id: str
    run: str
    """Differs between two runs of one job."""
    source: Storage
    format: str
    columns: Columns
    schema: pa.Schema
    """Of the vectors."""
    task: str | None
    recipe: EncoderRecipe
    sink_storage: Storage
    sink: Sink


@dataclass
class Tally:
    """Rows of a partition as they are written, and those that have no vector."""

    rows: int = 0
    failed: list[pa.Table] = field(default_factory=list)


class PartitionWorker:
    """The callable class of the job's dataset: numbers of partitions in, what became of them out.

    An error comes back as a row, so that the program that started the job raises it as it is.
    """

    def __init__(self, job: PartitionJob, secrets: Secrets) -> None:
        job.recipe.with_secrets(secrets)
        self.job = job
        self.manifest = Manifest(job.sink_storage)
        self._encoder: JinaClipEncoder | None = None

    def __call__(self, table: pa.Table) -> pa.Table:
        """Finish every partition of the batch."""
        return pa.Table.from_pylist([self._answer(number) for number in table[PARTITION].to_pylist()], schema=RESULT)

    def _answer(self, number: int) -> dict[str, Any]:
        try:
            receipt, new = self.finish(number)
        except (JinaClipError, OSError, ImportError, pa.ArrowException) as error:
            return {PARTITION: number, "rows": 0, "failed": 0, "new": False, "error": dump_error(error)}
        return {PARTITION: number, "rows": receipt.rows, "failed": receipt.failed, "new": new, "error": None}

    def finish(self, number: int) -> tuple[Receipt, bool]:
        """The receipt of a partition, and whether it was computed for it; what is finished never is.

        Raises `BackendError` if another job took the sink's place, `ConfigurationError` for a source that changed.
        """
        held = self.manifest.receipt(number)
        if held is not None:
            return held, False
        started_s = time.monotonic()
        receipt = self._recover(number)
        new = receipt is None
        if receipt is None:
            receipt = self._compute(number, started_s)
            # Another worker, perhaps of a driver that was killed, may have been quicker.
            held = self.manifest.receipt(number)
        if held is None:
            self.manifest.finish(receipt)
        return held or receipt, new

    def _recover(self, number: int) -> Receipt | None:
        """The receipt that a killed worker would have written, whose rows are in place."""
        rows = self.job.sink.recover(number)
        if rows is None:
            return None
        storage, name = self.job.sink_storage, failed_name(number)
        return Receipt(number, rows, count_rows(storage, name) if storage.exists(name) else 0, 0.0, {})

    def _compute(self, number: int, started_s: float) -> Receipt:
        job, tally = self.job, Tally()
        pieces = self.manifest.pieces(number)
        self._count_attempt(number, pieces[0].path)
        check_pieces(pieces, lambda path: job.source.state(decode_name(path)), job.source.show(""))

        def before_commit() -> None:
            if not self.manifest.is_of(job.id):
                raise BackendError(f"{job.sink_storage.show('')}: another job took the place of this one")
            # The side table comes first: with the rows in place the partition is finished.
            self._write_failed(number, tally)

        data = job.sink.write(number, self._tables(pieces, tally), job.schema, before_commit)
        failed = sum(table.num_rows for table in tally.failed)
        return Receipt(number, tally.rows, failed, round(time.monotonic() - started_s, 3), data)

    def _count_attempt(self, number: int, path: str) -> None:
        """Raise `BackendError` for a partition that has killed its workers: Ray would try it for ever."""
        attempts = self.manifest.count_attempt(number, self.job.run)
        if attempts > MAX_ATTEMPTS:
            raise BackendError(
                f"partition {number}, which begins with {path}, was begun {MAX_ATTEMPTS} times and its worker died "
                "every time; look for lack of memory in Ray's logs, and take out the input at fault"
            )

    def _write_failed(self, number: int, tally: Tally) -> None:
        if tally.failed:
            storage = self.job.sink_storage
            storage.make_folder(FAILED)
            write_parquet_file(storage, failed_name(number), iter(tally.failed), tally.failed[0].schema)

    def _tables(self, pieces: Any, tally: Tally) -> Iterator[pa.Table]:
        """The rows with vectors; those without go to the tally."""
        job, encoder = self.job, self.encoder
        chunks = read_chunks(job.source, job.format, pieces, job.columns, encoder.sources)
        for chunk, vectors, errors in self._embed(chunks):
            good = np.array([row not in errors for row in range(len(vectors))], bool)
            good &= ~np.isnan(vectors).any(axis=1)
            table = vector_table(chunk, vectors, job.schema).filter(pa.array(good))
            tally.rows += table.num_rows
            if not good.all():
                tally.failed.append(failed_table(chunk, errors, job.columns).filter(pa.array(~good)))
            if table.num_rows:
                yield table

    @property
    def encoder(self) -> JinaClipEncoder:
        """The encoder of this worker, opened when it is first asked for."""
        if self._encoder is None:
            self._encoder = self.job.recipe.open_in_worker()
        return self._encoder

    def _embed(self, chunks: Iterator[Chunk]) -> Iterator[tuple[Chunk, Vectors, dict[int, str]]]:
        """The chunks with their vectors, in order; the next one is read and begun while one is computed."""
        encoder, task, width = self.encoder, self.job.task, self.job.schema.field(EMBEDDING).type.list_size
        waiting: list[tuple[Chunk, Future[tuple[Vectors, dict[int, str]]]]] = []
        with ThreadPoolExecutor(AHEAD) as pool:
            for chunk in chunks:
                waiting.append((chunk, pool.submit(embed_inputs, encoder, chunk.inputs, task, lambda: width)))
                if len(waiting) == AHEAD:
                    first, future = waiting.pop(0)
                    yield first, *future.result()
            for first, future in waiting:
                yield first, *future.result()


def failed_name(partition: int) -> str:
    """The file of a partition's rows without a vector."""
    return f"{FAILED}/part-{partition:06d}.parquet"


def vector_table(chunk: Chunk, vectors: Vectors, schema: pa.Schema) -> pa.Table:
    """The rows of a chunk as the output holds them. Raises `BackendError` for vectors of another width."""
    kind = schema.field(EMBEDDING).type
    if vectors.shape[1] != kind.list_size:
        raise BackendError(
            f"the backend gives vectors of {vectors.shape[1]} values, but the job is of {kind.list_size}"
        )
    columns = [pa.array(chunk.inputs.kinds, pa.string()), pa.array(chunk.names, pa.string()), *chunk.carried]
    return pa.Table.from_arrays([*columns, to_list_array(vectors, kind)], schema=schema)


def failed_table(chunk: Chunk, errors: dict[int, str], columns: Columns) -> pa.Table:
    """The rows of a chunk as the side table holds them."""
    schema = pa.schema([*FAILED_FIELDS, *columns.carried])
    reasons = [errors.get(row, "the backend gave no finite vector") for row in range(len(chunk.inputs))]
    values: list[Any] = [chunk.inputs.kinds, chunk.names, reasons, chunk.files, chunk.positions]
    arrays = [pa.array(column, field.type) for column, field in zip(values, schema, strict=False)]
    return pa.Table.from_arrays([*arrays, *chunk.carried], schema=schema)


def dump_error(error: BaseException) -> bytes:
    """An error of this process for another one; what cannot travel becomes a `BackendError` of its message."""
    try:
        return pickle.dumps(error)
    except Exception:  # it may hold anything
        return pickle.dumps(BackendError(f"{type(error).__name__}: {error}"))
