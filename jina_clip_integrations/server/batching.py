"""Dynamic batching: inputs of many requests gathered into few calls of the backend.

Inputs of one kind and task share a queue. A queue is due when it can fill a batch or its oldest input has waited long
enough. Both levels are scheduled round-robin: the queue served longest ago goes first, and within a queue requests
alternate, so no request waits behind the thousand images of another. A call that fails is repeated in halves until the
request at fault is isolated, so a bad input never costs another client its response.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from ..concurrency.isolation import halve
from ..errors import CheckpointError, ConfigurationError, InputError
from ..types import Modality, Vectors

FATAL = (CheckpointError, ConfigurationError, ImportError)
"""Failures that a smaller batch would repeat, so nothing is gained by isolating an input."""


class Kind(NamedTuple):
    """What inputs must have in common to share a batch. The backend takes one modality and one task per call."""

    modality: Modality
    task: str | None = None


EmbedResult: TypeAlias = "tuple[Vectors, Mapping[int, Exception]]"
"""Full-width rows `(n, D)`, and the errors of the positions that have none."""

Embed: TypeAlias = "Callable[[Kind, Sequence[Any]], Awaitable[EmbedResult]]"


class InputFailedError(Exception):
    """An input of a job could not be embedded; `__cause__` is the reason."""

    def __init__(self, position: int) -> None:
        super().__init__(position)
        self.position = position


@dataclass(eq=False)
class Job:
    """The inputs of one kind in one request."""

    inputs: Sequence[Any]
    since_s: float
    rows_ready: asyncio.Future[Vectors]
    handed_out: int = 0
    finished: int = 0
    rows: Vectors | None = None

    @property
    def is_settled(self) -> bool:
        """Whether nobody waits for its rows any more: completed, failed or cancelled."""
        return self.rows_ready.done()

    @property
    def waiting(self) -> int:
        """Inputs that are in no batch yet."""
        return 0 if self.is_settled else len(self.inputs) - self.handed_out

    def set_row(self, position: int, row: Vectors) -> None:
        """Store the row `(D,)` of one input; the last one completes the job."""
        if self.is_settled:
            return
        if self.rows is None:  # the width is known with the first row
            self.rows = np.empty((len(self.inputs), len(row)), np.float32)
        self.rows[position] = row
        self.finished += 1
        if self.finished == len(self.inputs):
            self.rows_ready.set_result(self.rows)

    def fail(self, error: BaseException) -> None:
        """Complete the job with an error."""
        if not self.is_settled:
            self.rows_ready.set_exception(error)


Entry: TypeAlias = "tuple[Job, int]"
"""An input in a batch: its job, and its position in that job."""


@dataclass
class KindQueue:
    """The jobs of one kind that have inputs waiting."""

    kind: Kind
    jobs: deque[Job] = field(default_factory=deque)
    running: int = 0
    served: int = 0
    """Number of the batch that was last taken from it; the smallest is served next."""

    def drop_settled_jobs(self) -> None:
        """Remove jobs that have nothing waiting."""
        if any(not job.waiting for job in self.jobs):
            self.jobs = deque(job for job in self.jobs if job.waiting)

    @property
    def waiting(self) -> int:
        """Inputs that are in no batch yet."""
        return sum(job.waiting for job in self.jobs)

    @property
    def oldest_s(self) -> float:
        """When the input that has waited longest arrived, on the event loop's clock."""
        return min(job.since_s for job in self.jobs)

    def take(self, max_inputs: int) -> list[Entry]:
        """Remove the inputs for one batch, one from each job in turn."""
        taken: list[Entry] = []
        while self.jobs and len(taken) < max_inputs:
            job = self.jobs.popleft()
            if job.waiting:
                taken.append((job, job.handed_out))
                job.handed_out += 1
            if job.waiting:
                self.jobs.append(job)
        return taken


class Batcher:
    """Gathers inputs for `embed`. Belongs to one event loop; needs no start, only `close`."""

    def __init__(
        self,
        embed: Embed,
        *,
        max_batch: int,
        wait_s: float,
        max_running: int,
        on_batch: Callable[[Kind, int, float], None] | None = None,
        on_failure: Callable[[Exception], None] | None = None,
    ) -> None:
        """`on_batch(kind, inputs, seconds)` is called after every successful call, `on_failure(error)` after others."""
        self._embed = embed
        self._max_batch = max_batch
        self._wait_s = wait_s
        self._max_running = max_running
        self._on_batch = on_batch
        self._on_failure = on_failure
        self._queues: dict[Kind, KindQueue] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._batches = 0
        self._closed = False

    @property
    def waiting(self) -> int:
        """Inputs that are in no batch yet."""
        return sum(queue.waiting for queue in self._queues.values())

    async def embed(self, kind: Kind, inputs: Sequence[Any]) -> Vectors:
        """Full-width rows `(n, D)` of `inputs`, in order. Cancelling removes the inputs that still wait.

        Raises `InputFailedError` for an input that cannot be embedded, and whatever a call of the backend raised.
        """
        if self._closed:
            raise RuntimeError("the batcher is closed")
        loop = asyncio.get_running_loop()
        job = Job(inputs, loop.time(), loop.create_future())
        self._queues.setdefault(kind, KindQueue(kind)).jobs.append(job)
        self._dispatch()
        try:
            return await job.rows_ready
        finally:
            job.rows_ready.cancel()  # marks a cancelled job as settled; no effect on a completed one
            self._queues[kind].drop_settled_jobs()

    async def close(self) -> None:
        """Refuse new jobs and finish those that were accepted. Idempotent."""
        self._closed = True
        self._dispatch()
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _dispatch(self) -> None:
        """Start every batch that may start now, and set the timer for the next one."""
        while len(self._tasks) < self._max_running and (queue := self._next_queue()) is not None:
            self._start(queue)
        self._set_timer()

    def _next_queue(self) -> KindQueue | None:
        ready = [queue for queue in self._queues.values() if self._may_start(queue)]
        return min(ready, key=lambda queue: queue.served, default=None)

    def _may_start(self, queue: KindQueue) -> bool:
        waiting = queue.waiting
        if waiting >= self._max_batch:  # a full batch gains nothing by waiting
            return True
        # A partial batch waits for the one that runs: meanwhile it fills, at no cost in latency.
        return waiting > 0 and not queue.running and self._due_in_s(queue) <= 0

    def _due_in_s(self, queue: KindQueue) -> float:
        if self._closed or not self._wait_s:
            return 0.0
        return queue.oldest_s + self._wait_s - asyncio.get_running_loop().time()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if len(self._tasks) >= self._max_running:
            return  # the end of a batch dispatches again
        waits = [self._due_in_s(queue) for queue in self._queues.values() if queue.waiting and not queue.running]
        if waits:
            self._timer = asyncio.get_running_loop().call_later(max(0.0, min(waits)), self._dispatch)

    def _start(self, queue: KindQueue) -> None:
        self._batches += 1
        queue.served = self._batches
        queue.running += 1
        task = asyncio.get_running_loop().create_task(self._run(queue, queue.take(self._max_batch)))
        self._tasks.add(task)
        # Not at the end of `_run`: until the task is done it counts against `max_running`.
        task.add_done_callback(lambda done: self._finish(queue, done))

    def _finish(self, queue: KindQueue, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        queue.running -= 1
        if not task.cancelled():
            task.exception()  # retrieved, so that asyncio does not log it; the jobs' futures carry it
        self._dispatch()

    async def _run(self, queue: KindQueue, entries: list[Entry]) -> None:
        try:
            await self._compute(queue.kind, entries)
        except BaseException as error:  # a job that never settles would hang its client until the timeout
            for job, _ in entries:
                job.fail(error if isinstance(error, Exception) else RuntimeError("the server stopped"))
            raise

    async def _compute(self, kind: Kind, entries: list[Entry]) -> None:
        # Clients may have disconnected while the batch waited, or since the call that failed.
        entries = [(job, position) for job, position in entries if not job.is_settled]
        if not entries:
            return
        loop = asyncio.get_running_loop()
        started_s = loop.time()
        try:
            rows, errors = await self._embed(kind, [job.inputs[position] for job, position in entries])
        except Exception as error:
            if self._on_failure is not None:
                self._on_failure(error)
            await self._isolate_failure(kind, entries, error)
            return
        if self._on_batch is not None:
            self._on_batch(kind, len(entries), loop.time() - started_s)
        _distribute(entries, rows, errors)

    async def _isolate_failure(self, kind: Kind, entries: list[Entry], error: Exception) -> None:
        """After a failed call: the request at fault gets its error, the others are computed without it."""
        # By request, not by input: the first input at fault ends its request anyway.
        jobs = list(dict.fromkeys(job for job, _ in entries))
        if len(jobs) == 1 or isinstance(error, FATAL):
            for job in jobs:
                job.fail(_attribute(entries, error) if len(jobs) == 1 else error)
            return
        for half in map(set, halve(jobs)):
            await self._compute(kind, [entry for entry in entries if entry[0] in half])


def _distribute(entries: Sequence[Entry], rows: Vectors, errors: Mapping[int, Exception]) -> None:
    """Hand the rows `(n, D)` of a batch and its errors to the jobs of its inputs."""
    for index, (job, position) in enumerate(entries):
        if index in errors:
            job.fail(_input_failure(position, errors[index]))
        else:
            job.set_row(position, rows[index])


def _attribute(entries: Sequence[Entry], error: Exception) -> Exception:
    """`error` as the failure of one input where it names one of this batch; otherwise as it is."""
    if isinstance(error, InputError) and error.index is not None and 0 <= error.index < len(entries):
        return _input_failure(entries[error.index][1], error)
    return error


def _input_failure(position: int, error: Exception) -> InputFailedError:
    failed = InputFailedError(position)
    failed.__cause__ = error
    return failed
