"""Where a folder's store is kept if nobody says: in the user's cache, as each system has it, by the folder's path."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from platformdirs import macos, unix, windows

from jina_clip_integrations.collections import locations

REAL_RULE = locations.cache_folder


@pytest.fixture(autouse=True)
def cache_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The real rule, with a cache of the test's own."""
    monkeypatch.setattr(locations, "cache_folder", REAL_RULE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    return tmp_path / "xdg"


def test_the_cache_follows_xdg(cache_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert locations.cache_folder() == cache_home / "jina-clip"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/me")
    assert locations.cache_folder() == Path("/home/me/.cache/jina-clip")


@pytest.mark.parametrize(
    ("system", "ending"),
    [
        (unix.Unix, ".cache/jina-clip"),
        (macos.MacOS, "Library/Caches/jina-clip"),
        (windows.Windows, "jina-clip\\Cache"),
    ],
)
def test_every_system_has_its_own_place(system: type, ending: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("XDG_CACHE_HOME", "WIN_PD_OVERRIDE_LOCAL_APPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(windows, "get_win_folder", lambda _: "C:\\Users\\me\\AppData\\Local", raising=False)
    found = system(locations.APPLICATION, appauthor=False).user_cache_dir
    assert found.replace("/", "\\").endswith(ending.replace("/", "\\"))


def test_a_folder_has_one_store_whatever_it_is_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "My Photos é").mkdir()
    (tmp_path / "other").mkdir()
    os.symlink(tmp_path / "My Photos é", tmp_path / "link")
    monkeypatch.chdir(tmp_path)
    store = locations.default_store(Path("My Photos é"))
    assert store == locations.default_store(tmp_path / "link")
    assert store == locations.default_store(tmp_path / "other" / ".." / "My Photos é")
    assert store != locations.default_store(tmp_path / "other")
    assert store.name.startswith("My-Photos-")
    assert locations.default_store(Path("/")).name.isalnum()


def test_a_folder_whose_name_is_no_unicode(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9")
    assert locations.default_store(tmp_path / name) != locations.default_store(tmp_path / os.fsdecode(b"caf\xe8"))
