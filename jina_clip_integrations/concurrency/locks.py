"""A lock that may be pickled, copied and forked: the copy is a free lock of its own."""

from __future__ import annotations

import os
import threading
import weakref
from typing import Any

_LOCKS: weakref.WeakSet[ForkSafeLock] = weakref.WeakSet()


class ForkSafeLock:
    """A mutual exclusion lock (`with lock:`) that a forked child or an unpickled copy never finds held."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        _LOCKS.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *raised: object) -> None:
        self._lock.release()

    # Objects that hold a lock are pickled and copied whole, and a lock protects one object of one process only.

    def __reduce__(self) -> tuple[Any, ...]:
        return ForkSafeLock, ()

    def __deepcopy__(self, memo: dict[int, Any]) -> ForkSafeLock:
        return ForkSafeLock()


def _free_all() -> None:
    """In a forked child no thread is left that could release what was held in the parent."""
    # Replaced, not released: what the lock protects may have been half changed, but the child has to go on.
    for lock in list(_LOCKS):
        lock._lock = threading.Lock()


if hasattr(os, "register_at_fork"):  # there is no fork on Windows
    os.register_at_fork(after_in_child=_free_all)
