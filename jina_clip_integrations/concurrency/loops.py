"""One background event loop per process, for blocking calls to a backend that can only be awaited."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar, cast

from .locks import ForkSafeLock

T = TypeVar("T")

_lock = ForkSafeLock()
_loops: dict[int, asyncio.AbstractEventLoop] = {}  # by process id: a forked child has no thread behind its copy


def run_in_helper_loop(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run `coroutine` on the helper loop and wait for it; interrupting the wait cancels it.

    The loop stays the same from call to call, so a backend may keep clients that belong to it.
    """
    future = asyncio.run_coroutine_threadsafe(_caught(coroutine), _helper_loop())
    try:
        result, error = future.result()
    except BaseException:
        future.cancel()
        raise
    if error is not None:
        raise error
    return cast(T, result)


async def _caught(coroutine: Coroutine[Any, Any, T]) -> tuple[T | None, BaseException | None]:
    """Errors as values: a `KeyboardInterrupt` or `SystemExit` that went through the loop would end its thread."""
    try:
        return await coroutine, None
    except asyncio.CancelledError:
        raise
    except BaseException as error:
        return None, error


def _helper_loop() -> asyncio.AbstractEventLoop:
    with _lock:
        loop = _loops.get(os.getpid())
        if loop is None:
            loop = _loops[os.getpid()] = asyncio.new_event_loop()
            threading.Thread(target=loop.run_forever, name="jina-clip-loop", daemon=True).start()
        return loop
