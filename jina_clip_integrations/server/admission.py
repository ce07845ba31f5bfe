"""Admission control: requests, inputs and buffered bytes are bounded, so overload is refused early and cheaply."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .errors import overload_error
from .settings import ServerSettings

SMOOTHING = 0.2
"""Weight of the newest request in the moving average of seconds per input."""

MAX_RETRY_AFTER_S = 60.0
"""Upper bound of `Retry-After`, in seconds."""


class Admission:
    """Counts requests, inputs and bytes in progress. Not thread-safe: belongs to one event loop."""

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
        """Admit one request, before its body is read. Raises `RequestError` 429."""
        limit = self._settings.max_requests
        if self.requests >= limit:
            raise overload_error(
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
        """Admit the inputs of one request until its response is ready. Raises `RequestError` 429."""
        limit = self._settings.max_queue
        if self.inputs + count > limit:
            raise overload_error(
                f"Concurrency limit exceeded: {self.inputs:,}/{limit:,} inputs in the queue",
                retry_after_s=self._wait_s(),
            )
        self.inputs += count
        try:
            yield
        finally:
            self.inputs -= count
            self._update_pace(count)

    @contextmanager
    def buffer(self) -> Iterator[Callable[[int], None]]:
        """A function that counts the bytes of one request body as they arrive; all are released at the end.

        The function raises `RequestError` 429.
        """
        booked = 0

        def count_bytes(count: int) -> None:
            nonlocal booked
            limit = self._settings.max_buffered_bytes
            if self.bytes + count > limit:
                raise overload_error(
                    f"Too many bytes of requests in progress: the limit is {limit:,}", retry_after_s=self._wait_s()
                )
            self.bytes += count
            booked += count

        try:
            yield count_bytes
        finally:
            self.bytes -= booked

    def _update_pace(self, count: int) -> None:
        now = self._clock()
        if self._finished_at_s is not None and self.inputs:  # otherwise the interval includes idle time
            newest = (now - self._finished_at_s) / count
            self._seconds_per_input += SMOOTHING * (newest - self._seconds_per_input)
        self._finished_at_s = now

    def _wait_s(self) -> float:
        """Estimated time until half of the inputs in progress are embedded."""
        # Half, not all: the queue has room as soon as some of it is done, and clients come back at different times.
        return min(MAX_RETRY_AFTER_S, self.inputs * self._seconds_per_input / 2)
