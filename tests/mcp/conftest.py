"""A small folder, served in process to the official client."""

from __future__ import annotations

import base64
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from mcp import Client

from jina_clip_integrations import JinaClipEncoder, SourcePolicy
from jina_clip_integrations.cli.serve import open_socket
from jina_clip_integrations.collections.folder import FolderCollection
from jina_clip_integrations.mcp import CollectionSource, McpSettings, create_http_app, create_server
from tests.command_line import colours, folder, paint, run
from tests.serving import wait_until

__all__ = ["colours", "folder", "paint", "run"]

Connect = Callable[..., AbstractAsyncContextManager[Client]]


@pytest.fixture(autouse=True)
def cache_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's cache is a folder of the test."""
    home = tmp_path / "cache-home"
    monkeypatch.setattr("jina_clip_integrations.collections.locations.cache_folder", lambda: home)
    return home


@pytest.fixture
def make_source(folder: Path, colours: Any, tmp_path: Path) -> Iterator[Callable[..., CollectionSource]]:
    """`make_source()` is the source of the folder, opened, and indexed unless told otherwise; closed after the test."""
    made: list[CollectionSource] = []

    def make(root: Path = folder, *, wait: bool = True, **options: Any) -> CollectionSource:
        def open_collection() -> FolderCollection:
            encoder = JinaClipEncoder(backend=colours, sources=SourcePolicy.agent(root, schemes=()))
            return FolderCollection.open(root, encoder=encoder, store=tmp_path / "store")

        source = CollectionSource(root.resolve(), open_collection, **options)
        made.append(source)
        source.__enter__()
        if wait:
            wait_until(lambda: source.indexing.state in ("done", "off", "failed"), timeout_s=30)
        return source

    yield make
    for source in made:
        source.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "mcp-index"]


@pytest.fixture
def connect(make_source: Callable[..., CollectionSource]) -> Connect:
    """`async with connect() as client` is the official client of a server of the folder, in process."""

    @asynccontextmanager
    async def open_client(source: CollectionSource | None = None, **settings: Any) -> AsyncIterator[Client]:
        server = create_server(source or make_source(), McpSettings(**settings))
        async with Client(server) as client:
            yield client

    return open_client


@pytest.fixture
def serve(make_source: Any) -> Iterator[Callable[..., str]]:
    """`serve()` is the address of a server of the folder; it ends with the test."""
    running: list[tuple[uvicorn.Server, threading.Thread]] = []

    def start(token: str | None = None, **options: Any) -> str:
        app = create_http_app(create_server(make_source(), token=token), **options)
        listening = open_socket("127.0.0.1", 0)
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        running.append((server, thread))
        wait_until(lambda: server.started, timeout_s=30)
        return f"http://127.0.0.1:{listening.getsockname()[1]}/mcp"

    yield start
    for server, thread in running:
        server.should_exit = True
        thread.join(timeout=20)
        assert not thread.is_alive()


def image_blocks(result: Any) -> list[tuple[str, bytes]]:
    """Media type and bytes of the images of a result."""
    return [(block.mime_type, base64.b64decode(block.data)) for block in result.content if block.type == "image"]


def names(result: Any) -> list[str]:
    """Names of the hits of a result."""
    assert not result.is_error, result.content[0].text
    return [hit["name"] for hit in result.structured_content["hits"]]


def message(result: Any) -> str:
    """The message of a result that is an error."""
    assert result.is_error
    assert len(result.content) == 1
    text: str = result.content[0].text
    return text
