"""Parquet files of vectors, read a batch at a time: what of them goes into a store, and under which ids.

Needs the extra `parquet`.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..credentials import public_url
from ..errors import ConfigurationError, InputError, require_extra
from ..retrieval.fingerprint import VectorFingerprint, model_fingerprint
from ..retrieval.vector_table import EMBEDDING, INPUT, KIND, TableInfo, to_vectors
from ..types import Vectors

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow import fs, parquet

ROW_IDS = uuid.UUID("0d7c1e0c-53b5-5f5e-9a52-6a0f0f8a7d11")
"""Namespace of the rows' ids (RFC 9562, version 5). Another one would double the rows of every store of today."""

DIGEST_DIGITS = 32
"""Hexadecimal digits of a digest that are kept with every row."""

DIGEST_BLOCK_BYTES = 1 << 20
"""Read at a time of a file whose digest is taken."""

HIDDEN = ("_", ".")
"""How the name of a file begins that is no part of a data set, as in Hive and Spark."""


@dataclass(frozen=True)
class Batch:
    """Some rows of a file that have a vector."""

    file: VectorFile
    rows: Sequence[int]
    """Their numbers in the file, from 0."""
    ids: Sequence[str]
    """A UUID for each, the same one in every run."""
    kinds: Sequence[str]
    inputs: Sequence[str]
    """The text, or the image's path or URL as the file keeps it."""
    vectors: Vectors
    """`(n, d)` float32."""
    carried: pa.Table
    """Other columns of the file."""
    end: int
    """The number of the row after the last one that was looked at, whether it has a vector or not."""
    skipped: int = 0
    """Rows without a vector that were left out."""

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, positions: Sequence[int]) -> Batch:
        """The rows at these positions of this batch."""
        import pyarrow as pa

        return replace(
            self,
            rows=[self.rows[number] for number in positions],
            ids=[self.ids[number] for number in positions],
            kinds=[self.kinds[number] for number in positions],
            inputs=[self.inputs[number] for number in positions],
            vectors=self.vectors[np.asarray(positions, np.intp)],
            carried=self.carried.take(pa.array(positions, pa.int64())),
        )

    def last_of_each_id(self) -> Batch:
        """Without rows whose id comes again later in this batch, which a store would have replaced at once."""
        last = {id: position for position, id in enumerate(self.ids)}
        return self if len(last) == len(self.ids) else self.take(sorted(last.values()))


@dataclass
class VectorFile:
    """A Parquet file as `jina-clip embed` and `embed_dataset` write it. Opening it reads its footer only."""

    name: str
    """As the user named it."""
    info: TableInfo
    count: int
    """Rows, with a vector or without."""
    carried: tuple[pa.Field, ...]
    id_column: str | None
    """The column that says what a row is about; None = its place in the file says it."""
    _system: fs.FileSystem = field(repr=False)
    _path: str = field(repr=False)

    @classmethod
    def open(cls, name: str, *, id_column: str | None = None) -> VectorFile:
        """Raises `InputError` for what is no file of vectors, `ConfigurationError` for one of an unknown model."""
        import pyarrow as pa

        system, path = find_file(name)
        shown = show_name(name)
        try:
            with system.open_input_file(path) as file, _parquet(file) as opened:
                schema, count = opened.schema_arrow, opened.metadata.num_rows
        except (pa.ArrowInvalid, OSError) as error:
            raise InputError(f"{shown} cannot be read as a Parquet file: {' '.join(str(error).split())}") from error
        missing = [column for column in (KIND, INPUT, EMBEDDING) if column not in schema.names]
        if missing:
            raise InputError(f"{shown} is no file of vectors: it has no column {', '.join(map(repr, missing))}")
        info = TableInfo.from_metadata(schema.metadata, where=shown)
        carried = tuple(one for one in schema if one.name not in (KIND, INPUT, EMBEDDING))
        known = (INPUT, *(one.name for one in carried))
        if id_column is not None and id_column not in known:
            raise InputError(f"{shown} has no column {id_column!r} to take ids from; it has {', '.join(known)}")
        return cls(shown, info, count, carried, id_column, system, path)

    @property
    def fingerprint(self) -> VectorFingerprint:
        """Which model made the vectors; derived from the model's name in files that keep no fingerprint."""
        made = self.info.fingerprint
        if made is None:
            return model_fingerprint(self.info.model, self.info.dimensions, normalize=self.info.normalized)
        return made

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the file's content, 128 bits of it: a file is known wherever it lies and whatever it is called."""
        content = hashlib.sha256()
        with self._system.open_input_stream(self._path) as stream:
            while block := stream.read(DIGEST_BLOCK_BYTES):
                content.update(block)
        return content.hexdigest()[:DIGEST_DIGITS]

    @property
    def source(self) -> str:
        """What a store keeps of a row's origin: other ids make other records of the same file."""
        if self.id_column is None:
            return self.digest
        return hashlib.sha256(f"{self.digest}\n{self.id_column}".encode()).hexdigest()[:DIGEST_DIGITS]

    def batches(self, size: int, *, start: int = 0) -> Iterator[Batch]:
        """The rows from number `start` on, at most `size` at a time, those without a vector left out.

        Raises `InputError` for a row without a value in `id_column`, and for a file that is damaged further on.
        """
        import pyarrow as pa

        try:
            with self._system.open_input_file(self._path) as file, _parquet(file) as opened:
                first = 0
                for part in opened.iter_batches(batch_size=size):
                    if first + len(part) > start:
                        yield self._make_batch(part.slice(max(start - first, 0)), max(first, start))
                    first += len(part)
        except (pa.ArrowInvalid, OSError) as error:
            raise InputError(f"{self.name} is damaged: {' '.join(str(error).split())}") from error

    def _make_batch(self, part: pa.RecordBatch, first: int) -> Batch:
        import pyarrow as pa

        try:
            vectors = to_vectors(part.column(EMBEDDING), self.info.dimensions)
        except ConfigurationError as error:
            raise InputError(f"{self.name}, rows from {first}: {error}") from error
        usable = np.flatnonzero(np.isfinite(vectors).all(axis=1))
        kept = pa.Table.from_batches([part.take(pa.array(usable))])
        rows = [first + int(position) for position in usable]
        kinds, inputs = kept.column(KIND).to_pylist(), kept.column(INPUT).to_pylist()
        return Batch(
            file=self,
            rows=rows,
            ids=self._make_ids(rows, kinds, kept),
            kinds=kinds,
            inputs=inputs,
            vectors=vectors[usable],
            carried=kept.select([one.name for one in self.carried]),
            end=first + len(part),
            skipped=len(part) - len(usable),
        )

    def _make_ids(self, rows: Sequence[int], kinds: Sequence[str], kept: pa.Table) -> list[str]:
        if self.id_column is None:
            return [str(uuid.uuid5(ROW_IDS, f"{self.digest}\n{row}")) for row in rows]
        values = kept.column(self.id_column).to_pylist()
        if None in values:
            raise InputError(f"{self.name}, row {rows[values.index(None)]}: the column {self.id_column!r} is null")
        # With the kind, since the text and the image of one thing may carry one number.
        return [
            str(uuid.uuid5(ROW_IDS, f"{self.id_column}\n{kind}\n{value}"))
            for kind, value in zip(kinds, values, strict=True)
        ]


def open_files(names: Sequence[str], *, id_column: str | None = None) -> list[VectorFile]:
    """The files that are named, and those of named folders, checked to be of one model.

    Raises `InputError` and `ConfigurationError`, before any row is read.
    """
    require_extra("pyarrow", extra="parquet", purpose="Reading Parquet")
    files = [VectorFile.open(name, id_column=id_column) for named in names for name in list_files(named)]
    if not files:
        raise InputError("nothing to load: name Parquet files of vectors, or folders of them")
    for file in files:
        file.fingerprint.check(files[0].fingerprint.to_metadata(), where=files[0].name)
    return files


def list_files(named: str) -> list[str]:
    """The Parquet files of a folder and of its subfolders, in order of their names; anything else is a file."""
    folder = Path(named).expanduser()
    if "://" in named or not folder.is_dir():
        return [named]
    found = [path for path in folder.rglob("*.parquet") if not _is_hidden(path.relative_to(folder))]
    return [str(path) for path in sorted(found)]


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(HIDDEN) for part in path.parts)


def find_file(name: str) -> tuple[fs.FileSystem, str]:
    """The file system of a path or of an address such as `s3://bucket/x.parquet`, and the path in it."""
    import pyarrow as pa
    from pyarrow import fs

    if "://" not in name:
        path = Path(name).expanduser()
        if not path.is_file():
            raise InputError(f"there is no file {name}")
        return fs.LocalFileSystem(), str(path)
    try:
        system, path_there = fs.FileSystem.from_uri(name)
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{show_name(name)} is not the address of a file that can be read here") from error
    return system, path_there


def show_name(name: str) -> str:
    """The name of a file for messages: an address without what may be a credential."""
    return public_url(name) if "://" in name else name


def _parquet(file: Any) -> parquet.ParquetFile:
    from pyarrow import parquet

    return parquet.ParquetFile(file)
