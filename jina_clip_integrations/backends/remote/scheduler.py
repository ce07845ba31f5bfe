"""A batch of many requests: what may start, what came back, when to stop; sent from threads or from tasks.

`Scheduler` takes the decisions, which are the same for both; `run_in_threads` and `run_in_tasks` start and wait.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterable, Iterator
from dataclasses import replace
from typing import Any, TypeAlias

from ...concurrency.flow import adrive, drive
from ...concurrency.threads import DaemonThreadPool, in_thread
from ...concurrency.waits import Stopped, StopSignal
from ...errors import JinaClipError
from ..base import BatchResult
from .flow import Outcome, request_flow
from .limits import Limits
from .requests import RequestBatch, RequestBatcher
from .service import Service

GRACE_S = 10.0
"""How long requests under way may take after a failure: they are paid for, so their rows are worth waiting for."""


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
        """Encode requests: one of images, as many of texts as may be in flight. Blocks; one thread at a time."""
        # Texts are encoded in no time, so one visit to a thread does for many; a request of images is megabytes.
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
        # One encoder at a time, since the batcher is not thread-safe, and only when nothing is ready: so no more
        # requests lie encoded in memory than may soon be sent.
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
        if self._encoding is None:  # otherwise its thread may be writing them at this moment
            yield from self._report_failed_items()

    def absorb(self, result: Callable[[], Outcome | None]) -> Iterator[BatchResult]:
        """The outcome of one request. An error of ours becomes the scheduler's failure, any other is raised."""
        try:
            outcome = result()
        except Stopped:  # it had not been sent, and its items are missing because of the failure, which is raised
            return
        except JinaClipError as error:
            self.fail(error)
            return
        if outcome is None:  # `encode` returns nothing
            return
        self.add(outcome.batches)
        if outcome.result is not None:
            yield outcome.result

    def fail(self, error: JinaClipError) -> None:
        """Start nothing new and end all waits; requests under way have `GRACE_S` to finish."""
        with self._lock:  # `encode` fails in a thread of its own; the first failure is the one to raise
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
        head, *rest = batch.chunks(cap)
        self.add(rest)
        return replace(head, prior=batch.prior)

    def _report_failed_items(self) -> Iterator[BatchResult]:
        if errors := self._batcher.take_errors():
            yield BatchResult(self._batcher.template.no_rows(), (), errors)


def run_in_threads(
    batcher: RequestBatcher, service: Service, batches: tuple[RequestBatch, ...] = ()
) -> Generator[BatchResult, None, None]:
    """Send `batches` and what the batcher still has, each request in flight from a thread; yield results as they come.

    Closing the iterator cancels what has not started. Raises the first failure after everything finished was yielded.
    """
    scheduler = Scheduler(batcher, service.limits)
    scheduler.add(batches)
    pool = DaemonThreadPool("jina-clip-api")

    def start(batch: RequestBatch) -> Pending:
        return pool.submit(lambda: drive(request_flow(batch, service, scheduler.stop_signal)))

    def encode() -> Pending:
        return pool.submit(scheduler.encode)

    try:
        while scheduler.launch(start, encode):
            done, _ = concurrent.futures.wait(
                scheduler.running, scheduler.patience_s, concurrent.futures.FIRST_COMPLETED
            )
            yield from scheduler.settle(done)
        yield from scheduler.finish()
    finally:
        scheduler.close()
        pool.shutdown()


async def run_in_tasks(batcher: RequestBatcher, service: Service) -> AsyncGenerator[BatchResult, None]:
    """`run_in_threads` with a task for each request in flight; only encoding happens in a thread."""
    scheduler = Scheduler(batcher, service.limits)
    tasks: set[asyncio.Task[Any]] = set()

    def start(batch: RequestBatch) -> Pending:
        return start_task(adrive(request_flow(batch, service, scheduler.stop_signal)))

    def encode() -> Pending:
        return start_task(in_thread(scheduler.encode))

    def start_task(work: Coroutine[Any, Any, Any]) -> Pending:
        task = asyncio.ensure_future(work)
        tasks.add(task)
        return task

    try:
        while scheduler.launch(start, encode):
            done, _ = await asyncio.wait(tasks, timeout=scheduler.patience_s, return_when=asyncio.FIRST_COMPLETED)
            tasks -= done
            for result in scheduler.settle(done):
                yield result
        for result in scheduler.finish():
            yield result
    finally:
        scheduler.close()
        await _cancel(tasks)


async def _cancel(tasks: set[asyncio.Task[Any]]) -> None:
    """End the tasks and wait for that, so that every connection is given back before the caller goes on."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
