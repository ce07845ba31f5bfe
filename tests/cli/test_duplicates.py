"""`jina-clip duplicates`: of a folder and of a store, for people, programs and pipes."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.command_line import word_ids


@pytest.fixture(autouse=True)
def cache_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's cache is a folder of the test."""
    home = tmp_path / "cache-home"
    monkeypatch.setattr("jina_clip_integrations.collections.locations.cache_folder", lambda: home)
    return home


@pytest.fixture
def album(folder: Path) -> Path:
    """The folder with a copy of one image and a small one of another."""
    shutil.copy(folder / "apple.png", folder / "trip" / "apple (1).png")
    with Image.open(folder / "trip" / "sea.png") as image:
        image.resize((12, 12)).save(folder / "sea small.png")
    return folder


@pytest.fixture
def duplicates(run: Any, colours: Any, album: Path) -> Any:
    """`duplicates(…)` runs the command on the folder."""
    return lambda *words: run("duplicates", album, *colours.options, *words)


def groups(ran: Any) -> list[tuple[str, list[str]]]:
    assert ran.code == 0, ran.err
    return [(one["keep"]["name"], [other["name"] for other in one["others"]]) for one in ran.json["groups"]]


FOUND = [("apple.png", ["trip/apple (1).png"]), ("trip/sea.png", ["sea small.png"])]


def test_a_folder_is_indexed_and_its_duplicates_are_grouped(duplicates: Any, colours: Any, cache_home: Path) -> None:
    ran = duplicates("--json")
    assert sorted(groups(ran)) == FOUND
    assert ran.json["images_that_could_go"] == 2
    assert ran.json["bytes_that_could_go"] == sum(
        other["size"] for one in ran.json["groups"] for other in one["others"]
    )
    identical = {one["keep"]["name"]: one["others"][0]["identical"] for one in ran.json["groups"]}
    assert identical == {"apple.png": True, "trip/sea.png": False}
    assert any(cache_home.iterdir())
    before = colours.embedded
    assert sorted(groups(duplicates("--json"))) == FOUND
    assert colours.embedded == before


def test_people_read_which_to_keep_and_why(duplicates: Any) -> None:
    out = duplicates().out
    assert "keep  apple.png  (" in out
    assert "      trip/apple (1).png  (the same bytes, " in out
    assert "keep  trip/sea.png  (most pixels (24 x 24))" in out
    assert re.search(r"      sea small.png  \(\d\.\d{3}, \d+ bytes\)", out)
    assert re.search(r"2 groups: 2 images of \d+ bytes could go\.\n$", out)


def test_pipes_get_what_could_go_or_what_stays(duplicates: Any, album: Path) -> None:
    could_go = {str(album / "trip" / "apple (1).png"), str(album / "sea small.png")}
    assert set(duplicates("--paths").out.splitlines()) == could_go
    assert set(duplicates("-0").out.split("\0")[:-1]) == could_go
    kept = {str(album / "apple.png"), str(album / "trip" / "sea.png")}
    assert set(duplicates("--paths", "--kept").out.splitlines()) == kept


def test_nothing_is_deleted(duplicates: Any, album: Path) -> None:
    before = sorted(path.name for path in album.rglob("*"))
    duplicates()
    assert sorted(path.name for path in album.rglob("*")) == before


def test_a_store_is_enough_without_a_model(run: Any, colours: Any, album: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    assert run("index", album, "--store", store, *colours.options).code == 0
    before = colours.embedded
    assert sorted(groups(run("duplicates", "--store", store, "--json"))) == FOUND
    assert colours.embedded == before
    # The folder with that store: its model is known, and what is new is indexed.
    shutil.copy(album / "leaf.jpg", album / "leaf 2.jpg")
    again = groups(run("duplicates", album, "--store", store, *colours.options, "--json"))
    assert ("leaf.jpg", ["leaf 2.jpg"]) in again


def test_filters_and_threshold(duplicates: Any) -> None:
    assert groups(duplicates("--folder", "trip", "--json")) == []
    assert groups(duplicates("--kind", "jpeg", "--json")) == []
    assert sorted(groups(duplicates("--kind", "png", "--json"))) == FOUND
    assert groups(duplicates("--threshold", 1, "--json")) == FOUND[:1]
    assert len(groups(duplicates("--threshold", 0.001, "--json"))) >= 1
    assert "0 groups: 0 images of 0 bytes could go." in duplicates("--folder", "trip").out


def test_images_are_drawn(duplicates: Any) -> None:
    out = duplicates("--graphics", "kitty").out
    assert out.count("\x1b_G") == 4
    assert re.search(r"\x1b\\\nkeep  apple", out)


def test_what_could_not_be_read_is_named(duplicates: Any, album: Path) -> None:
    (album / "broken.png").write_bytes(b"x")
    assert "left out broken.png: " in duplicates().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "give either a folder of images or --store PATH"),
        (("nowhere",), "nowhere is no folder"),
        (("--store", "nowhere"), "there is no store at nowhere"),
        (("--store", "x", "--threshold", "2"), "not a number from 0 to 1"),
        (("--store", "x", "--kind", "texts"), "nor a format"),
        (("--store", "x", "--paths", "--json"), "exclude each other"),
    ],
    ids=word_ids,
)
def test_bad_requests_are_one_line(run: Any, words: tuple[str, ...], said: str) -> None:
    ran = run("duplicates", *words)
    assert ran.code == 2
    assert said in ran.err
    assert ran.out == ""


def test_an_empty_store_says_what_to_do(run: Any, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    ran = run("duplicates", "--store", tmp_path / "empty")
    assert ran.code == 2
    assert "is an empty store" in ran.err
