"""Threads that do not outlive the program, and work for threads where none can be started any more.

A request under way must not hold up a program that was interrupted: `concurrent.futures` waits for its threads at the
end of the process, which may take as long as a server's response. And once that end has begun, in exit handlers, pools
take no work and from Python 3.12 on no thread starts: the work is then done in the thread that asks for it.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Generator
from concurrent.futures import Executor, Future
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeAlias, TypeVar

from .loops import running_loop

T = TypeVar("T")

Task: TypeAlias = "tuple[Future[Any], Callable[[], Any]]"


def is_ending() -> bool:
    """Whether the interpreter is shutting down: exit handlers run, and no thread can be started for them."""
    return not threading.main_thread().is_alive()  # the first thing that an interpreter does at its end


def submit(pool: Executor, work: Callable[..., T], *args: Any) -> Future[T]:
    """Start `work` in a thread of `pool`; while the interpreter is ending do it here and now.

    Raises `RuntimeError` if `pool` was shut down.
    """
    if not is_ending():
        return pool.submit(work, *args)
    future: Future[T] = Future()
    _perform(future, partial(work, *args))
    return future


async def in_thread(work: Callable[..., T], *args: Any) -> T:
    """`work(*args)` in a thread of the running loop, in the caller's context. Cancelling does not end the thread.

    Raises `ConfigurationError` without an asyncio loop.
    """
    loop = running_loop()
    if is_ending():
        return work(*args)  # blocks a loop that has nothing else to do
    return await loop.run_in_executor(None, partial(contextvars.copy_context().run, work, *args))


class ThreadStepped(Generic[T]):
    """A generator that threads advance, one step at a time, and that may be closed while one of them is inside."""

    def __init__(self, generator: Generator[T, None, None]) -> None:
        self._generator = generator
        self._inside = threading.Lock()
        self._closed = False

    def step(self) -> T | None:
        """The next value; None at the end, or if it was closed before."""
        try:
            with self._inside:
                return None if self._closed else next(self._generator, None)
        finally:
            if self._closed:  # meanwhile, by somebody who could not wait
                self.close()

    def close(self) -> None:
        """Close the generator: now, or by the thread that is inside as soon as it has left. Does not wait."""
        # In this order: either the lock is free here, or the thread that holds it sees the flag after giving it back.
        self._closed = True
        if self._inside.acquire(blocking=False):
            try:
                self._generator.close()
            finally:
                self._inside.release()


class DaemonThreadPool:
    """Daemon threads, as many as there are tasks at once; the caller bounds those."""

    def __init__(self, name: str) -> None:
        """`name` is the prefix of the threads' names."""
        self._name = name
        self._tasks: SimpleQueue[Task | None] = SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._size = 0

    def submit(self, work: Callable[[], T]) -> Future[T]:
        """Run `work` in an idle thread or in a new one, in the caller's context. Not thread-safe."""
        future: Future[T] = Future()
        # Tracing finds the caller's span in the context, and so whose request it is.
        self._tasks.put((future, partial(contextvars.copy_context().run, work)))
        # An idle thread is spoken for by taking its permit, so that two tasks in a row do not count on the same one.
        if is_ending():
            self._serve_here()
        elif not self._idle.acquire(blocking=False):
            threading.Thread(target=self._serve, name=f"{self._name}-{self._size}", daemon=True).start()
            self._size += 1
        return future

    def shutdown(self) -> None:
        """Let every thread end once everything submitted is done. Does not wait."""
        for _ in range(self._size):
            self._tasks.put(None)

    def _serve_here(self) -> None:
        try:
            while (task := self._tasks.get_nowait()) is not None:
                _perform(*task)
        except Empty:  # an idle thread may have been quicker
            return

    def _serve(self) -> None:
        while (task := self._tasks.get()) is not None:
            _perform(*task)
            del task  # an idle thread keeps no result alive
            self._idle.release()


def _perform(future: Future[T], work: Callable[[], T]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = work()
    except BaseException as error:  # raised where the result is asked for
        future.set_exception(error)
    else:
        future.set_result(result)
