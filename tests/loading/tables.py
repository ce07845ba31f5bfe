"""Made-up files of vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from jina_clip_integrations.retrieval.fingerprint import model_fingerprint
from jina_clip_integrations.retrieval.vector_table import TableInfo, make_schema, to_list_array

WIDTH = 8


def vector_of(number: int, width: int = WIDTH) -> np.ndarray:
    """The vector of row `number`, of unit length; no two are alike."""
    row = np.random.default_rng(number).normal(size=width).astype(np.float32)
    unit: np.ndarray = row / np.linalg.norm(row)
    return unit


def write_table(
    path: Path,
    *,
    rows: int = 30,
    first: int = 0,
    gaps: Sequence[int] = (),
    model: str = "jina-clip-v2",
    width: int = WIDTH,
    dtype: str = "float32",
    fixed: bool = False,
    marked: bool = True,
    carried: Mapping[str, Any] | None = None,
    inputs: Sequence[str] | None = None,
) -> str:
    """Texts and images in turns; `gaps` have no vector, `marked` says whether the file has a fingerprint."""
    mark = model_fingerprint(model, width) if marked else None
    columns = {name: pa.array(values) for name, values in (carried or {}).items()}
    fields = [pa.field(name, array.type) for name, array in columns.items()]
    info = TableInfo(model=model, dimensions=width, fingerprint=mark)
    schema = make_schema(info, dtype=dtype, fixed=fixed, carried=fields)
    vectors = np.stack([vector_of(first + number, width) for number in range(rows)])
    vectors[list(gaps)] = np.nan
    kinds = ["image" if number % 2 else "text" for number in range(rows)]
    given = inputs or [name_of(first + number, kind) for number, kind in enumerate(kinds)]
    embedding = to_list_array(vectors, schema.field("embedding").type)
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.table([kinds, given, *columns.values(), embedding], schema=schema), path, row_group_size=16)
    return str(path)


def name_of(number: int, kind: str) -> str:
    return f"/photos/{number}.png" if kind == "image" else f"text number {number}"
