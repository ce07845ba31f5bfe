"""One batch on its way: what may start, what came back, when to stop. The same for threads and for tasks."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias

from ...errors import JinaClipError
from ..base import BatchResult
from .batching import RequestBatcher
from .drive import Stopped, StopSignal
from .flow import Outcome
from .limits import Limits
from .requests import RequestBatch

GRACE_S = 10.0
"""After a failure, requests that are on the wire have this long to come back, since they are paid for."""


Pending: TypeAlias = Any
"""A `concurrent.futures.Future` or an `asyncio.Task`: something with a `result()`."""


class Job:
    """Keeps as many pieces in flight as the gate is wide, and the next ones prepared."""

    def __init__(self, supply: RequestBatcher, limits: Limits) -> None:
        self.halt = StopSignal()
        self.failure: JinaClipError | None = None
        self.running: set[Pending] = set()
        self._supply = supply
        self._limits = limits
        self._ready: deque[RequestBatch] = deque()
        self._lock = threading.Lock()
        self._preparing: Pending | None = None
        self._give_up_at: float | None = None

    def prepare(self) -> None:
        """Make pieces ready: one of images, as many of texts as may be in flight. Blocks; one thread at a time."""
        wanted = 1 if self._supply.order.modality == "image" else self._limits.gate.width
        while self.failure is None and len(self._ready) < wanted:
            try:
                piece = self._supply.take()
            except JinaClipError as error:
                self.fail(error)
                return
            if piece is None:
                return
            self._ready.append(piece)

    def only_piece(self) -> RequestBatch | None:
        """The ready piece if it is the whole rest of the batch, so that no thread is needed for it."""
        return self._ready.popleft() if self._supply.exhausted and len(self._ready) == 1 else None

    def launch(self, start: Callable[[RequestBatch], Pending], prepare: Callable[[], Pending]) -> bool:
        """Start what may be started. False if there is nothing left to wait for."""
        while self.failure is None and self._ready and len(self._pieces()) < self._limits.gate.width:
            self.running.add(start(self._fitting(self._ready.popleft())))
        if self.failure is None and self._preparing is None and not self._ready and not self._supply.exhausted:
            self._preparing = prepare()
            self.running.add(self._preparing)
        if self.failure is not None and self._preparing is not None:
            self.running.discard(self._preparing)  # what it prepares is not sent any more
            self._preparing = None
        return bool(self.running) and (self.patience is None or self.patience > 0)

    @property
    def patience(self) -> float | None:
        """Seconds that may still be waited; None = however long it takes."""
        return None if self._give_up_at is None else self._give_up_at - time.monotonic()

    def settle(self, done: Iterable[Pending]) -> Iterator[BatchResult]:
        """Take what came back: results to yield, pieces to send instead, a failure that ends the job."""
        for pending in done:
            self.running.discard(pending)
            if pending is self._preparing:
                self._preparing = None
            yield from self.absorb(pending.result)
        yield from self._unprepared()

    def absorb(self, result: Callable[[], Outcome | None]) -> Iterator[BatchResult]:
        """What one piece came to. An error of ours becomes the job's failure, any other is raised."""
        try:
            outcome = result()
        except Stopped:
            return
        except JinaClipError as error:
            self.fail(error)
            return
        if outcome is None:
            return
        self._ready.extendleft(reversed(outcome.pieces))
        if outcome.result is not None:
            yield outcome.result

    def fail(self, error: JinaClipError) -> None:
        """End the job: nothing new starts, waits end, what is on the wire may come back for a while."""
        with self._lock:
            if self.failure is not None:
                return
            self.failure = error
            self._give_up_at = time.monotonic() + GRACE_S
        self.halt.stop()

    def finish(self) -> Iterator[BatchResult]:
        """The last results. Raises the failure, if there was one."""
        yield from self._unprepared()
        if self.failure is not None:
            raise self.failure

    def close(self) -> None:
        """Wake and end whatever is still waiting."""
        self.halt.stop()
        self._supply.close()

    def _pieces(self) -> set[Pending]:
        return self.running - {self._preparing} if self._preparing is not None else self.running

    def _fitting(self, piece: RequestBatch) -> RequestBatch:
        """The piece, or its head if the service turned out to take fewer items than it has."""
        cap = self._limits.item_cap
        if cap is None or len(piece.parcels) <= cap:
            return piece
        head, *rest = piece.cut(cap)
        self._ready.extendleft(reversed(rest))
        return head

    def _unprepared(self) -> Iterator[BatchResult]:
        errors = self._supply.errors
        if errors and self._preparing is None:
            self._supply.errors = {}
            yield BatchResult(self._supply.order.no_rows(), (), errors)
