"""The event loop of the caller, and one in the background for blocking calls to a backend that can only be awaited."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, TypeVar, cast

from ..errors import BackendError, ConfigurationError
from .locks import ForkSafeLock

if TYPE_CHECKING:
    from anyio.from_thread import BlockingPortal

T = TypeVar("T")

_lock = ForkSafeLock()
_portals: dict[int, BlockingPortal] = {}  # by process id: a forked child has no thread behind its copy


def running_loop() -> asyncio.AbstractEventLoop:
    """The asyncio loop of the caller. Raises `ConfigurationError` without one, as under trio."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError as error:
        raise ConfigurationError(
            "async methods need a running asyncio event loop, and there is none here; under trio call the blocking "
            "method of the same name (encode_text for aencode_text, embed_query for aembed_query, ...) in a thread: "
            "await trio.to_thread.run_sync(encoder.encode_text, texts)"
        ) from error


def run_in_background_loop(call: Callable[[], Awaitable[T]]) -> T:
    """Await `call()` on the background loop and wait for it in this thread; interrupting the wait cancels it.

    The loop stays the same from call to call, so a backend may keep clients that belong to it. Works where an event
    loop is running already, as in a notebook.

    Raises `BackendError` if the interpreter is ending and the loop was not started before.
    """
    future = _portal().start_task_soon(_catch, call)
    try:
        result, error = future.result()
    except BaseException:  # a KeyboardInterrupt reaches the waiting thread only, not the loop
        future.cancel()
        raise
    if error is not None:
        raise error
    return cast(T, result)


def start_in_background_loop(call: Callable[[], Awaitable[T]]) -> Future[T]:
    """Start `call()` on the background loop without waiting for it; cancelling the future cancels it there."""
    return cast("Future[T]", _portal().start_task_soon(call))


async def _catch(call: Callable[[], Awaitable[T]]) -> tuple[T | None, BaseException | None]:
    """Errors as values: a `KeyboardInterrupt` or `SystemExit` that went through the loop would end it for everyone."""
    try:
        return await call(), None
    except asyncio.CancelledError:  # asyncio has to see it, or the task would not count as cancelled
        raise
    except BaseException as error:
        return None, error


def _portal() -> BlockingPortal:
    with _lock:
        process = os.getpid()
        if process not in _portals:
            _portals[process] = _start_portal()
        return _portals[process]


def _start_portal() -> BlockingPortal:
    """A portal that is open for as long as the process lives.

    Not `start_blocking_portal`: its context manager would wait, when a forked child ends, for a thread that the child
    does not have. A daemon thread just ends with its process.
    """
    import anyio
    from anyio.from_thread import BlockingPortal

    opened: Future[BlockingPortal] = Future()

    async def serve() -> None:
        async with BlockingPortal() as portal:
            opened.set_result(portal)
            await portal.sleep_until_stopped()

    try:
        threading.Thread(target=anyio.run, args=(serve,), name="jina-clip-loop", daemon=True).start()
    except RuntimeError as error:  # from Python 3.12 on
        raise BackendError(
            "the program is ending and no thread can be started any more, which a backend that can only be awaited "
            "needs for a blocking call; make the call before exit handlers run"
        ) from error
    return opened.result()
