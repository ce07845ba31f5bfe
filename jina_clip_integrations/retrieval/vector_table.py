"""Arrow tables of vectors: their columns, and the metadata that says which model made them.

A file of vectors has the columns `kind` (`text` or `image`), `input` (the text, or the image's path or URL) and
`embedding` (a list of float32 or float16, null where an input was left out), perhaps more that the user carried along.
Model, width and task stand in the metadata of the schema, as JSON, and so does the fingerprint, which decides what the
vectors can be compared with. Needs the extra `parquet`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigurationError
from ..settings import require_choice
from ..types import Vectors
from .fingerprint import VectorFingerprint

if TYPE_CHECKING:
    import pyarrow as pa

KIND, INPUT, EMBEDDING = "kind", "input", "embedding"
"""Names of the columns."""

MODEL, DIMENSIONS, NORMALIZED, TASK = "model", "dimensions", "normalized", "task"
"""Keys of the metadata, beside those of the fingerprint."""

DTYPES = ("float32", "float16")
"""What a vector's values may be kept as."""


@dataclass(frozen=True, kw_only=True)
class TableInfo:
    """What every row of a table of vectors has in common; the metadata of its schema."""

    model: str
    """As the user named it."""
    dimensions: int
    """Width of the vectors."""
    normalized: bool = True
    """Whether they have unit length."""
    task: str | None = None
    """The task that its texts were given; None = none."""
    fingerprint: VectorFingerprint | None = None
    """Which model made them; None in files of before there was one."""

    def facts(self) -> dict[str, Any]:
        """Model, width, whether normalized, and the task if there was one."""
        facts = {MODEL: self.model, DIMENSIONS: self.dimensions, NORMALIZED: self.normalized}
        return facts if self.task is None else {**facts, TASK: self.task}

    def to_metadata(self) -> dict[str, str]:
        """A dict for `pa.Schema.with_metadata`: the facts as JSON, the fingerprint as stores keep it."""
        mark = {} if self.fingerprint is None else self.fingerprint.to_metadata()
        return {key: json.dumps(value) for key, value in self.facts().items()} | {k: str(v) for k, v in mark.items()}

    @classmethod
    def from_metadata(cls, metadata: Mapping[Any, Any] | None, *, where: str) -> TableInfo:
        """What `to_metadata` wrote. Raises `ConfigurationError` for a table without it, naming `where`."""
        kept = {_text(key): _text(value) for key, value in (metadata or {}).items()}
        if not {MODEL, DIMENSIONS, NORMALIZED} <= kept.keys():
            raise ConfigurationError(
                f"{where} does not say in its schema's metadata which model made its vectors; make it with "
                "`jina-clip embed` or `embed_dataset`"
            )
        try:
            facts = {key: json.loads(kept[key]) for key in (MODEL, DIMENSIONS, NORMALIZED, TASK) if key in kept}
        except ValueError as error:
            raise ConfigurationError(f"{where}: the metadata of its schema is damaged") from error
        return cls(**facts, fingerprint=VectorFingerprint.from_metadata(kept))


def make_schema(
    info: TableInfo, *, dtype: str = "float32", fixed: bool = True, carried: Iterable[pa.Field] = ()
) -> pa.Schema:
    """The schema of a file of vectors: `kind`, `input`, the `carried` fields, `embedding`.

    Args:
        info: For the metadata.
        dtype: `float32` or `float16`.
        fixed: Make the width part of the type. Parquet of pyarrow before 26 has no null in such a list.
        carried: `pa.Field`s of more columns.
    """
    import pyarrow as pa

    fields = [pa.field(KIND, pa.string()), pa.field(INPUT, pa.string()), *carried]
    width = info.dimensions if fixed else -1
    fields.append(pa.field(EMBEDDING, list_type(width, dtype)))
    return pa.schema(fields, metadata=info.to_metadata())


def list_type(width: int, dtype: str = "float32") -> pa.DataType:
    """The Arrow type of a vector: a list of `width` values (-1 = any). Raises `ConfigurationError` for other dtypes."""
    import pyarrow as pa

    require_choice("dtype", dtype, DTYPES)
    return pa.list_(pa.float16() if dtype == "float16" else pa.float32(), width)


def to_list_array(vectors: Vectors, kind: pa.DataType) -> pa.Array:
    """`(n, d)` float32 as an Arrow array of lists of type `kind`; a row with NaN becomes null. Copies at most once."""
    import pyarrow as pa

    missing = np.isnan(vectors).any(axis=1) if len(vectors) else np.zeros(0, bool)
    values = np.ascontiguousarray(vectors, kind.value_type.to_pandas_dtype()).reshape(-1)
    mask = pa.array(missing) if missing.any() else None
    if pa.types.is_fixed_size_list(kind):
        return pa.FixedSizeListArray.from_arrays(values, type=kind, mask=mask)
    lengths = np.full(len(vectors), vectors.shape[1])
    lengths[missing] = 0
    kept = values.reshape(vectors.shape)[~missing].reshape(-1)
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32())
    return pa.ListArray.from_arrays(offsets, kept, type=kind, mask=mask)


def to_vectors(column: pa.Array, dimensions: int) -> Vectors:
    """The rows of an `embedding` column, `(n, dimensions)` float32, NaN where it is null; what `to_list_array` undoes.

    Raises `ConfigurationError` for a list of another width.
    """
    import pyarrow as pa

    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    valid = np.asarray(column.is_valid())
    held = column.drop_null().flatten()
    rows: NDArray[np.float32] = np.full((len(column), dimensions), np.nan, np.float32)
    if len(held) != dimensions * int(valid.sum()):
        raise ConfigurationError(f"the column {EMBEDDING} does not hold vectors of {dimensions} values each")
    rows[valid] = np.asarray(held, np.float32).reshape(-1, dimensions)
    return rows


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
