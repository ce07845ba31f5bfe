"""Threads that do not outlive the program: a request under way must not hold up a program that was interrupted.

`concurrent.futures` waits for its threads at the end of the process, which may take as long as a server's response.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from queue import SimpleQueue
from typing import Any, TypeAlias, TypeVar

T = TypeVar("T")

Task: TypeAlias = "tuple[Future[Any], Callable[[], Any]]"


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
        if not self._idle.acquire(blocking=False):
            threading.Thread(target=self._serve, name=f"{self._name}-{self._size}", daemon=True).start()
            self._size += 1
        return future

    def shutdown(self) -> None:
        """Let every thread end once everything submitted is done. Does not wait."""
        for _ in range(self._size):
            self._tasks.put(None)

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
