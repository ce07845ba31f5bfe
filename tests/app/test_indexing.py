"""The thread that brings the collection up to date: what it tells, and that it ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from jina_clip_integrations.app import AppSettings, create_app
from jina_clip_integrations.app.indexing import IndexingJob, Progress
from jina_clip_integrations.errors import ApiConnectionError
from tests.app.clients import client_for, names
from tests.serving import wait_until


def finish(job: IndexingJob) -> Progress:
    wait_until(lambda: job.progress.state in ("done", "failed"), timeout_s=30)
    return job.progress


def test_a_run_tells_how_far_it_came_and_what_was_left_out(open_collection: Any, folder: Path) -> None:
    (folder / "broken.png").write_bytes(b"no image")
    collection = open_collection(folder, index=False)
    job = IndexingJob(collection)
    assert job.progress.state == "idle"
    assert job.start()
    progress = finish(job)
    assert (progress.state, progress.done, progress.total) == ("done", 6, 6)
    assert progress.left_out_count == 1
    assert progress.left_out[0][0] == "broken.png"
    assert collection.describe().images == 3


def test_one_run_at_a_time_and_none_after_the_stop(open_collection: Any, folder: Path, colours: Any) -> None:
    job = IndexingJob(open_collection(folder, index=False))
    assert job.start()
    assert job.start() is False or job.progress.state != "running"
    finish(job)
    assert job.start()
    job.stop()
    assert job.start() is False


def test_an_outage_is_told_and_the_next_run_goes_on_from_there(
    open_collection: Any, folder: Path, colours: Any
) -> None:
    collection = open_collection(folder, index=False)
    colours.fail_after = (1, ApiConnectionError("no response from the server"))
    job = IndexingJob(collection)
    job.start()
    progress = finish(job)
    assert progress.state == "failed"
    assert "no response" in progress.message
    colours.fail_after = None
    job.start()
    assert finish(job).state == "done"
    assert collection.describe().images == 3


def test_an_unexpected_failure_leaves_the_page_up(
    open_collection: Any, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    collection = open_collection(folder)

    def fail(*_: Any) -> None:
        raise RuntimeError("a secret detail")

    monkeypatch.setattr(collection, "index", fail)
    job = IndexingJob(collection)
    job.start()
    progress = finish(job)
    assert progress.state == "failed"
    assert "secret" not in progress.message
    assert "indexing failed" in caplog.text


async def test_the_page_starts_a_run_and_finds_what_is_new(open_collection: Any, folder: Path, paint: Any) -> None:
    collection = open_collection(folder)
    app = create_app(collection, AppSettings(index=False))
    async with client_for(app) as client:
        paint(folder / "new.png", "yellow")
        assert "new.png" not in names(await client.get("/api/search"))
        assert (await client.post("/api/index")).json() == {"started": True}
        finish(app.state.library.job)
        assert "new.png" in names(await client.get("/api/search"))
    app.state.library.stop()


async def test_the_app_s_life_begins_and_ends_a_run(open_collection: Any, folder: Path) -> None:
    collection = open_collection(folder, index=False)
    app = create_app(collection, AppSettings())
    async with app.router.lifespan_context(app):
        finish(app.state.library.job)
    assert collection.describe().images == 3
    assert app.state.library.job.start() is False


def test_a_folder_that_is_followed_shows_what_is_added_and_survives_its_absence(
    open_collection: Any, folder: Path, paint: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jina_clip_integrations.app.indexing.FOLDER_BACK_S", 0.1)
    (folder / "broken.png").write_bytes(b"no image")
    collection = open_collection(folder, index=False)
    job = IndexingJob(collection, watch=True)
    job.start()
    wait_until(lambda: collection.describe().images == 3 and job.progress.state == "done", timeout_s=30)
    paint(folder / "new.png", "yellow")
    wait_until(lambda: collection.describe().images == 4, timeout_s=30)
    wait_until(lambda: job.progress.state == "done", timeout_s=30)
    assert [name for name, _ in job.progress.left_out] == ["broken.png"]  # of a run that did not look at it
    (folder / "broken.png").unlink()
    folder.rename(folder.with_name("moved"))
    wait_until(lambda: job.progress.state == "failed", timeout_s=30)
    assert collection.describe().images == 4
    folder.with_name("moved").rename(folder)
    wait_until(lambda: job.progress.state == "done" and not job.progress.left_out, timeout_s=30)
    job.stop()
    assert job.start() is False
