"""Arrow tables of vectors: the columns, and what their metadata tells."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from jina_clip_integrations.errors import ConfigurationError
from jina_clip_integrations.retrieval.fingerprint import VectorFingerprint
from jina_clip_integrations.retrieval.vector_table import (
    DTYPES,
    TableInfo,
    list_type,
    make_schema,
    to_list_array,
    to_vectors,
)

INFO = TableInfo(
    model="jina-clip-v2", dimensions=3, task="retrieval.query", fingerprint=VectorFingerprint("jina-clip-v2", 3)
)
ROWS = np.arange(12, dtype=np.float32).reshape(4, 3)
GAP = np.array([[1, 2, 3], [np.nan] * 3, [4, 5, 6]], np.float32)


@pytest.mark.parametrize("info", [INFO, TableInfo(model="ü", dimensions=3, normalized=False)])
def test_a_file_tells_what_was_put_in(info: TableInfo) -> None:
    file = io.BytesIO()
    parquet.write_table(make_schema(info).empty_table(), file)
    assert TableInfo.from_metadata(parquet.read_schema(file).metadata, where="x") == info


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        (None, "x does not say"),
        ({b"model": b'"m"', b"dimensions": b"3"}, "x does not say"),
        ({"model": "m", "dimensions": "3", "normalized": "true"}, "x: the metadata of its schema is damaged"),
    ],
)
def test_other_tables_are_refused(metadata: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        TableInfo.from_metadata(metadata, where="x")


def test_carried_columns_stand_before_the_vectors() -> None:
    schema = make_schema(INFO, dtype="float16", carried=[pa.field("price", pa.int64())])
    assert schema.names == ["kind", "input", "price", "embedding"]
    assert schema.field("embedding").type == pa.list_(pa.float16(), 3)


@pytest.mark.parametrize("width", [3, -1])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rows", [ROWS, GAP, GAP[:0], GAP[1:2]])
def test_rows_come_back(rows: np.ndarray[Any, Any], dtype: str, width: int) -> None:
    column = to_list_array(rows, list_type(width, dtype))
    column.validate(full=True)
    assert column.type == list_type(width, dtype)
    assert column.null_count == int(np.isnan(rows).any(axis=1).sum())
    np.testing.assert_array_equal(to_vectors(column, 3), rows)
    np.testing.assert_array_equal(to_vectors(pa.chunked_array([column, column]), 3), np.concatenate([rows, rows]))


@pytest.mark.parametrize("width", [3, -1])
def test_a_part_of_a_column_is_that_part(width: int) -> None:
    np.testing.assert_array_equal(to_vectors(to_list_array(GAP, list_type(width)).slice(1), 3), GAP[1:])


def test_another_width_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="does not hold vectors of 4"):
        to_vectors(to_list_array(ROWS, list_type(3)), 4)


def test_other_dtypes_are_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"dtype is 'int8'; choose one of 'float32', 'float16'"):
        list_type(3, "int8")
