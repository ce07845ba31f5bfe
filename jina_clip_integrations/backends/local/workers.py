"""The threads of a local backend: one per device that computes, a few that decode pictures."""

from __future__ import annotations

import os
import queue
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from ...errors import JinaClipError
from ...settings import LocalSettings
from ...types import Vectors
from ..base import BatchResult, Picture, Usage
from .devices import DeviceChoice
from .engine import Engine
from .preparation import Preparation, Prepared

BATCHES_AHEAD = 2
"""Batches that wait for each device, so that it never idles and memory stays bounded."""

MOST_DECODERS = 16
"""Threads that decode pictures where `num_workers="auto"`, at most."""


@dataclass(frozen=True)
class Work:
    """One forward pass: rows for these positions of the batch, and what it costs."""

    positions: list[int]
    compute: Callable[[Engine], Vectors] | None
    tokens: int = 0
    errors: Mapping[int, JinaClipError] = field(default_factory=dict)


class Workers:
    """Loaded engines and their threads. Several callers may run work at the same time."""

    def __init__(self, folder: Path, choices: list[DeviceChoice], settings: LocalSettings) -> None:
        self.preparation = Preparation(folder, max_length=settings.max_length)
        engines = [
            Engine(folder, choice, attn_implementation=settings.attn_implementation, compile=settings.compile)
            for choice in choices
        ]
        self.kind = engines[0].device.type
        self.patches = engines[0].patches
        self._idle: queue.SimpleQueue[Engine] = queue.SimpleQueue()
        for engine in engines:
            self._idle.put(engine)
        self._ahead = BATCHES_AHEAD * len(engines)
        self._computing = ThreadPoolExecutor(len(engines), thread_name_prefix="jina-clip-device")
        self._decoding = ThreadPoolExecutor(_decoders(settings.num_workers), thread_name_prefix="jina-clip-decode")

    def run(self, works: Iterator[Work]) -> Generator[BatchResult, None, None]:
        """Compute every piece of work and yield its rows, in the order of the work.

        When `works` itself fails, what was already handed out is still computed and yielded before the error goes on.
        """
        pending: deque[tuple[Work, Future[BatchResult]]] = deque()
        failure: JinaClipError | None = None
        try:
            while failure is None:
                try:
                    work = next(works, None)
                except JinaClipError as error:
                    failure = error
                    break
                if work is None:
                    break
                pending.append((work, self._computing.submit(self._compute, work)))
                while len(pending) > self._ahead:
                    yield pending.popleft()[1].result()
            while pending:
                yield pending.popleft()[1].result()
        finally:
            for _, future in pending:
                future.cancel()
        if failure is not None:
            raise failure

    def _compute(self, work: Work) -> BatchResult:
        engine = self._idle.get()
        try:
            vectors = engine.no_rows() if work.compute is None else work.compute(engine)
        finally:
            self._idle.put(engine)
        usage = Usage(total_tokens=work.tokens, requests=int(work.compute is not None), items=len(work.positions))
        return BatchResult(vectors, positions=work.positions, errors=work.errors, usage=usage)

    def prepare_pictures(self, pictures: Sequence[Picture], *, ahead: int) -> Generator[Prepared, None, None]:
        """Pictures decoded and resized in threads, in order, at most `ahead` of them waiting."""
        pending: deque[Future[Prepared]] = deque()
        try:
            for position, picture in enumerate(pictures):
                pending.append(self._decoding.submit(self.preparation.prepare, position, picture))
                if len(pending) >= ahead:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()

    def close(self) -> None:
        """End the threads after the work in hand."""
        self._decoding.shutdown(cancel_futures=True)
        self._computing.shutdown(cancel_futures=True)


def _decoders(num_workers: int | str) -> int:
    if isinstance(num_workers, int):
        return num_workers
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(count, MOST_DECODERS)
