"""Where vectors go: a folder of Parquet files, one per partition, or a Lance data set of one fragment per partition."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import pyarrow as pa
from pyarrow import parquet

from ..errors import BackendError, ConfigurationError, require_extra
from .manifest import FOLDER, Receipt
from .storage import Storage

FAILED = "_failed"
"""Folder of the side table, which readers of Parquet folders skip."""

LANCE = ".lance"

JOB_KEY = "jina_clip_job"
"""Metadata of a Lance schema: the job that made the data set."""


class Sink(Protocol):
    """The output of a job. `write` may be called for one partition by several workers, and leaves its rows once."""

    def check_free(self) -> None:
        """Raise `ConfigurationError` where a new job would mix its rows with others."""

    def write(
        self, partition: int, tables: Iterator[pa.Table], schema: pa.Schema, before_commit: Callable[[], None]
    ) -> dict[str, Any]:
        """Write the rows of a partition; what `finish` needs to know of it.

        `before_commit` is called when all rows are written and none is visible; it may raise.
        """

    def recover(self, partition: int) -> int | None:
        """Rows of a partition without a receipt that are in place; None where they are not."""

    def finish(self, receipts: Sequence[Receipt], schema: pa.Schema, job_id: str) -> None:
        """Make the rows of all partitions visible, in their order. Idempotent."""


def find_sink(storage: Storage, format: str | None) -> tuple[str, Sink]:
    """The sink of a folder by `format` or name, and what it is called. Raises `ConfigurationError`, `ImportError`."""
    kind = format or ("lance" if storage.root.endswith(LANCE) else "parquet")
    if kind == "lance":
        require_extra("lance", extra="stores", purpose="a Lance data set")
        return kind, LanceSink(storage)
    if kind != "parquet":
        raise ConfigurationError(f"sink_format={kind!r}; choose 'parquet' or 'lance'")
    return kind, ParquetSink(storage)


def write_parquet_file(
    storage: Storage,
    name: str,
    tables: Iterator[pa.Table],
    schema: pa.Schema,
    unless: Callable[[], bool] | None = None,
) -> None:
    """Write tables as row groups of one file, which is there once it is complete."""

    def write(file: Any) -> None:
        with parquet.ParquetWriter(file, schema) as writer:
            for table in tables:
                writer.write_table(table)

    storage.put_with(name, write, unless=unless)


def count_rows(storage: Storage, name: str) -> int:
    """Rows of a Parquet file."""
    with storage.filesystem.open_input_file(storage.path(name)) as file:
        return int(parquet.ParquetFile(file).metadata.num_rows)


class ParquetSink:
    """`part-000000.parquet` and so on. A file is complete when it is there."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage

    def check_free(self) -> None:
        """Raise `ConfigurationError` where a new job would mix its rows with others."""
        names = [str(info.base_name) for info in self.storage.list()]
        others = [name for name in names if not name.startswith(".") and name not in (FOLDER, FAILED)]
        if others:
            raise ConfigurationError(
                f"{self.storage.show('')} holds {others[0]}, which no job of this kind made; choose a new folder"
            )

    @staticmethod
    def file_name(partition: int) -> str:
        """The file of a partition."""
        return f"part-{partition:06d}.parquet"

    def write(
        self, partition: int, tables: Iterator[pa.Table], schema: pa.Schema, before_commit: Callable[[], None]
    ) -> dict[str, Any]:
        """Write the partition's file, unless it is there already."""
        name = self.file_name(partition)

        def superfluous() -> bool:
            before_commit()
            return self.storage.exists(name)

        write_parquet_file(self.storage, name, tables, schema, superfluous)
        return {}

    def recover(self, partition: int) -> int | None:
        """Rows of the file, if it is in place: it was renamed, and its writer killed before the receipt."""
        name = self.file_name(partition)
        return count_rows(self.storage, name) if self.storage.exists(name) else None

    def finish(self, receipts: Sequence[Receipt], schema: pa.Schema, job_id: str) -> None:
        """Check that exactly the files of the job are there. Raises `BackendError` for others."""
        del schema, job_id
        asked = {self.file_name(receipt.partition) for receipt in receipts}
        infos = [info for info in self.storage.list() if not str(info.base_name).startswith((".", "_"))]
        found = {str(info.base_name) for info in infos}
        if found != asked:
            odd = min(found ^ asked)
            state = "is missing" if odd in asked else "is not of this job"
            raise BackendError(f"{self.storage.show(odd)} {state}; somebody else changed the sink. Choose another one")


class LanceSink:
    """Fragments, which one commit at the end makes a data set of; those of a killed worker belong to nothing."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage

    @property
    def uri(self) -> str:
        """What Lance calls the data set."""
        return self.storage.name

    def check_free(self) -> None:
        """Raise `ConfigurationError` where there is a data set already."""
        if self._open() is not None:
            raise ConfigurationError(f"{self.uri} is a Lance data set that no job of this kind made; choose a new name")

    def _open(self) -> Any:
        lance: Any = importlib.import_module("lance")
        if not self.storage.list("_versions"):
            return None
        return lance.dataset(self.uri)

    def write(
        self, partition: int, tables: Iterator[pa.Table], schema: pa.Schema, before_commit: Callable[[], None]
    ) -> dict[str, Any]:
        """Write the partition's fragments, which belong to nothing before the receipt names them."""
        del partition
        fragment: Any = importlib.import_module("lance.fragment")
        reader = pa.RecordBatchReader.from_batches(schema, (batch for table in tables for batch in table.to_batches()))
        made = fragment.write_fragments(reader, self.uri, schema=schema, mode="create")
        before_commit()
        return {"fragments": [json.dumps(one.to_json()) for one in made]}

    def recover(self, partition: int) -> int | None:
        """None: fragments are found by their receipt only."""
        del partition
        return None

    def finish(self, receipts: Sequence[Receipt], schema: pa.Schema, job_id: str) -> None:
        """Commit the fragments of all receipts, unless that was done."""
        lance: Any = importlib.import_module("lance")
        fragment: Any = importlib.import_module("lance.fragment")
        held = self._open()
        if held is not None:
            if (held.schema.metadata or {}).get(JOB_KEY.encode()) != job_id.encode():
                raise BackendError(f"{self.uri}: somebody else made a data set of this name; choose another sink")
            return
        made = [fragment.FragmentMetadata.from_json(one) for receipt in receipts for one in receipt.data["fragments"]]
        marked = schema.with_metadata({**(schema.metadata or {}), JOB_KEY: job_id})
        lance.LanceDataset.commit(self.uri, lance.LanceOperation.Overwrite(marked, made))
