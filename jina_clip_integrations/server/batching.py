"""Dynamic batching: inputs of many requests gathered into few calls of the backend.

Inputs of one kind and task wait in a lane. A lane is due when it can fill a batch or its oldest input has waited long
enough; the lane that was served longest ago goes first, and within a lane the requests alternate, so that no request
waits behind the thousand images of another. A call that fails is repeated in halves until the request at fault is
alone, so a bad input never costs another client its response.
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
"""What a smaller batch would not cure."""


class Kind(NamedTuple):
    """What inputs must have in common to share a batch."""

    modality: Modality
    task: str | None = None


Outcome: TypeAlias = "tuple[Vectors, Mapping[int, Exception]]"
"""Full-width rows `(n, D)`, and what is wrong with the positions that have none."""

Embed: TypeAlias = "Callable[[Kind, Sequence[Any]], Awaitable[Outcome]]"


class InputFailedError(Exception):
    """An input of a job that could not be embedded; the cause says why."""

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
        """Whether nobody needs its rows any more: answered, failed or given up."""
        return self.rows_ready.done()

    @property
    def waiting(self) -> int:
        """Inputs that are in no batch yet."""
        return 0 if self.is_settled else len(self.inputs) - self.handed_out

    def put(self, position: int, row: Vectors) -> None:
        """The row `(D,)` of one input; the last one answers the job."""
        if self.is_settled:
            return
        if self.rows is None:
            self.rows = np.empty((len(self.inputs), len(row)), np.float32)
        self.rows[position] = row
        self.finished += 1
        if self.finished == len(self.inputs):
            self.rows_ready.set_result(self.rows)

    def fail(self, error: BaseException) -> None:
        """End it with an error."""
        if not self.is_settled:
            self.rows_ready.set_exception(error)


Place: TypeAlias = "tuple[Job, int]"
"""An input in a batch: its job, and its position there."""


@dataclass
class Lane:
    """What waits of one kind."""

    kind: Kind
    jobs: deque[Job] = field(default_factory=deque)
    running: int = 0
    served: int = 0
    """When it was last served, as a count of batches."""

    def drop_settled_jobs(self) -> None:
        """Forget jobs that have nothing waiting."""
        if any(not job.waiting for job in self.jobs):
            self.jobs = deque(job for job in self.jobs if job.waiting)

    @property
    def waiting(self) -> int:
        """Inputs that are in no batch yet."""
        return sum(job.waiting for job in self.jobs)

    @property
    def oldest_s(self) -> float:
        """When the input that has waited longest came."""
        return min(job.since_s for job in self.jobs)

    def take(self, max_inputs: int) -> list[Place]:
        """Inputs for one batch, one from each job in turn."""
        taken: list[Place] = []
        while self.jobs and len(taken) < max_inputs:
            job = self.jobs.popleft()
            if job.waiting:
                taken.append((job, job.handed_out))
                job.handed_out += 1
            if job.waiting:
                self.jobs.append(job)
        return taken


class Batcher:
    """Gathers inputs for `embed`. Belongs to one event loop; starts by itself with the first input."""

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
        """`on_batch` is told of every call that went well: kind, inputs, seconds; `on_failure` of every other."""
        self._embed = embed
        self._max_batch = max_batch
        self._wait_s = wait_s
        self._max_running = max_running
        self._on_batch = on_batch
        self._on_failure = on_failure
        self._lanes: dict[Kind, Lane] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._batches = 0
        self._closed = False

    @property
    def waiting(self) -> int:
        """Inputs that are in no batch yet."""
        return sum(lane.waiting for lane in self._lanes.values())

    async def embed(self, kind: Kind, inputs: Sequence[Any]) -> Vectors:
        """Full-width rows `(n, D)` of `inputs`, in order. Cancelling gives the places up.

        Raises `InputFailedError` for an input that cannot be embedded, and whatever a call of the backend raised.
        """
        if self._closed:
            raise RuntimeError("the batcher is closed")
        loop = asyncio.get_running_loop()
        job = Job(inputs, loop.time(), loop.create_future())
        self._lanes.setdefault(kind, Lane(kind)).jobs.append(job)
        self._pump()
        try:
            return await job.rows_ready
        finally:
            job.rows_ready.cancel()
            self._lanes[kind].drop_settled_jobs()

    async def close(self) -> None:
        """Finish the jobs that were accepted, then refuse new ones. Idempotent."""
        self._closed = True
        self._pump()
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _pump(self) -> None:
        """Start every batch that may start now, and wake up for the next that will be due."""
        while len(self._tasks) < self._max_running and (lane := self._next_lane()) is not None:
            self._start(lane)
        self._set_timer()

    def _next_lane(self) -> Lane | None:
        ready = [lane for lane in self._lanes.values() if self._may_start(lane)]
        return min(ready, key=lambda lane: lane.served, default=None)

    def _may_start(self, lane: Lane) -> bool:
        waiting = lane.waiting
        if waiting >= self._max_batch:
            return True
        return waiting > 0 and not lane.running and self._due_in_s(lane) <= 0

    def _due_in_s(self, lane: Lane) -> float:
        if self._closed or not self._wait_s:
            return 0.0
        return lane.oldest_s + self._wait_s - asyncio.get_running_loop().time()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if len(self._tasks) >= self._max_running:
            return  # the end of a batch will call again
        waits = [self._due_in_s(lane) for lane in self._lanes.values() if lane.waiting and not lane.running]
        if waits:
            self._timer = asyncio.get_running_loop().call_later(max(0.0, min(waits)), self._pump)

    def _start(self, lane: Lane) -> None:
        self._batches += 1
        lane.served = self._batches
        lane.running += 1
        task = asyncio.get_running_loop().create_task(self._run(lane, lane.take(self._max_batch)))
        self._tasks.add(task)
        task.add_done_callback(lambda done: self._finish(lane, done))

    def _finish(self, lane: Lane, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        lane.running -= 1
        if not task.cancelled():
            task.exception()  # a job's future carries it
        self._pump()

    async def _run(self, lane: Lane, admission: list[Place]) -> None:
        try:
            await self._compute(lane.kind, admission)
        except BaseException as error:  # a job that never settles would hang its client until the timeout
            for job, _ in admission:
                job.fail(error if isinstance(error, Exception) else RuntimeError("the server stopped"))
            raise

    async def _compute(self, kind: Kind, admission: list[Place]) -> None:
        admission = [(job, position) for job, position in admission if not job.is_settled]
        if not admission:
            return
        loop = asyncio.get_running_loop()
        started_s = loop.time()
        try:
            rows, errors = await self._embed(kind, [job.inputs[position] for job, position in admission])
        except Exception as error:
            if self._on_failure is not None:
                self._on_failure(error)
            await self._narrow_down(kind, admission, error)
            return
        if self._on_batch is not None:
            self._on_batch(kind, len(admission), loop.time() - started_s)
        for place, (job, position) in enumerate(admission):
            if place in errors:
                job.fail(_input_failure(position, errors[place]))
            else:
                job.put(position, rows[place])

    async def _narrow_down(self, kind: Kind, admission: list[Place], error: Exception) -> None:
        """After a failed call: the request at fault gets its error, the others are computed without it."""
        jobs = list(dict.fromkeys(job for job, _ in admission))
        if len(jobs) == 1 or isinstance(error, FATAL):
            for job in jobs:
                job.fail(_name_input(admission, error) if len(jobs) == 1 else error)
            return
        for half in map(set, halve(jobs)):
            await self._compute(kind, [place for place in admission if place[0] in half])


def _name_input(admission: Sequence[Place], error: Exception) -> Exception:
    """`error` as that of an input, where it names one of this batch."""
    if isinstance(error, InputError) and error.index is not None and 0 <= error.index < len(admission):
        return _input_failure(admission[error.index][1], error)
    return error


def _input_failure(position: int, error: Exception) -> InputFailedError:
    failed = InputFailedError(position)
    failed.__cause__ = error
    return failed
