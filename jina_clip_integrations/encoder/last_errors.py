"""Which rows of the last call failed, told apart by thread and task."""

from __future__ import annotations

import asyncio
import threading
import weakref
from typing import Any

from ..errors import JinaClipError


class LastErrors:
    """The errors of the last call made by this task, or else by this thread."""

    def __init__(self) -> None:
        self._by_thread = threading.local()
        self._by_task: weakref.WeakKeyDictionary[asyncio.Task[Any], dict[int, JinaClipError]]
        self._by_task = weakref.WeakKeyDictionary()

    def set(self, errors: dict[int, JinaClipError]) -> None:
        """Remember `errors` as those of the last call."""
        self._by_thread.errors = errors
        task = _current_task()
        if task is not None:
            self._by_task[task] = errors

    def get(self) -> dict[int, JinaClipError]:
        """Those of this task's last call; of this thread's where the task made none (its helper tasks may have)."""
        task = _current_task()
        found = self._by_task.get(task) if task is not None else None
        return found if found is not None else getattr(self._by_thread, "errors", {})


def _current_task() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None
