"""Loading files of vectors: what arrives, once, in every store."""

from __future__ import annotations

import datetime
import decimal
import shutil
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest

from jina_clip_integrations.errors import ConfigurationError, InputError
from jina_clip_integrations.loading.load import LoadReport, load_files
from tests.loading.tables import name_of, vector_of, write_table


def check_rows(store: Any, numbers: list[int], *, atol: float = 1e-6) -> None:
    """The store holds these rows, each once and with its own vector."""
    found = {given: (kind, vector) for kind, given, vector in store.held().values()}
    assert len(found) == len(store.held())
    expected = {name_of(number, kind): (kind, number) for number in numbers for kind in [("text", "image")[number % 2]]}
    assert found.keys() == expected.keys()
    for given, (kind, number) in expected.items():
        assert found[given][0] == kind
        np.testing.assert_allclose(found[given][1], vector_of(number), atol=atol)


@pytest.mark.parametrize(
    "options", [{}, {"fixed": True}, {"dtype": "float16", "fixed": True}, {"marked": False}], ids=str
)
def test_every_row_arrives_once(store: Any, table: Any, options: dict[str, Any]) -> None:
    gaps = () if options.get("fixed") else (0, 7, 8, 29)
    report = load_files([table(gaps=gaps, **options)], into=store.into, batch_rows=7)
    there = [number for number in range(30) if number not in gaps]
    assert (report.total, report.loaded, report.without_vector) == (30, len(there), len(gaps))
    assert (report.already, report.count, report.done) == (0, len(there), 30)
    check_rows(store, there, atol=1e-3 if options.get("dtype") == "float16" else 1e-6)


def test_the_same_file_again_changes_nothing(store: Any, table: Any, tmp_path: Path) -> None:
    """Known by its content, wherever it lies."""
    path = table()
    load_files([path], into=store.into)
    before = store.held()
    copied = tmp_path / "elsewhere" / "other.parquet"
    copied.parent.mkdir()
    shutil.move(path, copied)
    report = load_files([str(copied)], into=store.into, batch_rows=4)
    assert (report.loaded, report.already, report.count) == (0, 30, 30)
    assert store.held().keys() == before.keys()


def test_files_of_a_folder_are_loaded_together(store: Any, table: Any, tmp_path: Path) -> None:
    for part in range(3):
        table(f"run/shard={part}/part.parquet", first=10 * part, rows=10)
    table("run/_failed/bad.parquet", first=900)
    (tmp_path / "run" / "manifest.json").write_text("{}", "utf-8")
    report = load_files([str(tmp_path / "run")], into=store.into)
    assert (report.files, report.total, report.loaded) == (3, 30, 30)
    check_rows(store, list(range(30)))


def test_rows_that_are_alike_are_rows_each(store: Any, table: Any) -> None:
    load_files([table(inputs=["the same"] * 30)], into=store.into, batch_rows=11)
    assert len(store.held()) == 30


def test_with_a_column_of_ids_a_later_row_replaces_an_earlier_one(store: Any, table: Any) -> None:
    old = table("old.parquet", carried={"sku": [str(number // 2) for number in range(30)]})
    load_files([old], into=store.into, id_column="sku", batch_rows=7)
    before = store.held()
    assert len(before) == 30  # the text and the image of an article are two rows
    inputs = [f"renamed {number}" for number in range(4, 14)]
    new = table("new.parquet", first=100, rows=10, inputs=inputs, carried={"sku": [str(n // 2) for n in range(4, 14)]})
    report = load_files([new], into=store.into, id_column="sku", batch_rows=3)
    assert (report.loaded, report.count) == (10, 30)
    after = store.held()
    assert after.keys() == before.keys()
    renamed = {given: vector for _, given, vector in after.values() if given.startswith("renamed")}
    assert sorted(renamed) == sorted(inputs)
    np.testing.assert_allclose(renamed["renamed 6"], vector_of(102), atol=1e-6)


def test_the_same_file_by_its_rows_and_by_a_column_is_loaded_twice(store: Any, table: Any) -> None:
    """Two kinds of ids make two sets of records; neither is taken for the other."""
    path = table(carried={"sku": [str(number) for number in range(30)]})
    load_files([path], into=store.into)
    assert load_files([path], into=store.into, id_column="sku").loaded == 30
    assert load_files([path], into=store.into, id_column="sku").loaded == 0
    assert len(store.held()) == 60


@pytest.mark.parametrize("batch_rows", [2, 30])
def test_of_rows_with_one_id_the_last_one_stays(store: Any, table: Any, batch_rows: int) -> None:
    path = table(rows=8, carried={"sku": ["a", "a", "b", "b", "a", "a", "c", "c"]})
    for _ in range(2):
        load_files([path], into=store.into, id_column="sku", batch_rows=batch_rows)
        check_rows(store, [2, 3, 4, 5, 6, 7])


def test_columns_that_were_carried_along_are_metadata(store: Any, table: Any) -> None:
    carried = {
        "price": [1.5, None],
        "tags": [["a", "b"], []],
        "made": [datetime.datetime(2026, 11, 27, tzinfo=datetime.timezone.utc)] * 2,
        "cost": [decimal.Decimal("1.10")] * 2,
        "raw": [b"\0\xff", b""],
        "nested": [{"a": {"b": 1}}] * 2,
        "uri": ["ours is meant", "ours is meant"],
    }
    load_files([table(rows=2, carried=carried)], into=store.into)
    facts = {given: metadata for _, metadata, given, _ in store.rows()}
    text, image = facts["text number 0"], facts["/photos/1.png"]
    assert (text["price"], list(text["tags"]), text["nested"]) == (1.5, ["a", "b"], {"a": {"b": 1}})
    assert (image["price"], image["kind"], image["uri"]) == (None, "image", "/photos/1.png")


def test_another_models_vectors_are_refused(store: Any, table: Any) -> None:
    load_files([table()], into=store.into)
    other = table("other.parquet", model="jina-clip-v1", first=50)
    with pytest.raises(ConfigurationError, match=r"holds vectors of \[jina-clip-v2.*these are of \[jina-clip-v1"):
        load_files([other], into=store.into)
    wider = table("wider.parquet", width=9)
    with pytest.raises(ConfigurationError, match="8 dimensions"):
        load_files([wider], into=store.into)
    check_rows(store, list(range(30)))


def test_files_of_two_models_are_refused_together(store: Any, table: Any) -> None:
    paths = [table(), table("other.parquet", model="jina-clip-v1")]
    with pytest.raises(ConfigurationError, match="cannot be compared"):
        load_files(paths, into=store.into)


def test_what_was_stopped_goes_on(store: Any, table: Any) -> None:
    paths = [table("a.parquet", gaps=(9,)), table("b.parquet", first=100)]
    stop = Event()

    def stop_in_the_second_file(report: LoadReport) -> None:
        if report.done > 40:
            stop.set()

    with pytest.raises(KeyboardInterrupt):
        load_files(paths, into=store.into, batch_rows=6, on_progress=stop_in_the_second_file, stop=stop)
    assert 29 < len(store.held()) < 59
    report = load_files(paths, into=store.into, batch_rows=9)
    assert report.loaded < 30
    assert report.count == 59
    check_rows(store, [number for number in [*range(30), *range(100, 130)] if number != 9])


def test_a_file_that_breaks_off_leaves_what_came_before(store: Any, table: Any, tmp_path: Path) -> None:
    """A later row group is damaged, which no footer tells."""
    path = tmp_path / "torn.parquet"
    write_table(path, rows=64)
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 400] = b"\xff" * 400
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"torn\.parquet is damaged"):
        load_files([str(path)], into=store.into, batch_rows=4)
    assert 0 < len(store.held()) < 64


def test_progress_counts_to_the_end(store: Any, table: Any) -> None:
    seen: list[int] = []
    load_files([table(gaps=(3,))], into=store.into, batch_rows=10, on_progress=lambda report: seen.append(report.done))
    assert seen[0] == 0
    assert seen[-1] == 30
    assert seen == sorted(seen)
