"""Locks that processes do not trip over: one that may be pickled, copied and forked, and one that is a file."""

from __future__ import annotations

import os
import sys
import threading
import weakref
from pathlib import Path
from typing import IO, Any

if sys.platform != "win32":
    import fcntl

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

    def acquire(self, timeout_s: float) -> bool:
        """Wait for the lock at most so long. Whether it was acquired."""
        return self._lock.acquire(timeout=timeout_s)

    def release(self) -> None:
        """Release what `acquire` got."""
        self._lock.release()

    # Objects that hold a lock are pickled and copied whole, and a lock protects one object of one process only.

    def __reduce__(self) -> tuple[Any, ...]:
        return ForkSafeLock, ()

    def __deepcopy__(self, memo: dict[int, Any]) -> ForkSafeLock:
        return ForkSafeLock()


def lock_file(path: Path) -> IO[bytes] | None:
    """The file, made if it is missing, locked until it is closed or the process ends; None if another one has it.

    Not locked on Windows, where an open file could not be deleted. Raises `OSError` where the file cannot be made.
    """
    while True:
        file = path.open("ab")
        if not _take(file):
            file.close()
            return None
        # Whoever had it may have deleted it since it was opened here; then the lock is one on no file.
        if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
            return file
        file.close()


def _take(file: IO[bytes]) -> bool:
    if sys.platform != "win32":
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def _free_all() -> None:
    """In a forked child no thread is left that could release what was held in the parent."""
    # Replaced, not released: what the lock protects may have been half changed, but the child has to go on.
    for lock in list(_LOCKS):
        lock._lock = threading.Lock()


if hasattr(os, "register_at_fork"):  # there is no fork on Windows
    os.register_at_fork(after_in_child=_free_all)
