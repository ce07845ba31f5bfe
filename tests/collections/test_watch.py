"""Following a real folder: what is told, when, and what is not."""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Queue
from typing import Any

import pytest

from jina_clip_integrations import JinaClipEncoder
from jina_clip_integrations.collections import watch as watch_module
from jina_clip_integrations.collections.folder import FolderCollection
from jina_clip_integrations.collections.watch import Pending, watch_folder
from jina_clip_integrations.errors import InputError

PATIENCE_S = 30.0
"""Longest wait for something that has to come; a busy machine needs some of it."""


class Follower:
    """A thread that follows a folder and collects what it is told."""

    def __init__(self, root: Path, **options: Any) -> None:
        self.told: Queue[Any] = Queue()
        self.stop = threading.Event()
        self._options = {"settle_s": 0.3, "stop": self.stop, **options}
        self._root = root
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            for changes in watch_folder(self._root, **self._options):
                self.told.put(changes)
        except BaseException as error:
            self.told.put(error)

    def next(self) -> Any:
        return self.told.get(timeout=PATIENCE_S)

    def until(self, *names: str) -> set[str]:
        """Everything that is told until these names were."""
        found: set[str] = set()
        while not found >= set(names):
            changes = self.next()
            assert not isinstance(changes, BaseException), changes
            found |= changes or set()
        return found

    def close(self) -> None:
        self.stop.set()
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()


@pytest.fixture
def follow() -> Iterator[Callable[..., Follower]]:
    """`follow(folder)` follows it, and has told that everything is to be looked at."""
    followers: list[Follower] = []

    def start(root: Path, **options: Any) -> Follower:
        followers.append(Follower(root, **options))
        assert followers[-1].next() is None
        return followers[-1]

    yield start
    for follower in followers:
        follower.close()


def test_changed_new_and_deleted_files_are_told(follow: Any, folder: Path, paint: Any) -> None:
    follower = follow(folder)
    (folder / "list.txt").write_text("a green pea", "utf-8")
    (folder / "leaf.jpg").unlink()
    paint(folder / "trip" / "rose.png", "red")
    changed = {"list.txt", "leaf.jpg", "trip/rose.png"}
    assert follower.until(*changed) == changed


def test_renamed_files_and_folders_are_told_by_both_names(follow: Any, folder: Path) -> None:
    follower = follow(folder)
    (folder / "apple.png").rename(folder / "pear.png")
    (folder / "trip").rename(folder / "journey")
    follower.until("apple.png", "pear.png", "trip", "journey")


def test_what_does_not_matter_is_not_told(follow: Any, folder: Path, tmp_path: Path) -> None:
    (folder / "store").mkdir()
    follower = follow(folder, exclude=folder / "store")
    (folder / "store" / "a.txt").write_text("own", "utf-8")
    (folder / ".hidden.png").write_bytes(b"x")
    (folder / "download.part").write_bytes(b"x")
    (folder / "last.txt").write_text("x", "utf-8")
    assert follower.until("last.txt") == {"last.txt"}  # what came before it would have settled before it


def test_a_file_in_the_making_is_told_when_it_is_whole(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    pending = Pending(folder, 2.5)
    pending.add(["slow.png"])  # its making may be all that the system tells
    told = []
    for second in range(10):
        now[0] = float(second)
        if second < 5:
            (folder / "slow.png").write_bytes(b"x" * (second + 1))
        told += [second] if pending.take() else []
    assert told == [7]


def test_a_folder_that_is_deleted_ends_it_in_one_line(follow: Any, folder: Path) -> None:
    follower = follow(folder)
    shutil.rmtree(folder)
    error = follower.next()
    while not isinstance(error, BaseException):
        error = follower.next()
    assert isinstance(error, InputError)
    assert "is gone" in str(error)


def test_another_folder_in_its_place_is_looked_at_as_a_whole(
    follow: Any, folder: Path, tmp_path: Path, paint: Any
) -> None:
    follower = follow(folder)
    shutil.copytree(folder, tmp_path / "copy")
    folder.rename(tmp_path / "elsewhere")
    (tmp_path / "copy").rename(folder)
    told = follower.next()
    while told is not None:  # the change of the folder itself may be seen first
        assert not isinstance(told, BaseException)
        told = follower.next()
    paint(folder / "rose.png", "red")
    follower.until("rose.png")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_name_that_is_no_unicode_has_everything_looked_at(follow: Any, folder: Path, paint: Any) -> None:
    follower = follow(folder)
    Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.txt")).write_text("red", "utf-8")
    assert follower.next() is None
    paint(folder / "rose.png", "red")
    follower.until("rose.png")


def test_everything_is_looked_at_now_and_then(follow: Any, folder: Path) -> None:
    follower = follow(folder, everything_every_s=0.3)
    assert follower.next() is None


def test_a_system_that_can_follow_no_more_folders_is_polled(
    folder: Path, monkeypatch: pytest.MonkeyPatch, paint: Any
) -> None:
    real, asked = watch_module._wait, []

    def wait(root: Path, stop: threading.Event, *, polling: bool) -> Iterator[set[str]]:
        asked.append(polling)
        if not polling:
            raise OSError(28, "OS file watch limit reached.")
        return real(root, stop, polling=True)

    monkeypatch.setattr(watch_module, "_wait", wait)
    monkeypatch.setattr(watch_module, "POLL_S", 0.2)
    follower = Follower(folder)
    assert follower.next() is None
    time.sleep(0.5)
    paint(folder / "rose.png", "red")
    follower.until("rose.png")
    follower.close()
    assert asked == [False, True]


def test_a_file_that_never_rests_is_told_in_the_end(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    pending = Pending(folder, 5.0)
    told = []
    for second in range(70):
        now[0] = float(second)
        (folder / "list.txt").write_text("x" * (second + 1), "utf-8")
        pending.add(["list.txt"])
        told += [second] if pending.take() else []
    assert told == [60]


def test_without_the_extra_it_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"jina-clip-integrations\[app\]"):
        next(watch_folder(folder))


def test_a_followed_collection_has_what_the_folder_has(
    follow: Any, folder: Path, encoder: JinaClipEncoder, tmp_path: Path, paint: Any
) -> None:
    follower = follow(folder)
    with FolderCollection.open(folder, encoder=encoder, store=tmp_path / "store") as collection:
        collection.index()
        paint(folder / "rose.png", "red")
        (folder / "trip").rename(folder / "journey")
        wanted = {"apple.png", "leaf.jpg", "rose.png", "journey/sea.png"}
        ends_s = time.monotonic() + PATIENCE_S
        while {hit.name for hit in collection.search("red", cut_off=None).hits} != wanted:
            assert time.monotonic() < ends_s
            collection.index(only=follower.next())
