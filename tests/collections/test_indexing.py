"""Bringing a store up to date: facts, older stores, what is searchable meanwhile, and a folder that goes away."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from qdrant_client import QdrantClient

from jina_clip_integrations import JinaClipEncoder
from jina_clip_integrations.collections import store as store_module
from jina_clip_integrations.collections.chunk_sizes import ChunkSizer
from jina_clip_integrations.collections.filters import Filters
from jina_clip_integrations.collections.folder import FolderCollection
from jina_clip_integrations.collections.indexing import IndexProgress
from jina_clip_integrations.collections.payload import INDEXES
from jina_clip_integrations.errors import BackendError, InputError, ServerError
from tests.collections.test_facts import FULL, NOON, make_exif

NEW_FIELDS = ("facts", "folders", "taken", "camera", "place", "width", "height", "format")
"""What points of the first stores do not have."""


@pytest.fixture
def collection(folder: Path, encoder: JinaClipEncoder, tmp_path: Path) -> Iterator[FolderCollection]:
    """The folder's collection, empty."""
    with FolderCollection.open(folder, encoder=encoder, store=tmp_path / "store") as opened:
        yield opened


def take_photograph(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (30, 20), (220, 20, 20)).save(path, exif=make_exif(FULL).tobytes())


def names(collection: FolderCollection, **options: Any) -> list[str]:
    return [hit.name for hit in collection.search("red", cut_off=None, **options).hits]


def payloads(client: Any, collection: str = "jina-clip") -> dict[str, dict[str, Any]]:
    points, _ = client.scroll(collection, limit=1000, with_payload=True)
    return {point.payload["name"]: point.payload for point in points}


def make_older(collection: FolderCollection) -> None:
    """Leave in the store what the first versions wrote."""
    with collection.store.client() as client:
        points, _ = client.scroll("jina-clip", limit=1000)
        client.delete_payload("jina-clip", keys=list(NEW_FIELDS), points=[point.id for point in points])


def test_a_run_reports_what_it_did(collection: FolderCollection, folder: Path) -> None:
    (folder / "broken.png").write_bytes(b"no image")
    (folder / "a.pdf").write_bytes(b"%PDF")
    report = collection.index()
    assert (report.added, report.updated, report.unchanged, report.removed) == (5, 0, 0, 0)
    assert set(report.failed) == {"broken.png"}
    assert set(report.unread) == {"a.pdf"}
    (folder / "list.txt").write_text("a green pea", "utf-8")
    (folder / "leaf.jpg").unlink()
    report = collection.index()
    assert (report.added, report.updated, report.unchanged, report.removed) == (0, 1, 3, 1)
    assert not report.stopped


def test_facts_are_kept_and_filtered_by(collection: FolderCollection, folder: Path) -> None:
    take_photograph(folder / "trip" / "sydney.jpg")
    collection.index()
    hit = collection.find("trip/sydney.jpg")
    assert (hit.width, hit.height, hit.format, hit.taken, hit.camera) == (30, 20, "jpeg", NOON, "Canon EOS 5D")
    assert hit.place == pytest.approx((-33.858333, 151.2))
    assert hit.size == (folder / "trip" / "sydney.jpg").stat().st_size
    assert names(collection, filters=Filters(camera="canon")) == ["trip/sydney.jpg"]
    assert names(collection, filters=Filters(near=(-33.9, 151.2, 10))) == ["trip/sydney.jpg"]
    assert set(names(collection, filters=Filters(folder="trip"))) == {"trip/sydney.jpg", "trip/sea.png"}
    assert names(collection, filters=Filters(kinds=frozenset({"jpeg"})))[0] == "trip/sydney.jpg"


def test_progress_is_told_by_stage(collection: FolderCollection) -> None:
    told: list[IndexProgress] = []
    collection.index(told.append)
    assert [(one.done, one.total) for one in told if one.stage == "scanning"] == [(n, None) for n in range(1, 6)]
    assert [(one.done, one.total) for one in told if one.stage == "embedding"] == [(0, 5), (5, 5)]


def test_progress_counts_what_cannot_be_read(collection: FolderCollection, folder: Path) -> None:
    (folder / "broken.png").write_bytes(b"no image")
    told: list[IndexProgress] = []
    collection.index(told.append)
    assert (told[-1].done, told[-1].total) == (6, 6)


# Stores of earlier versions


def test_an_older_store_gets_facts_without_embedding(collection: FolderCollection, folder: Path, colours: Any) -> None:
    take_photograph(folder / "trip" / "sydney.jpg")
    collection.index()
    with collection.store.client() as client:
        whole = payloads(client)
    make_older(collection)
    with collection.store.client() as client:
        assert not any(NEW_FIELDS[0] in payload for payload in payloads(client).values())
    collection.store._table = None
    before = colours.embedded
    told: list[IndexProgress] = []
    report = collection.index(told.append)
    assert colours.embedded == before
    assert (report.refreshed, report.unchanged, report.added, report.updated) == (6, 6, 0, 0)
    assert [(one.done, one.total) for one in told if one.stage == "refreshing"] == [(6, 6)]
    with collection.store.client() as client:
        assert payloads(client) == whole
    assert names(collection, filters=Filters(camera="canon")) == ["trip/sydney.jpg"]
    assert collection.index().refreshed == 0


def test_a_file_whose_time_changed_gets_facts_too(collection: FolderCollection, folder: Path, colours: Any) -> None:
    collection.index()
    make_older(collection)
    os.utime(folder / "apple.png", ns=(1, 1))
    before = colours.embedded
    assert collection.index().refreshed == 5
    assert colours.embedded == before
    assert collection.find("apple.png").width == 24


def test_a_changed_file_of_an_older_store_is_embedded_once(collection: FolderCollection, folder: Path) -> None:
    collection.index()
    make_older(collection)
    (folder / "list.txt").write_text("a green pea", "utf-8")
    report = collection.index()
    assert (report.updated, report.refreshed) == (1, 4)


def test_the_command_says_that_facts_were_added(run: Any, colours: Any, folder: Path, tmp_path: Path) -> None:
    words = ("index", folder, "--store", tmp_path / "store", *colours.options)
    assert run(*words, "--json").json["refreshed"] == 0
    with FolderCollection.open(folder, encoder=JinaClipEncoder(backend=colours), store=tmp_path / "store") as opened:
        make_older(opened)
    ran = run(*words)
    assert "5 files of an older store got their facts, without being embedded again." in ran.out
    assert "adding facts: 5/5 (100%)" in ran.err


def test_a_server_gets_the_indexes_that_an_older_collection_lacks(
    folder: Path, encoder: JinaClipEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = QdrantClient(":memory:")
    schema: dict[str, Any] = {}

    def create(_collection: str, name: str, kind: Any) -> None:
        assert name not in schema
        schema[name] = kind

    real = client.get_collection  # a server says what it has; the one in memory has none
    monkeypatch.setattr(client, "get_collection", lambda name: real(name).model_copy(update={"payload_schema": schema}))
    monkeypatch.setattr(client, "create_payload_index", create)
    monkeypatch.setattr(client, "close", lambda: None)
    monkeypatch.setattr(store_module, "connect", lambda location, *, server: client)
    for _ in range(3):
        with FolderCollection.open(folder, encoder=encoder, store="http://127.0.0.1:1") as opened:
            opened.index()
        assert {name: kind.value for name, kind in schema.items()} == INDEXES
        for name in ("camera", "taken"):
            del schema[name]


# Searching meanwhile, stopping, failing


def test_what_is_stored_can_be_searched_while_the_rest_is_embedded(
    collection: FolderCollection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jina_clip_integrations.collections.indexing.ChunkSizer", lambda: ChunkSizer(1))
    monkeypatch.setattr("jina_clip_integrations.collections.chunk_sizes.MAX_CHUNK", 1)
    found: list[list[str]] = []
    collection.index(lambda progress: found.append(names(collection)) if progress.stage == "embedding" else None)
    assert [len(some) for some in found] == [0, 1, 2, 2, 2, 3]


def test_threads_search_while_another_indexes(collection: FolderCollection, folder: Path, paint: Any) -> None:
    for number in range(60):
        paint(folder / "many" / f"{number}.png", "red", (8 + number, 9))
    done = threading.Event()
    errors: list[BaseException] = []

    def search() -> None:
        try:
            while not done.is_set():
                names(collection)
                collection.describe()
                collection.duplicates()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=search) for _ in range(3)]
    for thread in threads:
        thread.start()
    runs = [threading.Thread(target=collection.index) for _ in range(2)]
    for thread in runs:
        thread.start()
    for thread in runs:
        thread.join()
    done.set()
    for thread in threads:
        thread.join()
    assert errors == []
    assert collection.describe().images == 63
    assert collection.index().unchanged == 65


def test_a_changed_file_can_be_found_all_the_time(
    collection: FolderCollection, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "list.txt").write_text("\n\n".join(f"# Part\n\nred {n}" for n in range(3)), "utf-8")
    collection.index()
    texts = lambda: [hit.name for hit in collection.search("red", modality="text", cut_off=None).hits]  # noqa: E731
    assert texts().count("list.txt") == 3
    (folder / "list.txt").write_text("only red", "utf-8")
    seen: list[int] = []
    for name in ("put", "remove"):
        real = getattr(collection.store, name)

        def spy(*given: Any, real: Any = real) -> None:
            seen.append(texts().count("list.txt"))
            real(*given)
            seen.append(texts().count("list.txt"))

        monkeypatch.setattr(collection.store, name, spy)
    collection.index()
    assert seen == [3, 3, 3, 1]


def test_a_stop_ends_it_after_the_chunk_and_the_next_run_goes_on(
    collection: FolderCollection, colours: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jina_clip_integrations.collections.indexing.ChunkSizer", lambda: ChunkSizer(2))
    stop = threading.Event()
    report = collection.index(lambda progress: stop.set() if progress.done else None, stop)
    assert (report.stopped, report.added) == (True, 0)  # it was still looking around
    stop = threading.Event()
    report = collection.index(
        lambda progress: stop.set() if progress.stage == "embedding" and progress.done else None, stop
    )
    assert (report.stopped, report.added) == (True, 2)
    assert collection.index().added == 3
    assert colours.embedded == 6


def test_a_stop_removes_nothing(collection: FolderCollection, folder: Path) -> None:
    collection.index()
    (folder / "apple.png").unlink()
    stop = threading.Event()
    stop.set()
    report = collection.index(stop=stop)
    assert (report.stopped, report.removed) == (True, 0)
    assert collection.describe().images == 3


@pytest.mark.parametrize("failure", [KeyboardInterrupt(), ServerError("the service failed")], ids=["^C", "outage"])
def test_what_was_finished_is_kept_and_counted(
    collection: FolderCollection, colours: Any, failure: BaseException
) -> None:
    colours.fail_after = (2, failure)
    with pytest.raises(type(failure)):
        collection.index()
    assert collection._indexer.finished == 2
    assert collection._indexer.to_embed == 5
    colours.fail_after = None
    assert collection.index().added == 3
    assert colours.embedded == 6


def test_a_store_that_fails_is_named(collection: FolderCollection, monkeypatch: pytest.MonkeyPatch) -> None:
    import sqlite3

    def fail(*_: Any, **__: Any) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with collection.store.client() as client:
        monkeypatch.setattr(client, "upsert", fail)
    with pytest.raises(BackendError, match="failed: database or disk is full"):
        collection.index()


# A folder that goes away


def test_a_folder_that_is_gone_loses_nothing(collection: FolderCollection, folder: Path, tmp_path: Path) -> None:
    collection.index()
    folder.rename(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=r"cannot be read .*; what the store holds of it is kept"):
        collection.index()
    folder.mkdir()  # where a drive was mounted
    with pytest.raises(InputError, match="is empty"):
        collection.index()
    assert collection.describe().files == 5
    folder.rmdir()
    (tmp_path / "elsewhere").rename(folder)
    assert collection.index().unchanged == 5


def test_a_new_empty_folder_is_fine(tmp_path: Path, encoder: JinaClipEncoder) -> None:
    (tmp_path / "new").mkdir()
    with FolderCollection.open(tmp_path / "new", encoder=encoder) as opened:
        assert opened.index().added == 0


@pytest.mark.parametrize("again", [False, True], ids=["first run", "later run"])
@pytest.mark.parametrize("stage", ["scanning", "embedding"])
def test_a_folder_that_goes_away_in_the_middle(
    collection: FolderCollection, folder: Path, tmp_path: Path, stage: str, again: bool, paint: Any
) -> None:
    stored = 0
    if again:
        stored = collection.index().added
        for name in ("apple.png", "trip/sea.png"):
            paint(folder / name, "green", (11, 11))

    def pull(progress: IndexProgress) -> None:
        if progress.stage == stage and folder.exists():
            folder.rename(tmp_path / "elsewhere")

    with pytest.raises(InputError, match="cannot be read"):
        collection.index(pull)
    assert collection.describe().files == stored
    (tmp_path / "elsewhere").rename(folder)
    report = collection.index()
    assert (report.added, report.updated) == ((0, 2) if again else (5, 0))


def test_a_file_that_cannot_be_opened_now_keeps_its_vectors(
    collection: FolderCollection, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collection.index()
    os.utime(folder / "apple.png", ns=(1, 1))

    def refuse(path: Path) -> str:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("jina_clip_integrations.collections.indexing.file_digest", refuse)
    report = collection.index()
    assert report.failed == {"apple.png": "Permission denied"}
    assert "apple.png" in names(collection)


# Only some names


def test_only_what_changed_is_looked_at(collection: FolderCollection, folder: Path, paint: Any, tmp_path: Path) -> None:
    collection.index()
    paint(folder / "trip" / "rose.png", "red")
    paint(folder / "unseen.png", "red")
    (folder / "leaf.jpg").unlink()
    (folder / ".hidden").mkdir()
    paint(folder / ".hidden" / "x.png", "red")
    (tmp_path / "outside").mkdir()
    paint(tmp_path / "outside" / "y.png", "red")
    (folder / "link").symlink_to(tmp_path / "outside")
    some = {"trip/rose.png", "leaf.jpg", ".hidden/x.png", "link/y.png", "link", "nowhere.png", "trip"}
    report = collection.index(only=some)
    assert (report.added, report.removed, report.unchanged, report.failed) == (1, 1, 2, {})
    assert set(names(collection)) == {"apple.png", "trip/sea.png", "trip/rose.png"}


def test_a_folder_below_that_is_gone_takes_its_files_along(collection: FolderCollection, folder: Path) -> None:
    collection.index()
    shutil.rmtree(folder / "trip")
    assert collection.index(only={"trip"}).removed == 2
    assert set(names(collection)) == {"apple.png", "leaf.jpg"}
    assert collection.index().unchanged == 3
