"""Blocking calls to what can only be awaited: one loop per process, also beneath a running one and after a fork."""

from __future__ import annotations

import asyncio
import os
import threading

import pytest

from jina_clip_integrations.concurrency import loops
from jina_clip_integrations.concurrency.loops import run_in_background_loop, running_loop
from jina_clip_integrations.errors import BackendError, ConfigurationError


async def current_loop() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


def test_the_loop_stays_the_same() -> None:
    assert run_in_background_loop(current_loop) is run_in_background_loop(current_loop)


def test_it_works_beneath_a_running_loop() -> None:
    async def cell() -> bool:
        return run_in_background_loop(current_loop) is not asyncio.get_running_loop()

    assert asyncio.run(cell())


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, SystemExit])
def test_errors_are_raised_here_and_leave_the_loop_alone(kind: type[BaseException]) -> None:
    async def fail() -> None:
        raise kind("no")

    before = run_in_background_loop(current_loop)
    with pytest.raises(kind):
        run_in_background_loop(fail)
    assert run_in_background_loop(current_loop) is before


def test_several_threads_share_it() -> None:
    loops: list[asyncio.AbstractEventLoop] = []
    threads = [threading.Thread(target=lambda: loops.append(run_in_background_loop(current_loop))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(loops) == 4
    assert len(set(map(id, loops))) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_a_forked_child_has_a_loop_of_its_own() -> None:
    parents = run_in_background_loop(current_loop)
    child = os.fork()
    if child == 0:
        try:
            mine = run_in_background_loop(current_loop)
            os._exit(0 if mine is not parents else 1)
        except BaseException:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0


def test_where_no_thread_starts_the_background_loop_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(loops, "_portals", {})
    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(BackendError, match="the program is ending"):
        run_in_background_loop(current_loop)


def test_without_a_loop_the_blocking_methods_are_named() -> None:
    with pytest.raises(ConfigurationError, match="encode_text for aencode_text"):
        running_loop()
