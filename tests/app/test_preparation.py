"""Searches are made ready in the background: the first one embeds its own query and nothing else."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from jina_clip_integrations.app import AppSettings, create_app
from jina_clip_integrations.app.preparation import Preparation
from jina_clip_integrations.errors import ApiConnectionError
from tests.app.clients import client_for, names
from tests.serving import wait_until


async def test_the_first_search_after_a_start_embeds_its_query_alone(
    open_collection: Any, folder: Path, colours: Any
) -> None:
    app = create_app(open_collection(folder, index=False), AppSettings())
    async with app.router.lifespan_context(app), client_for(app) as client:
        wait_until(lambda: app.state.library.job.progress.state == "done", timeout_s=30)
        wait_until(lambda: not app.state.library.preparation.is_running, timeout_s=30)
        before = colours.calls.copy()
        assert names(await client.get("/api/search?q=red"))[0] == "apple.png"
    assert colours.calls == [*before, 1]


async def test_the_page_is_told_that_searches_wait(
    open_collection: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collection = open_collection(folder)
    ready = threading.Event()
    monkeypatch.setattr(collection, "prepare_search", lambda: ready.wait(30))
    app = create_app(collection, AppSettings(index=False))
    async with app.router.lifespan_context(app), client_for(app) as client:
        assert (await client.get("/api/status")).json()["preparing"] is True
        ready.set()
        wait_until(lambda: not app.state.library.preparation.is_running, timeout_s=30)
        assert (await client.get("/api/status")).json()["preparing"] is False


def test_what_changed_is_prepared_after_a_run(
    open_collection: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collection = open_collection(folder, index=False)
    images: list[int] = []
    monkeypatch.setattr(collection, "prepare_search", lambda: images.append(collection.describe().images))
    library = create_app(collection, AppSettings()).state.library
    library.job.start()
    wait_until(lambda: bool(images), timeout_s=30)
    library.stop()
    assert images == [3]


@pytest.mark.parametrize("error", [ApiConnectionError("no response from the server"), RuntimeError("a secret detail")])
def test_a_failure_is_left_to_the_search_that_meets_it(
    open_collection: Any, folder: Path, colours: Any, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    collection = open_collection(folder)
    colours.fail_after = (0, error)
    preparation = Preparation(collection)
    preparation.start()
    preparation.stop()
    assert not preparation.is_running
    unexpected = isinstance(error, RuntimeError)
    assert ("could not be prepared" in caplog.text) is unexpected
    with pytest.raises(type(error)):
        collection.search("red")
    colours.fail_after = None
    assert collection.search("red", cut_off=None).hits[0].name == "apple.png"
