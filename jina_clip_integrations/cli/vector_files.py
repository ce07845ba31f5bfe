"""Files of vectors: NumPy, Parquet and JSON lines, and the working file that survives an interruption."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TextIO

import numpy as np

from ..collections.names import encode_name
from ..concurrency.locks import lock_file
from ..errors import BackendError, InputError, require_extra
from ..printable import to_json
from ..retrieval.vector_table import EMBEDDING, TableInfo, make_schema, to_list_array
from ..types import Modality, Vectors

ROWS_PER_BATCH = 1024
"""Rows of a Parquet record batch: the vectors are mapped from a file and never in memory all at once."""


@dataclass(frozen=True)
class Source:
    """What a vector was made from."""

    kind: Modality
    input: str
    """The text itself, or the image's path or URL."""


Writer = Callable[[Path, Sequence[Source], Vectors, TableInfo], None]


class WorkingFile:
    """Rows finished so far, beside the output: a line that says what they are, then float32 after float32.

    A later run with the same inputs and the same model goes on where this one stopped; anything else starts anew. One
    process at a time has it; for another one it raises `BackendError`.
    """

    def __init__(self, output: Path, *, dimensions: int, job: str) -> None:
        self.path = output.with_name(f"{output.name}.part")
        self.dimensions = dimensions
        self.job = job
        self._head = json.dumps({"job": job, "dimensions": dimensions}).encode() + b"\n"
        self._locked = lock_file(self.path)
        if self._locked is None:
            raise BackendError(f"another program is writing {output}; wait for it, or choose another --output")
        self.rows = self._count_rows()

    def _count_rows(self) -> int:
        """Whole rows that an earlier run of the same job left; the incomplete last row of a killed run is cut off."""
        with self.path.open("rb") as file:
            same = file.readline() == self._head
        # Rows of another job are of no use to this one, and the file stands in its way.
        if not same:
            with _naming(self.path):
                self.path.write_bytes(self._head)
            return 0
        # A kill in the middle of a write leaves part of a row.
        rows = (self.path.stat().st_size - len(self._head)) // self._row_bytes
        self._cut(rows)
        return rows

    @property
    def _row_bytes(self) -> int:
        return 4 * self.dimensions

    def _cut(self, rows: int) -> None:
        os.truncate(self.path, len(self._head) + rows * self._row_bytes)

    def missing_rows(self) -> list[int]:
        """Rows that an earlier run left out."""
        return [int(row) for row in np.flatnonzero(np.isnan(self.vectors()).any(axis=1))]

    def forget_from(self, row: int) -> None:
        """Drop this row and those after it, to be computed again."""
        self._cut(row)
        self.rows = row

    def append(self, rows: Vectors) -> None:
        """Add rows to the file, all or none. They survive an interruption of this process."""
        try:
            with _naming(self.path), self.path.open("ab") as file:
                file.write(np.ascontiguousarray(rows, np.float32).tobytes())
        except OSError:  # a full disk takes the first of them
            with contextlib.suppress(OSError):
                self._cut(self.rows)
            raise
        self.rows += len(rows)

    def vectors(self) -> Vectors:
        """All rows so far, `(n, d)`, mapped from the file."""
        # NumPy maps no empty array.
        if not self.rows:
            return np.empty((0, self.dimensions), np.float32)
        shape = (self.rows, self.dimensions)
        return np.memmap(self.path, np.float32, mode="r", offset=len(self._head), shape=shape)

    def discard(self) -> None:
        """Delete the file. Idempotent."""
        self.path.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Let another process have the file. Idempotent."""
        if self._locked is not None:
            self._locked.close()
        self._locked = None


def find_writer(output: Path) -> Writer:
    """The function that writes this kind of file. Raises `InputError` for an unknown kind."""
    writers = {".npy": write_npy, ".parquet": write_parquet, ".jsonl": write_jsonl}
    extension = output.suffix.lower()
    if extension not in writers:
        raise InputError(f"--output {output}: the name must end in {', '.join(writers)}")
    # Both checks come before anything is embedded: a missing package after an hour would be worse.
    if extension == ".parquet":
        require_extra("pyarrow", extra="parquet", purpose="Writing Parquet")
    if not output.parent.is_dir():
        raise InputError(f"--output {output}: there is no folder {output.parent}")
    return writers[extension]


@contextmanager
def replace_file(path: Path) -> Iterator[Path]:
    """A file to write instead of `path`, which takes its place when the block ends well and is deleted otherwise.

    So `path` holds what it held before or all of the new, wherever the program is killed and however full the disk is.
    """
    target = path.resolve()  # a link stays a link
    fresh = target.with_name(f"{target.name}.tmp")
    try:
        with _naming(path):
            yield fresh
            with fresh.open("rb") as written:
                os.fsync(written.fileno())  # or a power failure could leave the new name with nothing behind it
            if target.exists():
                shutil.copymode(target, fresh)
            fresh.replace(target)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Let an error of the disk, which may come without a name, say which file it is about."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            raise OSError(error.errno, os.strerror(error.errno), str(path)) from error
        raise


def write_npy(path: Path, sources: Sequence[Source], vectors: Vectors, info: TableInfo) -> None:
    """`(n, d)` float32 as .npy, and beside it `<name>.json` with what each row is; NaN rows were left out."""
    sidecar = {**info.facts(), "rows": [asdict(source) for source in sources]}
    # Both are complete before one of them takes its place.
    with replace_file(path) as fresh, replace_file(sidecar_path(path)) as fresh_sidecar:
        with fresh.open("wb") as file:
            # Not `np.save`, whose error for a full disk does not say that it is full.
            np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(vectors))
            for _, rows in _split_batches(sources, vectors):
                file.write(rows.tobytes())
        fresh_sidecar.write_text(to_json(sidecar, indent=1), encoding="utf-8")


def sidecar_path(path: Path) -> Path:
    """The file that says what each row of a .npy file is."""
    return path.with_suffix(".json")


def write_jsonl(path: Path, sources: Sequence[Source], vectors: Vectors, info: TableInfo) -> None:
    """One object per line: kind, input, embedding (null where it was left out)."""
    del info
    with replace_file(path) as fresh, fresh.open("w", encoding="utf-8") as file:
        dump_lines(file, sources, vectors)


def dump_lines(file: TextIO, sources: Sequence[Source], vectors: Vectors) -> None:
    """Write rows as JSON lines."""
    # JSON has no NaN, which is how a row that was left out looks in memory.
    for source, vector in zip(sources, vectors, strict=True):
        embedding = None if np.isnan(vector).any() else shorten_floats(vector)
        file.write(to_json({**asdict(source), "embedding": embedding}) + "\n")


def shorten_floats(vector: Vectors) -> list[float]:
    """Float32 values with no more digits than it takes to read them back exactly."""
    return [float(f"{value:.9g}") for value in vector.tolist()]


def write_parquet(path: Path, sources: Sequence[Source], vectors: Vectors, info: TableInfo) -> None:
    """Columns kind, input and embedding (a float32 list, null where it was left out).

    A path that is no UTF-8 is kept by its bytes (`collections.names`), since Parquet has no other strings.
    """
    import pyarrow as pa
    from pyarrow import parquet

    # A list of fixed width, so that the dimensions are part of the schema; pyarrow before 26 writes no null into one.
    schema = make_schema(info, fixed=not np.isnan(vectors).any())
    with replace_file(path) as fresh, fresh.open("wb") as file, parquet.ParquetWriter(file, schema) as writer:
        for some, rows in _split_batches(sources, vectors):
            kinds = [source.kind for source in some]
            inputs = [encode_name(source.input) if source.kind == "image" else source.input for source in some]
            embeddings = to_list_array(rows, schema.field(EMBEDDING).type)
            arrays = [pa.array(kinds, pa.string()), pa.array(inputs, pa.string()), embeddings]
            writer.write_batch(pa.record_batch(arrays, schema=schema))


def _split_batches(sources: Sequence[Source], vectors: Vectors) -> Iterator[tuple[Sequence[Source], Vectors]]:
    for start in range(0, len(sources), ROWS_PER_BATCH):
        yield sources[start : start + ROWS_PER_BATCH], vectors[start : start + ROWS_PER_BATCH]
