"""The threads of one job."""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError

import pytest

from jina_clip_integrations.concurrency.threads import DaemonThreadPool
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
