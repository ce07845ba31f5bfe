"""A folder's collection with a content-derived backend, and the app that shows it, in process and in a browser."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from jina_clip_integrations import JinaClipEncoder
from jina_clip_integrations.app import AppSettings, create_app
from jina_clip_integrations.collections.folder import FolderCollection
from tests.app.clients import client_for
from tests.command_line import colours, folder, paint

__all__ = ["colours", "folder", "paint"]


@pytest.fixture(autouse=True)
def cache_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's cache is a folder of the test."""
    home = tmp_path / "cache-home"
    monkeypatch.setattr("jina_clip_integrations.collections.locations.cache_folder", lambda: home)
    return home


OpenCollection = Callable[..., FolderCollection]


@pytest.fixture
def open_collection(colours: Any, tmp_path: Path) -> Iterator[OpenCollection]:
    """`open_collection(folder)`: its collection, indexed unless `index=False`."""
    with contextlib.ExitStack() as stack:

        def open_it(root: Path, *, index: bool = True, store: str = "store") -> FolderCollection:
            encoder = stack.enter_context(JinaClipEncoder(backend=colours))
            opened = stack.enter_context(FolderCollection.open(root, encoder=encoder, store=tmp_path / store))
            if index:
                opened.index()
            return opened

        yield open_it


@pytest.fixture
def collection(open_collection: OpenCollection, folder: Path) -> FolderCollection:
    return open_collection(folder)


@pytest.fixture
def client(collection: FolderCollection) -> httpx.AsyncClient:
    return client_for(create_app(collection, AppSettings(index=False)))
