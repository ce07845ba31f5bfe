"""Waits end when their time is over, when their future is done, or when they are called off."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future

import pytest

from jina_clip_integrations.concurrency.waits import Stopped, StopSignal, Wait

LONG_S = 30.0
"""Longer than any test may take."""


def perform(step: Wait) -> None:
    step.perform()


def aperform(step: Wait) -> None:
    asyncio.run(step.aperform())


both = pytest.mark.parametrize("wait", [perform, aperform], ids=["blocking", "awaiting"])
Waiting = Callable[[Wait], None]


def later(call: Callable[[], object]) -> None:
    threading.Timer(0.02, call).start()


@both
def test_a_time_that_is_over(wait: Waiting) -> None:
    started = time.monotonic()
    wait(Wait(Future(), 0.02))
    assert time.monotonic() - started >= 0.015


@both
def test_a_future_that_is_done(wait: Waiting) -> None:
    until: Future[None] = Future()
    later(lambda: until.set_result(None))
    wait(Wait(until, LONG_S))
    assert until.done()


@both
def test_a_future_that_is_done_already(wait: Waiting) -> None:
    until: Future[None] = Future()
    until.set_result(None)
    wait(Wait(until))


@both
def test_a_wait_that_is_called_off(wait: Waiting) -> None:
    signal = StopSignal()
    later(signal.stop)
    with pytest.raises(Stopped):
        wait(Wait(Future(), LONG_S, signal))


@both
def test_a_wait_that_begins_after_the_signal(wait: Waiting) -> None:
    signal = StopSignal()
    signal.stop()
    with pytest.raises(Stopped):
        wait(Wait(Future(), LONG_S, signal))


@both
def test_a_signal_that_was_not_given_changes_nothing(wait: Waiting) -> None:
    signal = StopSignal()
    wait(Wait(Future(), 0.01, signal))
    assert not signal.stopped


def test_one_signal_ends_every_wait() -> None:
    signal, ended = StopSignal(), []

    def body() -> None:
        try:
            Wait(Future(), LONG_S, signal).perform()
        except Stopped:
            ended.append(True)

    threads = [threading.Thread(target=body) for _ in range(4)]
    for thread in threads:
        thread.start()
    signal.stop()
    for thread in threads:
        thread.join(LONG_S)
    assert ended == [True] * 4
