"""How many calls are answered: so many a minute, so many at a time."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..errors import BackendError
from .settings import McpSettings

MINUTE_S = 60.0


class CallLimits:
    """Counts the calls of all clients of a server. Thread-safe."""

    def __init__(self, settings: McpSettings, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._lock = threading.Lock()
        self._calls: deque[float] = deque()
        self._admitted = 0
        self._running = threading.BoundedSemaphore(settings.max_running)

    def count(self) -> None:
        """Count a call. Raises `BackendError` for one too many within a minute, which is not counted."""
        with self._lock:
            now = self._clock()
            while self._calls and self._calls[0] <= now - MINUTE_S:
                self._calls.popleft()
            if len(self._calls) >= self._settings.max_calls_per_minute:
                wait_s = self._calls[0] + MINUTE_S - now
                raise BackendError(
                    f"more than {self._settings.max_calls_per_minute} calls within a minute; "
                    f"ask again in {max(1, round(wait_s))} s, and for more results per call (top)"
                )
            self._calls.append(now)

    @contextmanager
    def one_call(self) -> Iterator[None]:
        """Work on a call as soon as fewer than `max_running` are worked on. Blocks the thread, never the event loop.

        Raises `BackendError` if too many wait already.
        """
        self._enter()
        try:
            with self._running:
                yield
        finally:
            with self._lock:
                self._admitted -= 1

    def _enter(self) -> None:
        with self._lock:
            if self._admitted >= self._settings.max_running + self._settings.max_waiting:
                raise BackendError(f"{self._admitted} calls are being worked on; ask again when some are answered")
            self._admitted += 1
