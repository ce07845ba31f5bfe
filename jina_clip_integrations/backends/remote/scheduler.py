"""A batch of many requests on its way: what may start, what came back, when to stop. The same for threads and tasks."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias

from ...concurrency.waits import Stopped, StopSignal
from ...errors import JinaClipError
from ..base import BatchResult
from .flow import Outcome
from .limits import Limits
from .requests import RequestBatch, RequestBatcher

GRACE_S = 10.0
"""After a failure, requests that are on the wire have this long to come back, since they are paid for."""


Pending: TypeAlias = Any
"""A `concurrent.futures.Future` or an `asyncio.Task`: something with a `result()`."""


class Scheduler:
    """Keeps as many requests in flight as the limits allow, and the next ones encoded."""

    def __init__(self, batcher: RequestBatcher, limits: Limits) -> None:
        self.stop_signal = StopSignal()
        self.failure: JinaClipError | None = None
        self.running: set[Pending] = set()
        self._batcher = batcher
        self._limits = limits
        self._ready: deque[RequestBatch] = deque()
        self._lock = threading.Lock()
        self._encoding: Pending | None = None
        self._give_up_at: float | None = None

    def add(self, batches: Iterable[RequestBatch]) -> None:
        """Send these before anything else."""
        self._ready.extendleft(reversed(tuple(batches)))

    def encode(self) -> None:
        """Make requests ready: one of images, as many of texts as may be in flight. Blocks; one thread at a time."""
        wanted = 1 if self._batcher.template.modality == "image" else self._limits.concurrency.limit
        while self.failure is None and len(self._ready) < wanted:
            try:
                batch = self._batcher.take()
            except JinaClipError as error:
                self.fail(error)
                return
            if batch is None:
                return
            self._ready.append(batch)

    def launch(self, start: Callable[[RequestBatch], Pending], encode: Callable[[], Pending]) -> bool:
        """Start what may be started. False if there is nothing left to wait for."""
        while self.failure is None and self._ready and len(self._requests()) < self._limits.concurrency.limit:
            self.running.add(start(self._fit(self._ready.popleft())))
        if self.failure is None and self._encoding is None and not self._ready and not self._batcher.exhausted:
            self._encoding = encode()
            self.running.add(self._encoding)
        if self.failure is not None and self._encoding is not None:
            self.running.discard(self._encoding)  # what it encodes is not sent any more
            self._encoding = None
        return bool(self.running) and (self.patience_s is None or self.patience_s > 0)

    @property
    def patience_s(self) -> float | None:
        """Seconds that may still be waited; None = however long it takes."""
        return None if self._give_up_at is None else self._give_up_at - time.monotonic()

    def settle(self, done: Iterable[Pending]) -> Iterator[BatchResult]:
        """Take what came back: results to yield, batches to send instead, a failure that ends it all."""
        for pending in done:
            self.running.discard(pending)
            if pending is self._encoding:
                self._encoding = None
            yield from self.absorb(pending.result)
        if self._encoding is None:
            yield from self._report_failed_items()

    def absorb(self, result: Callable[[], Outcome | None]) -> Iterator[BatchResult]:
        """What one request came to. An error of ours becomes the scheduler's failure, any other is raised."""
        try:
            outcome = result()
        except Stopped:
            return
        except JinaClipError as error:
            self.fail(error)
            return
        if outcome is None:
            return
        self.add(outcome.batches)
        if outcome.result is not None:
            yield outcome.result

    def fail(self, error: JinaClipError) -> None:
        """Nothing new starts, waits end, what is on the wire may come back for a while."""
        with self._lock:
            if self.failure is not None:
                return
            self.failure = error
            self._give_up_at = time.monotonic() + GRACE_S
        self.stop_signal.stop()

    def finish(self) -> Iterator[BatchResult]:
        """The last results. Raises the failure, if there was one."""
        if self._encoding is None:
            yield from self._report_failed_items()
        if self.failure is not None:
            raise self.failure

    def close(self) -> None:
        """Wake and end whatever is still waiting."""
        self.stop_signal.stop()
        self._batcher.close()

    def _requests(self) -> set[Pending]:
        return self.running - {self._encoding} if self._encoding is not None else self.running

    def _fit(self, batch: RequestBatch) -> RequestBatch:
        """The batch, or its head if the service turned out to take fewer items than it has."""
        cap = self._limits.item_cap
        if cap is None or len(batch.items) <= cap:
            return batch
        head, *rest = batch.cut(cap)
        self.add(rest)
        return head

    def _report_failed_items(self) -> Iterator[BatchResult]:
        if errors := self._batcher.take_errors():
            yield BatchResult(self._batcher.template.no_rows(), (), errors)
