"""What is said of files that cannot be loaded, and how rows get their ids."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from jina_clip_integrations.errors import ConfigurationError, InputError
from jina_clip_integrations.loading.files import VectorFile, open_files
from jina_clip_integrations.loading.stores import check_table, open_target


def test_nothing_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing to load"):
        open_files([str(tmp_path)])


@pytest.mark.parametrize("content", [b"", b"no Parquet", b"PAR1" * 10])
def test_no_parquet(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.parquet").write_bytes(content)
    with pytest.raises(InputError, match=r"x\.parquet cannot be read as a Parquet file"):
        open_files([str(tmp_path / "x.parquet")])


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no file"):
        open_files([str(tmp_path / "absent.parquet")])


def test_a_table_of_something_else(tmp_path: Path) -> None:
    parquet.write_table(pa.table({"a": [1], "input": ["x"]}), tmp_path / "x.parquet")
    with pytest.raises(InputError, match="no file of vectors: it has no column 'kind', 'embedding'"):
        open_files([str(tmp_path / "x.parquet")])


def test_a_table_of_an_unknown_model(table: Any, tmp_path: Path) -> None:
    path = table()
    parquet.write_table(parquet.read_table(path).replace_schema_metadata(None), path)
    with pytest.raises(ConfigurationError, match="does not say in its schema's metadata which model"):
        open_files([path])


def test_vectors_of_another_width_than_the_metadata_says(table: Any) -> None:
    path = table()
    held = parquet.read_table(path)
    parquet.write_table(held.replace_schema_metadata({**held.schema.metadata, b"dimensions": b"4"}), path)
    [file] = open_files([path])
    with pytest.raises(InputError, match=r"rows from 0: .* does not hold vectors of 4 values"):
        next(file.batches(10))


@pytest.mark.parametrize("scheme", ["ftp", "http"])
def test_an_address_shows_no_password(scheme: str) -> None:
    with pytest.raises(InputError) as raised:
        open_files([f"{scheme}://me:s3cret@host/x.parquet?key=s3cret"])
    assert "s3cret" not in str(raised.value)
    assert "host/x.parquet" in str(raised.value)


def test_an_address_is_read_through_its_file_system(table: Any) -> None:
    path = Path(table())
    [file] = open_files([path.as_uri()])
    assert file.digest == VectorFile.open(str(path)).digest
    assert sum(len(batch) for batch in file.batches(8)) == 30


def test_a_column_of_ids_has_to_be_there_and_full(table: Any) -> None:
    path = table(rows=4, carried={"sku": ["a", "b", None, "d"]})
    with pytest.raises(InputError, match="no column 'id' to take ids from; it has input, sku"):
        open_files([path], id_column="id")
    [file] = open_files([path], id_column="sku")
    with pytest.raises(InputError, match="row 2: the column 'sku' is null"):
        list(file.batches(2))


def test_rows_have_the_same_ids_however_they_are_read(table: Any) -> None:
    """Another version of this package must find what this one has stored."""
    path = table(gaps=(4,), carried={"sku": [str(number) for number in range(30)]})
    [file] = open_files([path])
    whole = [id for batch in file.batches(100) for id in batch.ids]
    assert [id for batch in file.batches(7) for id in batch.ids] == whole
    assert [id for batch in file.batches(7, start=10) for id in batch.ids] == whole[9:]
    assert len(set(whole)) == 29
    [keyed] = open_files([path], id_column="sku")
    by_column = [id for batch in keyed.batches(100) for id in batch.ids]
    assert by_column[0] == "59c27795-8512-5bfc-8da5-58984b3d7024"


@pytest.mark.parametrize("name", ["Images", "a-b", "1st", "", "x" * 42, 'x"; DROP TABLE y; --'])
def test_names_of_tables(name: str) -> None:
    with pytest.raises(InputError, match="small letters"):
        check_table(name)


def test_an_address_of_no_store(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"mysql://host/db: no store is known") as raised:
        open_target("mysql://me:s3cret@host/db")
    assert "s3cret" not in str(raised.value)
    with pytest.raises(InputError, match="needs the folder"):
        open_target("lancedb:")
