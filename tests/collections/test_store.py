"""The store behind `index` and `search`: what a server sees, and what is refused."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qdrant_client import QdrantClient, models

from jina_clip_integrations.collections import store as store_module
from jina_clip_integrations.collections.hits import make_hit
from jina_clip_integrations.collections.identity import CollectionModel
from jina_clip_integrations.collections.points import Where
from jina_clip_integrations.collections.scan import SourceFile, Stamp
from jina_clip_integrations.collections.store import Entry, FolderStore, make_point_id
from jina_clip_integrations.errors import BackendError, ConfigurationError, InputError

URL = "http://127.0.0.1:1"
MODEL = CollectionModel.of("mine", 4)
ROOT = Path("/images")


def entry(name: str, modality: Any = "image", passage: int = 0, passages: int = 1) -> Entry:
    file = SourceFile(ROOT / name, name, modality)
    return Entry(file, Stamp(10, 20, "digest"), "words" if modality == "text" else None, passage, passages)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> QdrantClient:
    """What stands for a server: a store in memory that outlives the commands."""
    client = QdrantClient(":memory:")
    monkeypatch.setattr(store_module, "connect", lambda location, *, server: client if server else None)
    monkeypatch.setattr(client, "close", lambda: None)
    return client


@pytest.mark.filterwarnings("ignore:Payload indexes have no effect:UserWarning")
def test_a_server_serves_both_commands(run: Any, colours: Any, folder: Path, server: QdrantClient) -> None:
    for expected in (5, 0):
        ran = run("index", folder, "--store", URL, "--collection", "mine", *colours.options, "--json")
        assert ran.code == 0, ran.err
        assert ran.json["files"]["added"] == expected
    assert server.count("mine").count == 6
    found = run("search", "red", "--store", URL, "--collection", "mine", "--json").json["results"]
    assert found["images"][0]["name"] == "apple.png"


def test_a_server_that_does_not_answer_is_one_line(run: Any) -> None:
    ran = run("search", "red", "--store", URL)
    assert ran.code == 1
    assert f"the vector store {URL} failed" in ran.err
    assert ran.err.count("\n") == 1


def test_a_key_for_the_server_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}
    monkeypatch.setenv("QDRANT_API_KEY", "secret")
    monkeypatch.setattr("qdrant_client.QdrantClient", lambda **options: given.update(options))
    store_module.connect(URL, server=True)
    assert given["api_key"] == "secret"


def test_points_come_back_with_their_files(tmp_path: Path) -> None:
    with FolderStore(str(tmp_path / "s")) as store:
        assert store.model() is None
        store.prepare(MODEL)
        entries = [entry("a.png"), entry("t.txt", "text", 0, 3), entry("t.txt", "text", 2, 3)]
        store.put(ROOT, entries, np.eye(4, dtype=np.float32)[:3], MODEL)
        files = store.files(ROOT)
        assert store.model() == MODEL
        assert (files["a.png"].is_complete, files["t.txt"].is_complete) == (True, False)
        assert store.files(Path("/elsewhere")) == {}
        assert (store.count("image"), store.count("text")) == (1, 2)
        found = store.points().nearest(np.array([0, 1, 0.5, 0], np.float32), Where(modality="text"), top=5)
        hits = [make_hit(one.score, one.payload) for one in found]
        assert [(one.passage, one.path) for one in hits] == [(0, "/images/t.txt"), (2, "/images/t.txt")]
        store.remove(files["t.txt"].points)
        assert store.count("text") == 0


def test_many_files_are_read_in_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "POINTS_AT_ONCE", 3)
    with FolderStore(str(tmp_path / "s")) as store:
        store.prepare(MODEL)
        store.put(ROOT, [entry(f"{n}.png") for n in range(10)], np.ones((10, 4), np.float32), MODEL)
        assert len(store.files(ROOT)) == 10


def test_ids_are_the_same_in_every_run_and_differ_by_file_and_passage() -> None:
    ids = {make_point_id(ROOT, one) for one in (entry("a.png"), entry("b.png"), entry("a.png", passage=1))}
    assert len(ids) == 3
    assert (
        make_point_id(ROOT, entry("a.png"))
        == make_point_id(ROOT, entry("a.png"))
        != make_point_id(Path("/x"), entry("a.png"))
    )


def test_a_foreign_collection_is_left_alone(tmp_path: Path) -> None:
    client = QdrantClient(path=str(tmp_path / "s"))
    client.create_collection("jina-clip", models.VectorParams(size=4, distance=models.Distance.COSINE))
    client.upsert("jina-clip", [models.PointStruct(id=1, vector=[1, 0, 0, 0], payload={"a": 1})])
    client.close()
    with FolderStore(str(tmp_path / "s")) as store, pytest.raises(ConfigurationError, match="not made by jina-clip"):
        store.prepare(MODEL)


def test_a_file_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", "utf-8")
    with pytest.raises(InputError, match="is a file"):
        FolderStore(str(tmp_path / "file"))


def test_failures_of_the_store_are_ours(tmp_path: Path) -> None:
    from qdrant_client.http.exceptions import ResponseHandlingException

    def fail() -> None:
        with FolderStore(str(tmp_path / "s")):
            raise ResponseHandlingException(ConnectionError("refused\nby the server"))

    with pytest.raises(BackendError, match="failed: refused by the server"):
        fail()


def make_store(folder: Path) -> None:
    with FolderStore(str(folder)) as store:
        store.prepare(MODEL)


@pytest.mark.parametrize("damage", ["meta", "points", "pickles"])
def test_a_damaged_store_is_one_line(tmp_path: Path, damage: str) -> None:
    make_store(tmp_path / "s")
    points = tmp_path / "s" / "collection" / "jina-clip" / "storage.sqlite"
    if damage == "meta":
        (tmp_path / "s" / "meta.json").write_text('{"collections": ', "utf-8")
    elif damage == "points":
        points.write_bytes(b"no database " * 1000)
    else:
        with sqlite3.connect(points) as database:
            database.execute("INSERT INTO points VALUES ('a', x'00')")
        database.close()
    with pytest.raises(BackendError, match=r"cannot be opened .* delete it and index again"):
        FolderStore(str(tmp_path / "s"))


def test_a_store_whose_maker_was_killed_at_once(tmp_path: Path) -> None:
    """The list of collections is the one file that the client does not write as a whole."""
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "meta.json").touch()
    make_store(tmp_path / "s")
    make_store(tmp_path / "s")
