"""The threads of one job."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Generator
from concurrent.futures import CancelledError, ThreadPoolExecutor

import pytest

from jina_clip_integrations.concurrency import threads
from jina_clip_integrations.concurrency.threads import DaemonThreadPool, ThreadStepped, in_thread, submit
from tests.backends.remote.faces import wait_for


def pool_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("test-pool")]


def test_results_and_errors_come_back() -> None:
    pool = DaemonThreadPool("test-pool")
    fine, broken = pool.submit(lambda: 7), pool.submit(lambda: 1 / 0)
    assert fine.result(5) == 7
    with pytest.raises(ZeroDivisionError):
        broken.result(5)
    pool.shutdown()
    wait_for(lambda: not pool_threads())


def test_there_are_as_many_threads_as_work_at_once() -> None:
    pool, together = DaemonThreadPool("test-pool"), threading.Barrier(3)
    for _ in range(3):
        for future in [pool.submit(lambda: together.wait(5)) for _ in range(3)]:
            future.result(5)
    assert len(pool_threads()) == 3
    pool.shutdown()
    wait_for(lambda: not pool_threads())


def test_one_after_another_shares_a_thread() -> None:
    pool = DaemonThreadPool("test-pool")
    first = pool.submit(threading.get_ident).result(5)
    wait_for(lambda: pool._idle._value)  # it says that it is idle after it has given the result
    assert pool.submit(threading.get_ident).result(5) == first
    pool.shutdown()
    wait_for(lambda: not pool_threads())


def test_nobody_waits_for_them_at_the_end_of_the_program() -> None:
    pool, done = DaemonThreadPool("test-pool"), threading.Event()
    pool.submit(done.wait)
    assert all(thread.daemon for thread in pool_threads())
    pool.shutdown()  # does not wait
    assert pool_threads()
    done.set()
    wait_for(lambda: not pool_threads())


def test_what_was_cancelled_is_not_done() -> None:
    pool, held = DaemonThreadPool("test-pool"), threading.Event()
    pool._size = 1  # as if there were one thread
    pool._idle.release()
    cancelled = pool.submit(held.set)
    assert cancelled.cancel()
    pool._size = 0
    assert pool.submit(lambda: 5).result(5) == 5
    with pytest.raises(CancelledError):
        cancelled.result(5)
    assert not held.is_set()
    pool.shutdown()
    wait_for(lambda: not pool_threads())


class Held:
    """A generator that stays inside its second step until it is let go."""

    def __init__(self) -> None:
        self.inside, self.go_on = threading.Event(), threading.Event()
        self.closed_by: list[str] = []

    def steps(self) -> Generator[int, None, None]:
        try:
            yield 1
            self.inside.set()
            self.go_on.wait(10)
            yield 2
        finally:
            self.closed_by.append(threading.current_thread().name)


def test_what_is_stepped_is_closed_by_the_thread_that_is_inside() -> None:
    held = Held()
    stepped = ThreadStepped(held.steps())
    assert stepped.step() == 1
    last = threading.Thread(target=stepped.step, name="inside")
    last.start()
    held.inside.wait(10)
    stepped.close()
    assert held.closed_by == []
    held.go_on.set()
    last.join(10)
    assert held.closed_by == ["inside"]
    assert stepped.step() is None
    stepped.close()


def test_what_nobody_is_inside_is_closed_at_once() -> None:
    held = Held()
    stepped = ThreadStepped(held.steps())
    stepped.step()
    stepped.close()
    assert held.closed_by == ["MainThread"]
    assert stepped.step() is None


def test_an_error_of_a_step_is_raised_there() -> None:
    def broken() -> Generator[int, None, None]:
        yield 1
        raise ValueError("no")

    stepped = ThreadStepped(broken())
    stepped.step()
    with pytest.raises(ValueError, match="no"):
        stepped.step()
    assert stepped.step() is None


class TestAtTheEnd:
    """Where no thread can be started; `tests/encoder/test_endings.py` has programs that do end."""

    @pytest.fixture(autouse=True)
    def ending(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(threads, "is_ending", lambda: True)

    def test_pools_are_done_without(self) -> None:
        here = threading.get_ident()
        with ThreadPoolExecutor(1) as pool:
            assert submit(pool, threading.get_ident).result(0) == here
            with pytest.raises(ZeroDivisionError):
                submit(pool, lambda: 1 / 0).result(0)
        assert DaemonThreadPool("test-pool").submit(threading.get_ident).result(0) == here

    async def test_awaited_work_is_done_in_the_loop(self) -> None:
        assert await in_thread(threading.get_ident) == threading.get_ident()

    def test_an_idle_thread_may_take_the_work(self, monkeypatch: pytest.MonkeyPatch) -> None:
        pool = DaemonThreadPool("test-pool")
        with monkeypatch.context() as before:
            before.setattr(threads, "is_ending", lambda: False)
            pool.submit(threading.get_ident).result(5)
        for _ in range(20):
            assert pool.submit(lambda: 7).result(5) == 7
        pool.shutdown()
        wait_for(lambda: not pool_threads())


async def test_a_cancelled_wait_leaves_its_thread_alone() -> None:
    go_on, done = threading.Event(), threading.Event()

    def work() -> None:
        go_on.wait(10)
        done.set()

    task = asyncio.ensure_future(in_thread(work))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    go_on.set()
    assert await in_thread(done.wait, 10)
