"""`jina-clip index`: what a second run does, what an interruption leaves, what is refused."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from jina_clip_integrations.collections.chunk_sizes import ChunkSizer
from jina_clip_integrations.errors import ServerError
from tests.command_line import word_ids


@pytest.fixture
def index(run: Any, colours: Any, folder: Path, tmp_path: Path) -> Any:
    """`index(…)` runs the command on the folder with a store of this test."""
    return lambda *more: run("index", folder, "--store", tmp_path / "store", *colours.options, *more)


def counts(ran: Any) -> dict[str, int]:
    return ran.json["files"]


def test_everything_usable_goes_in(index: Any, colours: Any) -> None:
    ran = index("--json")
    assert ran.code == 0, ran.err
    assert counts(ran) == {"added": 5, "updated": 0, "unchanged": 0, "removed": 0, "left_out": 0}
    assert (ran.json["images"], ran.json["passages"]) == (3, 3)
    assert (ran.json["model"], ran.json["dimensions"], ran.json["tokens"]) == ("colours", 16, 6)
    assert colours.embedded == 6


def test_people_read_a_summary_and_progress_goes_to_stderr(index: Any) -> None:
    ran = index()
    assert ran.out.splitlines()[0] == "5 added, 0 updated, 0 unchanged, 0 removed, 0 left out"
    assert "3 images and 3 passages" in ran.out
    assert "indexing: 5/5 (100%)" in ran.err
    assert "indexing" not in ran.out


def test_unchanged_files_are_not_embedded_again(index: Any, colours: Any) -> None:
    index()
    before = colours.embedded
    ran = index("--json")
    assert counts(ran) == {"added": 0, "updated": 0, "unchanged": 5, "removed": 0, "left_out": 0}
    assert colours.embedded == before


def test_a_new_time_alone_is_noted_without_embedding(index: Any, colours: Any, folder: Path) -> None:
    index()
    before = colours.embedded
    for _ in range(2):
        os.utime(folder / "apple.png", ns=(1, 1))
        assert counts(index("--json"))["unchanged"] == 5
    assert colours.embedded == before


def test_changed_files_replace_their_old_state(
    index: Any, run: Any, colours: Any, folder: Path, tmp_path: Path
) -> None:
    index()
    (folder / "trip" / "notes.md").write_text("only green grass now", "utf-8")
    ran = index("--json")
    assert (counts(ran)["updated"], counts(ran)["unchanged"]) == (1, 4)
    assert ran.json["passages"] == 2
    found = run("search", "green grass", "--store", tmp_path / "store", "--kind", "texts", "--json").json
    texts = [result["text"] for result in found["results"]["texts"]]
    assert texts[0] == "only green grass now"
    assert not any("blue" in text for text in texts)


@pytest.mark.parametrize(("flags", "images"), [((), 2), (("--keep-vanished",), 3)], ids=word_ids)
def test_vanished_files_go_unless_told_otherwise(index: Any, folder: Path, flags: Any, images: int) -> None:
    index()
    (folder / "leaf.jpg").unlink()
    ran = index("--json", *flags)
    assert counts(ran)["removed"] == 3 - images
    assert ran.json["images"] == images


@pytest.mark.parametrize(("strict", "code"), [((), 0), (("--strict",), 3)], ids=word_ids)
def test_unreadable_files_are_named_and_the_rest_goes_on(index: Any, folder: Path, strict: Any, code: int) -> None:
    (folder / "broken.png").write_bytes(b"not an image")
    (folder / "latin1.txt").write_bytes("Übung".encode("latin-1"))
    (folder / "blank.md").write_text(" \n", "utf-8")
    ran = index("--json", *strict)
    assert ran.code == code
    assert set(ran.json["failed"]) == {"broken.png", "latin1.txt", "blank.md"}
    assert counts(ran)["added"] == 5
    for name in ran.json["failed"]:
        assert f"left out {name}: " in ran.err
    assert "UTF-8" in ran.json["failed"]["latin1.txt"]


def test_a_file_that_became_unreadable_does_not_answer_any_more(index: Any, folder: Path) -> None:
    index()
    (folder / "apple.png").write_bytes(b"not an image")
    ran = index("--json")
    assert (ran.json["images"], counts(ran)["left_out"]) == (2, 1)


@pytest.mark.parametrize("at_a_time", [1, 1024])
@pytest.mark.parametrize(
    ("failure", "code", "said"),
    [(KeyboardInterrupt(), 130, "interrupted: 2 of 5 files"), (ServerError("the service failed"), 1, "2 of 5 files")],
    ids=word_ids,
)
def test_what_was_done_before_an_interruption_is_kept(
    index: Any, colours: Any, failure: BaseException, code: int, said: str, at_a_time: int, monkeypatch: Any
) -> None:
    """With small chunks the first are stored; a large one is torn, and what it finished is stored."""
    monkeypatch.setattr("jina_clip_integrations.collections.indexing.ChunkSizer", lambda: ChunkSizer(at_a_time))
    colours.fail_after = (2, failure)
    ran = index()
    assert ran.code == code
    assert said in ran.err
    assert "the same command again goes on" in ran.err
    assert "Traceback" not in ran.err
    colours.fail_after = None
    assert counts(index("--json")) == {"added": 3, "updated": 0, "unchanged": 2, "removed": 0, "left_out": 0}
    assert colours.embedded == 6


def test_another_width_is_refused(index: Any) -> None:
    index()
    ran = index("--dimensions", 8)
    assert ran.code == 2
    assert "holds vectors of [colours, 16 dimensions" in ran.err
    assert "these are of [colours, 8 dimensions" in ran.err
    assert ran.err.count("\n") == 1


def test_another_model_is_refused(index: Any, colours: Any) -> None:
    index()
    colours.model = "shades"
    ran = index()
    assert ran.code == 2
    assert "holds vectors of [colours, " in ran.err


def test_collections_keep_models_apart(index: Any) -> None:
    index()
    assert index("--dimensions", 8, "--collection", "small").code == 0


def test_a_store_inside_the_folder_is_not_indexed(run: Any, colours: Any, folder: Path) -> None:
    store = folder / "store"
    (folder / "store").mkdir()
    (store / "inside.txt").write_text("left alone", "utf-8")
    ran = run("index", folder, "--store", store, *colours.options, "--json")
    assert counts(ran)["added"] == 5


def test_two_folders_share_a_store(index: Any, run: Any, colours: Any, folder: Path, tmp_path: Path) -> None:
    index()
    other = shutil.copytree(folder / "trip", tmp_path / "other")
    ran = run("index", other, "--store", tmp_path / "store", *colours.options, "--json")
    assert counts(ran)["added"] == 2
    assert counts(index("--json"))["unchanged"] == 5
    assert index("--json").json["images"] == 4


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the client forgets to close its lock
def test_a_store_in_use_is_a_clear_error(index: Any, tmp_path: Path) -> None:
    from jina_clip_integrations.collections.store import FolderStore

    with FolderStore(str(tmp_path / "store")):
        ran = index()
    assert ran.code == 1
    assert "in use by another program" in ran.err


@pytest.mark.parametrize("missing", ["nowhere", "mine/apple.png"])
def test_a_folder_is_needed(run: Any, colours: Any, folder: Path, tmp_path: Path, missing: str) -> None:
    ran = run("index", tmp_path / missing, "--store", tmp_path / "store", *colours.options)
    assert ran.code == 2
    assert "folder" in ran.err
    assert not (tmp_path / "store").exists()


# Following a folder


@pytest.fixture
def changes(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What following the folder tells: names, or functions that are called in between; then Ctrl-C."""
    told: list[Any] = []

    def watch(root: Path, *, exclude: Path | None) -> Any:
        for one in told:
            if callable(one):
                one()
            else:
                yield one
        raise KeyboardInterrupt

    monkeypatch.setattr("jina_clip_integrations.cli.index.watch_folder", watch)
    return told


def test_a_followed_folder_is_indexed_as_it_changes(
    index: Any, run: Any, folder: Path, tmp_path: Path, paint: Any, changes: list[Any]
) -> None:
    seen: list[Any] = []

    def search() -> None:  # another program can, between changes
        seen.append(run("search", "red", "--store", tmp_path / "store", "--paths", "--kind", "images").out)

    changes += [None, lambda: paint(folder / "rose.png", "red"), frozenset({"rose.png"}), search]
    changes += [lambda: (folder / "trip").rename(folder / "journey"), frozenset({"trip", "journey"}), search]
    ran = index("--watch", "--strict")
    assert ran.code == 130
    assert f"no longer following {folder}; what changed until now is in the store" in ran.err
    assert "rose.png" in seen[0]
    assert "journey/sea.png" in seen[1]
    assert "trip/" not in seen[1]


def test_following_says_what_was_done(index: Any, folder: Path, paint: Any, changes: list[Any]) -> None:
    changes += [None, lambda: paint(folder / "rose.png", "red"), frozenset({"rose.png"})]
    changes += [lambda: (folder / "rose.png").write_bytes(b"x"), frozenset({"rose.png"})]
    ran = index("--watch")
    assert ran.out.splitlines()[2:] == [
        "1 added, 0 updated, 0 unchanged, 0 removed, 0 left out",
        "0 added, 0 updated, 0 unchanged, 0 removed, 1 left out",
    ]
    assert "left out rose.png" in ran.err


def test_an_outage_while_following_is_made_up_for(
    index: Any, colours: Any, folder: Path, paint: Any, changes: list[Any]
) -> None:
    def fail() -> None:
        paint(folder / "rose.png", "red")
        colours.fail_after = (0, ServerError("the service failed"))

    def recover() -> None:
        colours.fail_after = None

    changes += [None, fail, frozenset({"rose.png"}), recover, frozenset({"apple.png"})]
    ran = index("--watch")
    assert "the service failed; tried again after the next change" in ran.err
    assert "1 added, 0 updated, 1 unchanged" in ran.out


def test_a_followed_store_in_use_is_waited_for(index: Any, folder: Path, tmp_path: Path, changes: list[Any]) -> None:
    from jina_clip_integrations.collections.store import FolderStore

    opened: list[FolderStore] = []
    changes += [lambda: (folder / "apple.png").unlink(), lambda: opened.append(FolderStore(str(tmp_path / "store")))]
    changes += [frozenset({"apple.png"}), lambda: opened[0].close(), frozenset({"other.png"})]
    ran = index("--watch")
    assert "in use by another program" in ran.err
    assert "0 added, 0 updated, 0 unchanged, 1 removed" in ran.out


def test_a_followed_folder_that_goes_away_ends_in_one_line(
    index: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from jina_clip_integrations.collections.watch import watch_folder

    def watch(root: Path, *, exclude: Path | None) -> Any:
        for told in watch_folder(root, exclude=exclude, settle_s=0.1):
            yield told
            shutil.rmtree(folder, ignore_errors=True)

    monkeypatch.setattr("jina_clip_integrations.cli.index.watch_folder", watch)
    ran = index("--watch", "--quiet")
    assert ran.code == 2
    assert ran.err.count("\n") == 1
    assert f"the folder {folder} " in ran.err
    assert "is kept" in ran.err


def test_following_has_no_end_that_json_could_wait_for(index: Any) -> None:
    ran = index("--watch", "--json")
    assert ran.code == 2
    assert "exclude each other" in ran.err
