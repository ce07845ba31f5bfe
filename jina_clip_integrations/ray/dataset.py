"""`embed_dataset`: a folder, a bucket or tables of any size into a table of vectors, exactly once."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pickle
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.fs as arrow_fs
import ray.exceptions

from ..encoder import JinaClipEncoder
from ..errors import BackendError, ConfigurationError
from ..retrieval.vector_table import TableInfo, make_schema
from ..settings import DEFAULT_MODEL, vector_option_names
from .embedder import known_width, table_info
from .execution import attach, run_partitions
from .lock import locked
from .manifest import DONE, Manifest, Receipt, check_same_job, check_same_source
from .partition_worker import PARTITION, PartitionJob
from .reading import Columns, find_columns
from .recipe import BackendFactory, EncoderRecipe, encoder_vector_options
from .report import EmbedProgress, EmbedReport
from .sinks import FAILED, Sink, find_sink
from .sources import Source, cut, find_source, size_of_partitions
from .storage import Storage
from .workers import WorkerPlan

OnProgress = Callable[[EmbedProgress], None]


def embed_dataset(
    source: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    sink: str | os.PathLike[str],
    *,
    format: str | None = None,
    text: str | None = None,
    image: str | None = None,
    carry: Sequence[str] = (),
    sink_format: str | None = None,
    dtype: str = "float32",
    task: str | None = None,
    workers: int | None = None,
    gpus_per_worker: float | None = None,
    partition_size: int | None = None,
    source_filesystem: arrow_fs.FileSystem | None = None,
    sink_filesystem: arrow_fs.FileSystem | None = None,
    on_progress: OnProgress | None = None,
    model: str | os.PathLike[str] = DEFAULT_MODEL,
    backend: str | BackendFactory = "api",
    **encoder_options: Any,
) -> EmbedReport:
    """Embed everything in `source` on the Ray cluster of this process, and write the vectors to `sink`.

        ray.init("auto")                          # or nothing: a cluster of this machine
        embed_dataset("s3://shop/photos", "s3://shop/vectors", backend="local", dimensions=512)
        embed_dataset("products.parquet", "products.lance", text="title", carry=["sku"], backend="local")

    The source is cut into partitions; a worker reads one, embeds it and writes its rows to a file that is there once it
    is complete. After a kill of whatever kind the same call goes on: a partition that was finished is never computed
    again, and no row is lost or doubled. Memory is bounded by a few hundred rows per worker, however large the source.

    Rows are in the order of the source: files by name, rows and lines as they stand. The output has the columns `kind`,
    `input` (the text, or the image's path or address), those of `carry`, and `embedding`, `(dimensions,)` of `dtype`;
    model, width, task and fingerprint are in the metadata of its schema. Rows that cannot be embedded are not in it:
    they are in the side table `_failed/` of the sink, with `reason`, `file` and `position` (the row of a Parquet file,
    or the offset of a line in bytes), and the job goes on.

    Args:
        source: A folder (images at any depth, or tables), a file, or a list of files. Paths or `s3://`, `gs://` and
            other addresses that `pyarrow.fs` opens. What begins with `.` or `_` is left out.
        sink: A folder of Parquet files `part-000000.parquet` and so on, or a Lance data set (`….lance`).
        format: `images`, `parquet`, `jsonl` (also `.gz`, `.zst`) or `text` (a text per line); None = by the names.
        text: Column of texts in Parquet and JSON lines.
        image: Column of images: paths, URLs, addresses of object stores, encoded bytes, or rows of `datasets`. With
            both columns a row has a value in one of them.
        carry: More columns that the output has as they are.
        sink_format: `parquet` or `lance`; None = by the name.
        dtype: `float32` or `float16`.
        task: None, or a task of the model for the texts.
        workers: Number of workers; None = one per GPU, or per share of the CPUs (`WorkerPlan`).
        gpus_per_worker: Share of a GPU; None = 1 where there are GPUs and the backend is `local`.
        partition_size: Rows (images, Parquet) or bytes (lines) of a partition; None = by the source's size. An earlier
            run's partitions stay as they are.
        source_filesystem: A filesystem in which `source` is a path.
        sink_filesystem: The same for `sink`.
        on_progress: Called with an `EmbedProgress` after every partition, in this thread.
        model: As for `JinaClipEncoder`; a checkpoint folder has to be there on every node.
        backend: A backend's name, or a function or class that makes one in the worker. The hosted API's key of this
            process's environment goes to the workers; it is in no file and no message.
        encoder_options: More options of `JinaClipEncoder` and of the backend.

    Returns:
        What was made, earlier runs included.

    Raises:
        ConfigurationError: options that cannot work; a sink with another job or with other options; a source that is
            not what it was when the job began. The message says what differs and what to do.
        InputError: nothing to embed, or a column that is not there.
        BackendError: the backend failed, a worker died again and again, or another program has the sink. Finished
            partitions stay.
        ImportError: a missing extra.
    """
    recipe = EncoderRecipe(model, backend, **encoder_options)
    found = find_source(source, format, source_filesystem)
    path = found.files[0].path
    columns = find_columns(found.storage, found.format, path, text=text, image=image, carry=tuple(carry))
    storage = Storage.of(sink, sink_filesystem)
    sink_kind, sink_of_job = find_sink(storage, sink_format)
    with contextlib.closing(recipe.open()) as encoder:
        info = table_info(encoder, known_width(encoder), check_task(encoder, task))
    plan = Plan(recipe, found, columns, storage, sink_of_job, sink_kind, info, dtype)
    started_s = time.monotonic()
    attach()
    with locked(storage):
        run = Run(plan, partition_size, workers, gpus_per_worker, on_progress)
        return run.finish(started_s)


def check_task(encoder: JinaClipEncoder, task: str | None) -> str | None:
    """`task`, if the model has it. Raises `ConfigurationError`."""
    if task is not None:
        encoder.spec.check_task(task)
    return task


@dataclass(frozen=True)
class Plan:
    """What a job is, before it is known how much of it is done."""

    recipe: EncoderRecipe
    source: Source
    columns: Columns
    storage: Storage
    sink: Sink
    sink_kind: str
    info: TableInfo
    dtype: str

    @property
    def schema(self) -> pa.Schema:
        """Of the vectors."""
        return make_schema(self.info, dtype=self.dtype, carried=self.columns.carried)

    def about(self) -> dict[str, Any]:
        """What must not differ between two runs of one job."""
        fingerprint = self.info.fingerprint
        vectors: dict[str, Any] = {} if fingerprint is None else dict(fingerprint.to_metadata())
        vectors |= self.recipe.describe((*vector_option_names(), *encoder_vector_options()))
        vectors |= {"task": self.info.task, "dtype": self.dtype}
        columns = {"text": self.columns.text, "image": self.columns.image}
        carried = {field.name: str(field.type) for field in self.columns.carried}
        where = {"place": self.source.storage.show(""), "format": self.source.format}
        return {
            "source": {**where, **columns, "carry": carried},
            "vectors": vectors,
            "sink": {"format": self.sink_kind},
        }


class Run:
    """A run of a job, from where the last one stopped."""

    def __init__(
        self,
        plan: Plan,
        partition_size: int | None,
        workers: int | None,
        gpus_per_worker: float | None,
        on_progress: OnProgress | None,
    ) -> None:
        self.plan = plan
        self.manifest = Manifest(plan.storage)
        self.on_progress = on_progress
        self._workers, self._gpus = workers, gpus_per_worker
        self.job = self._resume() or self._begin(partition_size)
        earlier = self.manifest.finished()
        self.done = {receipt.partition for receipt in earlier}
        self.resumed = len(self.done)
        self.rows = sum(receipt.rows for receipt in earlier)
        self.failed = sum(receipt.failed for receipt in earlier)
        self.new_rows = self.used_workers = 0
        self._started_s = time.monotonic()

    def _resume(self) -> dict[str, Any] | None:
        job, plan = self.manifest.job(), self.plan
        if job is None:
            return None
        where, source = plan.storage.show(""), plan.source
        check_same_job(job, plan.about(), where)
        found = cut(source, job["partition_size"])
        check_same_source(self.manifest.all_pieces(), found, where, source.storage.show(""))
        return job

    def _begin(self, partition_size: int | None) -> dict[str, Any]:
        plan = self.plan
        plan.sink.check_free()
        if partition_size is not None and partition_size < 1:
            raise ConfigurationError(f"partition_size={partition_size}: must be at least 1")
        size = partition_size or size_of_partitions(plan.source, self._worker_plan().workers)
        return self.manifest.begin(plan.about(), size, cut(plan.source, size))

    def _worker_plan(self) -> WorkerPlan:
        return WorkerPlan.for_cluster(
            backend=self.plan.recipe.backend, workers=self._workers, gpus_per_worker=self._gpus
        )

    def finish(self, started_s: float) -> EmbedReport:
        """Compute what is left, and make the whole visible."""
        pending = [number for number in range(self.job["partitions"]) if number not in self.done]
        if pending:
            self._compute(pending)
        receipts = self.manifest.finished()
        self._check_complete(receipts)
        self.plan.sink.finish(receipts, self.plan.schema, self.job["id"])
        storage, info = self.plan.storage, self.plan.info
        for folder in ("", FAILED, DONE):
            storage.sweep(folder)
        return EmbedReport(
            sink=storage.show(""),
            failed_rows=storage.show(FAILED),
            model=info.model,
            dimensions=info.dimensions,
            rows=sum(receipt.rows for receipt in receipts),
            failed=sum(receipt.failed for receipt in receipts),
            partitions=len(receipts),
            resumed_partitions=self.resumed,
            new_rows=self.new_rows,
            workers=self.used_workers,
            seconds=round(time.monotonic() - started_s, 3),
        )

    def _check_complete(self, receipts: Sequence[Receipt]) -> None:
        lacking = set(range(self.job["partitions"])) - {receipt.partition for receipt in receipts}
        if lacking:
            raise BackendError(
                f"{len(lacking)} of {self.job['partitions']} partitions are missing, the first is {min(lacking)}; the "
                "others stay: run the same job again"
            )

    def _compute(self, pending: Sequence[int]) -> None:
        plan, workers = self.plan, self._worker_plan()
        self.used_workers = min(workers.workers, len(pending))
        job = PartitionJob(
            id=self.job["id"],
            run=uuid.uuid4().hex,
            source=plan.source.storage,
            format=plan.source.format,
            columns=plan.columns,
            schema=plan.schema,
            task=plan.info.task,
            recipe=plan.recipe.with_key_of_here(),
            sink_storage=plan.storage,
            sink=plan.sink,
        )
        used = dataclasses.replace(workers, workers=self.used_workers)
        try:
            for answer in run_partitions(job, job.recipe.secrets(), pending, used):
                self._note(answer)
        except ray.exceptions.RayError as error:
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise BackendError(
                f"the Ray job failed after {len(self.done)} of {self.job['partitions']} partitions ({first}); those "
                "stay, and the same job goes on from there"
            ) from error

    def _note(self, answer: dict[str, Any]) -> None:
        """Count a finished partition. Raises the error of one that is not."""
        if answer["error"] is not None:
            raise pickle.loads(answer["error"])  # noqa: S301  # of our own worker
        if answer[PARTITION] in self.done:
            return
        self.done.add(answer[PARTITION])
        self.rows += answer["rows"]
        self.failed += answer["failed"]
        self.new_rows += answer["new"] * (answer["rows"] + answer["failed"])
        if self.on_progress is not None:
            self.on_progress(
                EmbedProgress(
                    partitions=len(self.done),
                    total_partitions=self.job["partitions"],
                    rows=self.rows,
                    failed=self.failed,
                    new_rows=self.new_rows,
                    seconds=time.monotonic() - self._started_s,
                )
            )
