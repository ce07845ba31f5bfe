"""A wait that can be called off: the step of a flow that waits for a time, or for a future."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from typing import Any


class Stopped(Exception):  # noqa: N818  # not an error: the work ended elsewhere
    """The work was called off while this flow was waiting."""


class StopSignal:
    """Ends all waits that watch it, in whatever threads and tasks they are."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waits: set[Future[None]] = set()
        self.stopped = False

    def stop(self) -> None:
        """Wake everything that waits; it then ends with `Stopped`. What does not wait is left alone."""
        with self._lock:
            self.stopped = True
            waiting = list(self._waits)
        # Not under the lock: cancelling runs the callbacks of a future, which may take locks of their own.
        for until in waiting:
            until.cancel()

    @contextmanager
    def watching(self, until: Future[None]) -> Iterator[None]:
        """Let `stop` end the wait for `until` in this block. Raises `Stopped` after it if that happened."""
        with self._lock:
            self._waits.add(until)
            stopped = self.stopped
        # Given before the wait was known here, so `stop` did not cancel it.
        if stopped:
            until.cancel()
        try:
            yield
        finally:
            with self._lock:
                self._waits.discard(until)
        if self.stopped:
            raise Stopped


@dataclass(frozen=True)
class Wait:
    """A step: wait until `until` is done, for at most `seconds`. Raises `Stopped` if `stop_signal` ends it."""

    until: Future[Any]
    seconds: float | None = None
    stop_signal: StopSignal | None = field(default=None, compare=False, repr=False)

    def perform(self) -> None:
        """Wait in this thread."""
        with self._watch(), suppress(concurrent.futures.CancelledError, concurrent.futures.TimeoutError):
            self.until.result(self.seconds)

    async def aperform(self) -> None:
        """Wait without blocking the event loop."""
        with self._watch():
            until = asyncio.wrap_future(self.until)
            try:
                # Not `wait_for`, which would raise for the end of the time and for the cancelled future alike.
                await asyncio.wait([until], timeout=self.seconds)
            finally:
                until.cancel()  # and the future behind it: a ticket must not be granted when nobody waits for it

    def _watch(self) -> AbstractContextManager[None]:
        return nullcontext() if self.stop_signal is None else self.stop_signal.watching(self.until)
