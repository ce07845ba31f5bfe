"""The two drivers of a request flow: one blocking, one awaiting. Only waiting and sending differ."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Awaitable, Callable, Generator, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress

from .flow import Outcome, Reply, Send, Step, Wait


class Stopped(Exception):  # noqa: N818  # no error: the job ended elsewhere
    """The job was stopped while this request was not on the wire."""


class StopSignal:
    """Ends the waits of one job's requests, in whatever thread or task they are."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waits: set[Future[None]] = set()
        self.stopped = False

    def stop(self) -> None:
        """Wake everything that waits; it then ends with `Stopped`. What is on the wire is left alone."""
        with self._lock:
            self.stopped = True
            waiting = list(self._waits)
        for until in waiting:
            until.cancel()

    @contextmanager
    def watching(self, until: Future[None]) -> Iterator[None]:
        """Let `stop` end the wait for `until` in this block. Raises `Stopped` after it if that happened."""
        with self._lock:
            self._waits.add(until)
            stopped = self.stopped
        if stopped:
            until.cancel()
        try:
            yield
        finally:
            with self._lock:
                self._waits.discard(until)
        if self.stopped:
            raise Stopped


def drive(flow: Generator[Step, Reply, Outcome], send: Callable[[Send], Reply], halt: StopSignal) -> Outcome:
    """Perform a flow's steps, blocking. Raises what the flow raises, and `Stopped`."""
    reply: Reply = None
    try:
        while True:
            step = flow.send(reply)
            if isinstance(step, Send):
                reply = send(step)
            else:
                reply = None
                with halt.watching(step.until):
                    _block(step)
    except StopIteration as done:
        return _outcome(done)
    finally:
        flow.close()


async def adrive(
    flow: Generator[Step, Reply, Outcome], send: Callable[[Send], Awaitable[Reply]], halt: StopSignal
) -> Outcome:
    """Perform a flow's steps, awaiting. Raises what the flow raises, and `Stopped`."""
    reply: Reply = None
    try:
        while True:
            step = flow.send(reply)
            if isinstance(step, Send):
                reply = await send(step)
            else:
                reply = None
                with halt.watching(step.until):
                    await _until(step)
    except StopIteration as done:
        return _outcome(done)
    finally:
        flow.close()


def _block(step: Wait) -> None:
    with suppress(concurrent.futures.CancelledError, concurrent.futures.TimeoutError):
        step.until.result(step.seconds)


async def _until(step: Wait) -> None:
    until = asyncio.wrap_future(step.until)
    try:
        await asyncio.wait([until], timeout=step.seconds)
    finally:
        until.cancel()


def _outcome(done: StopIteration) -> Outcome:
    outcome: Outcome = done.value
    return outcome
