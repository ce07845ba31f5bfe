"""The command run in process, a small folder, a content-derived backend, and collections with facts of all kinds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from jina_clip_integrations import JinaClipEncoder
from jina_clip_integrations.collections.folder import FolderCollection
from tests.command_line import colours, folder, paint, run

__all__ = ["colours", "folder", "paint", "run"]


@pytest.fixture(autouse=True)
def cache_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's cache is a folder of the test."""
    home = tmp_path / "cache-home"
    monkeypatch.setattr("jina_clip_integrations.collections.locations.cache_folder", lambda: home)
    return home


@pytest.fixture
def encoder(colours: Any) -> JinaClipEncoder:
    """An encoder whose vectors follow from colours."""
    return JinaClipEncoder(backend=colours)


@pytest.fixture
def open_indexed(run: Any, colours: Any, encoder: JinaClipEncoder, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """`open_indexed(folder)` indexes a folder and opens its collection, which is closed after the test."""
    opened: list[FolderCollection] = []

    def index(root: Path, **options: Any) -> FolderCollection:
        store = tmp_path / "store"
        assert run("index", root, "--store", store, *colours.options).code == 0
        opened.append(FolderCollection.open(root, encoder=encoder, store=store, **options))
        return opened[-1]

    yield index
    for one in opened:
        one.close()
