"""What a call of the encoder waits for: files that are read, and the backend. Each step can block or be awaited."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import aclosing, closing, contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from ..backends.base import DEFAULT_BATCH_SIZE, Batch, BatchResult
from ..concurrency.loops import run_in_background_loop
from ..concurrency.threads import submit
from ..errors import ApiError, BackendError, InputError

READERS = 8
"""Threads that read, fetch and hash images while the backend computes."""

T = TypeVar("T")


class Workers:
    """The threads of one call. Without `threads` everything runs in the caller's own."""

    def __init__(self, *, threads: bool) -> None:
        self._readers = ThreadPoolExecutor(READERS, "jina-clip-reader") if threads else None
        self._helper = ThreadPoolExecutor(1, "jina-clip-helper") if threads else None

    def read(self, work: Callable[..., T], *args: Any) -> Future[T]:
        """Start `work` in one of the `READERS` threads."""
        return _submit(self._readers, work, *args)

    def help(self, work: Callable[..., T], *args: Any) -> Future[T]:
        """Start `work` in a thread of its own, where no queue of images is ahead of it."""
        return _submit(self._helper, work, *args)

    def close(self) -> None:
        """Drop what has not started. Does not wait for what has."""
        for pool in (self._readers, self._helper):
            if pool is not None:
                pool.shutdown(wait=False, cancel_futures=True)


def _submit(pool: ThreadPoolExecutor | None, work: Callable[..., T], *args: Any) -> Future[T]:
    if pool is not None:
        return submit(pool, contextvars.copy_context().run, work, *args)  # tracers find the caller's span
    try:
        return completed_future(work(*args))
    except Exception as error:  # not KeyboardInterrupt, which is meant for this very thread
        failed: Future[T] = Future()
        failed.set_exception(error)
        return failed


def completed_future(value: T) -> Future[T]:
    """A future that is done."""
    future: Future[T] = Future()
    future.set_result(value)
    return future


@dataclass(frozen=True)
class WaitAll:
    """Wait until every future is done. Errors are raised where their results are read."""

    futures: Sequence[Future[Any]]

    def perform(self) -> None:
        """Wait in this thread."""
        concurrent.futures.wait(self.futures)

    async def aperform(self) -> None:
        """Wait without blocking the event loop."""
        pending = [asyncio.wrap_future(future) for future in self.futures if not future.done()]
        await asyncio.gather(*pending, return_exceptions=True)


@dataclass(frozen=True)
class Embed:
    """Have `backend` embed `batch`, and call `accept` with every result as soon as it is there."""

    backend: Any
    batch: Batch
    accept: Callable[[BatchResult], None]
    workers: Workers
    accept_blocks: bool
    """Whether `accept` may take long (it writes a cache), so that it must not run in the event loop."""

    def perform(self) -> None:
        """Wait in this thread; a backend that can only be awaited runs on the background loop."""
        # Never `asyncio.run`, which fails where a loop is running already, as in every notebook.
        if not _has(self.backend, "stream", "embed"):
            run_in_background_loop(self.aperform)
            return
        self._consume(threading.Event())

    async def aperform(self) -> None:
        """Wait without blocking the event loop; a backend that can only block runs on the helper thread."""
        if not _has(self.backend, "astream", "aembed"):
            await self._consume_in_thread()
            return
        async with aclosing(_aresults(self.backend, self.batch)) as results:
            async for result in results:
                if self.accept_blocks:
                    await asyncio.wrap_future(self.workers.help(self.accept, result))
                else:
                    self.accept(result)

    def _consume(self, stop: threading.Event) -> None:
        # Closed at once, not when it is collected: closing is what cancels the backend's other requests.
        with closing(_results(self.backend, self.batch)) as results:
            for result in results:
                self.accept(result)
                if stop.is_set():
                    return

    async def _consume_in_thread(self) -> None:
        stop = threading.Event()
        try:
            await asyncio.wrap_future(self.workers.help(self._consume, stop))
        finally:
            stop.set()  # a cancellation cannot end a thread; it ends itself after the result in hand


def _has(backend: Any, *names: str) -> bool:
    return any(callable(getattr(backend, name, None)) for name in names)


def _results(backend: Any, batch: Batch) -> Generator[BatchResult, None, None]:
    if not _has(backend, "stream"):
        for start, part in _split(backend, batch):
            with _counting_from(start):
                result = _check_type(backend.embed(part), backend)
            yield _shift(result, start, part)
        return
    stream: Iterator[BatchResult] = backend.stream(batch)
    try:
        for result in stream:
            yield _check_type(result, backend)
    finally:
        if hasattr(stream, "close"):
            stream.close()


async def _aresults(backend: Any, batch: Batch) -> AsyncGenerator[BatchResult, None]:
    if not _has(backend, "astream"):
        for start, part in _split(backend, batch):
            with _counting_from(start):
                result = _check_type(await backend.aembed(part), backend)
            yield _shift(result, start, part)
        return
    stream: AsyncIterator[BatchResult] = backend.astream(batch)
    try:
        async for result in stream:
            yield _check_type(result, backend)
    finally:
        if hasattr(stream, "aclose"):
            await stream.aclose()


def _split(backend: Any, batch: Batch) -> Iterator[tuple[int, Batch]]:
    """Slices of a batch for a backend that takes at most `batch_size` items, each with its first position."""
    size = getattr(backend, "batch_size", None)
    size = size if isinstance(size, int) and size > 0 else DEFAULT_BATCH_SIZE
    if len(batch) <= size:
        yield 0, batch
        return
    for start in range(0, len(batch), size):
        yield start, batch.take(range(start, min(start + size, len(batch))))


@contextmanager
def _counting_from(start: int) -> Iterator[None]:
    """Shift the positions that an error names from a slice to the whole batch."""
    try:
        yield
    except InputError as error:
        if error.index is not None:
            error.index += start
        raise
    except ApiError as error:
        error.positions = tuple(position + start for position in error.positions)
        raise


def _check_type(result: Any, backend: Any) -> BatchResult:
    if not isinstance(result, BatchResult):
        raise BackendError(
            f"{type(backend).__name__} must answer with a BatchResult, not {type(result).__name__}; "
            "wrap the rows: BatchResult(vectors)"
        )
    return result


def _shift(result: BatchResult, start: int, part: Batch) -> BatchResult:
    """The result of a slice with positions in the whole batch; every item of the slice must be accounted for."""
    positions = range(len(result.vectors)) if result.positions is None else result.positions
    # A backend without `stream` has no later result that could bring what is missing here.
    if len(positions) + len(result.errors) != len(part):
        raise BackendError(f"the backend answered {len(positions)} vectors for {len(part)} inputs")
    if start == 0:
        return result
    errors = {position + start: error for position, error in result.errors.items()}
    return replace(result, positions=[position + start for position in positions], errors=errors)
