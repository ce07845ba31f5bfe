"""`jina-clip load`: from `jina-clip embed` to `jina-clip search`, and its one line on bad input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from jina_clip_integrations.cli import load


@pytest.fixture
def vectors(run: Any, colours: Any, folder: Path, tmp_path: Path) -> Path:
    """What `embed` makes of three images and two texts."""
    path = tmp_path / "vectors.parquet"
    ran = run("embed", "a red word", "blue", "--images", folder, "--output", path, *colours.options)
    assert ran.code == 0, ran.err
    return path


def test_what_embed_wrote_is_found_by_search(run: Any, colours: Any, vectors: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    ran = run("load", vectors, "--into", store)
    assert ran.code == 0, ran.err
    assert ran.out.startswith("5 rows loaded in ")
    assert f"The collection 'jina-clip' in {store} holds 5 rows of [colours, 16 dimensions, unit length].\n" in ran.out
    assert "loading: 5/5 (100%)" in ran.err
    found = run("search", "something red", "--store", store, *colours.options, "--json").json["results"]
    assert found["images"][0]["name"].endswith("apple.png")
    assert Path(found["images"][0]["path"]).is_file()
    assert found["texts"][0]["text"] == "a red word"


def test_json_and_the_second_time(run: Any, vectors: Path, tmp_path: Path) -> None:
    into = f"lancedb:{tmp_path / 'db'}"
    first = run("load", vectors, "--into", into, "--collection", "mine", "--batch-rows", 2, "--json").json
    assert (first["files"], first["total"], first["loaded"], first["already"], first["count"]) == (1, 5, 5, 0, 5)
    assert (first["into"], first["model"], first["dimensions"]) == (f"table 'mine' in {tmp_path / 'db'}", "colours", 16)
    second = run("load", vectors, "--into", into, "--collection", "mine", "--json").json
    assert (second["loaded"], second["already"], second["count"]) == (0, 5, 5)
    again = run("load", vectors, "--into", into, "--collection", "mine")
    assert again.out.startswith("0 rows loaded, 5 were there\n")


@pytest.mark.parametrize(("strict", "code"), [((), 0), (("--strict",), 3)])
def test_rows_without_a_vector_are_counted(
    run: Any, colours: Any, folder: Path, tmp_path: Path, strict: Any, code: int
) -> None:
    (folder / "broken.png").write_bytes(b"no image")
    path = tmp_path / "x.parquet"
    run("embed", "--images", folder, "--output", path, "--skip-errors", *colours.options)
    assert len(pyarrow.parquet.read_table(path)) == 4
    ran = run("load", path, "--into", tmp_path / "store", *strict, "--no-index")
    assert (ran.code, ran.out.split(" loaded")[0]) == (code, "3 rows")
    assert "warning: left out 1 row without a vector\n" in ran.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["absent.parquet", "--into", "store"], "there is no file absent.parquet"),
        (["{vectors}", "--into", "mysql://me:s3cret@host/db"], "no store is known for this address"),
        (["{vectors}", "--into", "{vectors}"], "is a file"),
        (["{vectors}", "--into", "store", "--id-column", "sku"], "no column 'sku' to take ids from"),
        (["{vectors}", "--into", "lancedb:db", "--collection", "My Table"], "small letters"),
        (["{vectors}", "--into", "postgresql://me:s3cret@h/%%"], "malformed"),
    ],
)
def test_bad_input_is_one_line(
    run: Any, vectors: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = run("load", *(word.format(vectors=vectors) for word in arguments))
    assert ran.code == 2
    assert ran.err.startswith("jina-clip: ")
    assert ran.err.count("\n") == 1
    assert message in ran.err
    assert "s3cret" not in ran.err
    assert not (tmp_path / "store").exists()


def test_a_server_that_is_not_there(run: Any, vectors: Path) -> None:
    ran = run("load", vectors, "--into", "postgresql://me:s3cret@127.0.0.1:1/db")
    assert (ran.code, ran.err.count("\n")) == (1, 1)
    assert "s3cret" not in ran.err


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device")], ids=type)
def test_an_interruption_says_how_to_go_on(
    run: Any, vectors: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    show = load.LoadProgress.show

    def stop_after_two(progress: Any, report: Any) -> None:
        show(progress, report)
        if report.loaded >= 2:
            raise error

    monkeypatch.setattr(load.LoadProgress, "show", stop_after_two)
    ran = run("load", vectors, "--into", tmp_path / "store", "--batch-rows", 2)
    assert ran.code == (130 if isinstance(error, KeyboardInterrupt) else 1)
    assert "2 of 5 rows are in the store; the same command again goes on from there" in ran.err
    monkeypatch.undo()
    assert run("load", vectors, "--into", tmp_path / "store", "--json").json["already"] == 2


@pytest.mark.parametrize("store", ["qdrant", "lancedb"])
def test_another_model_is_refused(run: Any, colours: Any, vectors: Path, tmp_path: Path, store: str) -> None:
    into = f"{store}:{tmp_path / store}"
    run("load", vectors, "--into", into)
    other = tmp_path / "narrow.parquet"
    run("embed", "red", "--output", other, "--dimensions", 8, *colours.options)
    ran = run("load", other, "--into", into)
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert "cannot be compared" in ran.err
