"""Who is let in: places for requests, inputs and bytes, so that a crowd gets an answer at once instead of a queue
without end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .errors import overloaded
from .settings import ServerSettings

SMOOTHING = 0.2
"""Weight of the newest request in the running figure of seconds per input."""

LONGEST_HINT_S = 60.0
"""A client is never told to stay away longer than this, in seconds."""


class Places:
    """Counts what is in the house. Used from one event loop, so nothing here needs a lock."""

    def __init__(self, settings: ServerSettings, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._finished_at_s: float | None = None
        self._seconds_per_input = 0.0
        self.requests = 0
        self.inputs = 0
        self.bytes = 0

    @contextmanager
    def request(self) -> Iterator[None]:
        """A place for one request, from before its body is read. Raises `RefusalError` 429."""
        limit = self._settings.max_requests
        if self.requests >= limit:
            raise overloaded(
                f"Concurrency limit exceeded: {self.requests:,}/{limit:,} concurrent requests",
                retry_after_s=self._wait_s(),
            )
        self.requests += 1
        try:
            yield
        finally:
            self.requests -= 1

    @contextmanager
    def take_inputs(self, count: int) -> Iterator[None]:
        """Places for the inputs of one request, until it is answered. Raises `RefusalError` 429."""
        limit = self._settings.max_queue
        if self.inputs + count > limit:
            raise overloaded(
                f"Concurrency limit exceeded: {self.inputs:,}/{limit:,} inputs in the queue",
                retry_after_s=self._wait_s(),
            )
        self.inputs += count
        try:
            yield
        finally:
            self.inputs -= count
            self._note_finished(count)

    @contextmanager
    def buffer(self) -> Iterator[Callable[[int], None]]:
        """A function that books bytes of one request's body as they arrive; all are given back at the end.

        The function raises `RefusalError` 429.
        """
        booked = 0

        def book(count: int) -> None:
            nonlocal booked
            limit = self._settings.max_buffered_bytes
            if self.bytes + count > limit:
                raise overloaded(f"Too much in hand: {limit:,} bytes of requests", retry_after_s=self._wait_s())
            self.bytes += count
            booked += count

        try:
            yield book
        finally:
            self.bytes -= booked

    def _note_finished(self, count: int) -> None:
        now = self._clock()
        if self._finished_at_s is not None and self.inputs:  # idle time says nothing about the pace
            newest = (now - self._finished_at_s) / count
            self._seconds_per_input += SMOOTHING * (newest - self._seconds_per_input)
        self._finished_at_s = now

    def _wait_s(self) -> float:
        """About how long until half of what is in the house is answered."""
        return min(LONGEST_HINT_S, self.inputs * self._seconds_per_input / 2)
