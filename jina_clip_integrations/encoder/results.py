"""The rows of one call: finished, failed, or still to come; and which rows of the last call failed."""

from __future__ import annotations

import asyncio
import copy
import threading
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..backends.base import Usage
from ..errors import BackendError, InputError, JinaClipError
from ..images.encoded import InputImage
from ..vectors import truncate_and_normalize
from .items import UniqueItem

BLOCK = 256
"""Rows that are truncated and normalised at a time: few enough to stay in the processor's cache all the while."""


class Results:
    """Rows in the caller's order, errors under the caller's indices, and what it cost. Not thread-safe.

    float32 rows are truncated and normalised on their way in, which is done nowhere else; packed bits are not.
    """

    def __init__(
        self,
        count: int,
        *,
        dimensions: int | None,
        normalize: bool,
        width: int | None,
        isolate: bool = False,
        offset: int = 0,
        single: bool = False,
        errors: dict[int, JinaClipError] | None = None,
        progress: Callable[[int], Any] | None = None,
        name_of: Callable[[int], str | None] = lambda _row: None,
    ) -> None:
        """
        Args:
            count: Rows.
            dimensions: Width of the rows; None = as they come.
            normalize: Whether to normalise rows.
            width: Full width of the model, None where only the service knows it.
            isolate: Report a failed row and go on; otherwise its error is raised.
            offset: The caller's index of the first row.
            single: The only item was not in a sequence and so has no index.
            errors: Dictionary for the errors, so that several calls can share one.
            progress: Called with the number of rows that were settled.
            name_of: What messages call the input of a row; None for what has no name.
        """
        self.count = count
        self.isolate = isolate
        self.offset = offset
        self.single = single
        self.errors: dict[int, JinaClipError] = {} if errors is None else errors
        self.progress = progress
        self._name_of = name_of
        self.raised: JinaClipError | None = None
        self._dimensions = dimensions
        self._normalize = normalize
        self._width = width
        self._rows: NDArray[Any] | None = None  # until the first vector shows its width
        self._tokens = self._requests = self._items = self._cache_hits = 0

    @property
    def usage(self) -> Usage:
        """What was spent so far."""
        return Usage(total_tokens=self._tokens, requests=self._requests, items=self._items, cache_hits=self._cache_hits)

    def count_spent(self, usage: Usage) -> None:
        """Add tokens and requests that a backend reports; items and cache hits are counted here."""
        self._tokens += usage.total_tokens
        self._requests += usage.requests

    def count_hits(self, rows: int) -> None:
        """Add rows that a cache had."""
        self._cache_hits += rows

    def array(self) -> NDArray[Any]:
        """All rows `(n, d)`, NaN (0 for packed bits) where nothing was stored."""
        if self._rows is None:
            return _empty(self.count, self._dimensions or self._width or 0, np.float32)
        return self._rows

    def result(self) -> NDArray[Any]:
        """`(n, d)`, or `(d,)` for an item that stood alone."""
        rows = self.array()
        return rows[0] if self.single else rows

    def attach_partial(self, error: BaseException) -> None:
        """Attach the rows that were finished before `error` to it."""
        with suppress(AttributeError):  # an exception of a backend's own may be a frozen dataclass
            error.partial = self.array()  # type: ignore[attr-defined]

    # Rows that are known

    def deliver(self, items: Sequence[UniqueItem], vectors: NDArray[Any]) -> None:
        """Put one vector `(k, w)` per item into every row of the item."""
        if not items:
            return
        rows = [item.row for item in items]
        for start in range(0, len(vectors), BLOCK):
            self._put(rows[start : start + BLOCK], vectors[start : start + BLOCK])
        delivered = len(items)
        for item in items:
            _settle(item, None)
            for row in item.repeats or ():
                self._copy(item.row, row)
                delivered += 1
        self._items += delivered
        if self.progress is not None:
            self.progress(delivered)

    def repeat(self, item: UniqueItem, row: int) -> None:
        """Give `row` the vector or error of an item that is settled."""
        if item.error is not None:
            self.fail_row(row, item.error, named_for=item.row)
            return
        self._copy(item.row, row)  # from the finished row: the item's vector is not kept
        self._items += 1
        if self.progress is not None:
            self.progress(1)

    def _put(self, rows: list[int], vectors: NDArray[Any]) -> None:
        if vectors.dtype != np.uint8:
            vectors = truncate_and_normalize(vectors, dimensions=self._dimensions, normalized=self._normalize)
        if self._rows is None:
            self._rows = _empty(self.count, vectors.shape[1], vectors.dtype)
        if vectors.shape[1] != self._rows.shape[1] or vectors.dtype != self._rows.dtype:
            raise BackendError(
                f"the backend changed from {self._rows.shape[1]} {self._rows.dtype} values a vector to "
                f"{vectors.shape[1]} {vectors.dtype} within one call"
            )
        self._rows[rows] = vectors

    def _copy(self, source: int, row: int) -> None:
        if self._rows is not None:
            self._rows[row] = self._rows[source]

    # Rows that failed

    def fail(self, item: UniqueItem, error: JinaClipError) -> None:
        """Fail every row of an item."""
        _settle(item, error)
        for row in item.rows:
            self.fail_row(row, error, named_for=item.row)

    def fail_row(self, row: int, error: JinaClipError, *, named_for: int | None = None) -> None:
        """Report `error` under the caller's index, or raise it if bad items are not isolated.

        `named_for` is the row whose input the message names, where that may be another of the same content.
        """
        if not self.isolate:
            self.raised = self._name_index(error, row)
            raise self.raised
        copied = copy.copy(error)  # the same input may be in several rows, and each error names its own
        copied.__cause__ = error.__cause__
        if named_for is not None:
            copied.message = self._name_input(error.message, named_for, row)
        self.errors[row + self.offset] = self._name_index(copied, row)
        if self.progress is not None:
            self.progress(1)

    def _name_input(self, message: str, named_for: int, row: int) -> str:
        """`message` with the name of its own input in front: two files of equal bytes fail alike, but are two."""
        given, own = self._name_of(named_for), self._name_of(row)
        if given is None or own is None or not message.startswith(f"{given}: "):
            return message
        return f"{own}{message[len(given) :]}"

    def _name_index(self, error: JinaClipError, row: int) -> JinaClipError:
        if isinstance(error, InputError):
            error.index = None if self.single else row + self.offset
        return error


def _settle(item: UniqueItem, error: JinaClipError | None) -> None:
    """Mark `item` as done, with or without `error`, and free its input, which may be a decoded image."""
    item.done = True
    item.error = error
    if isinstance(item.value, InputImage):
        item.value.release()
    item.value = None


def _empty(count: int, width: int, dtype: Any) -> NDArray[Any]:
    if dtype == np.uint8:
        return np.zeros((count, width), np.uint8)
    return np.full((count, width), np.nan, np.float32)


class LastErrors:
    """The errors of the last call of this task, or else of this thread."""

    def __init__(self) -> None:
        self._by_thread = threading.local()
        self._by_task: weakref.WeakKeyDictionary[asyncio.Task[Any], dict[int, JinaClipError]]
        self._by_task = weakref.WeakKeyDictionary()

    def set(self, errors: dict[int, JinaClipError]) -> None:
        """Remember `errors` as those of the last call."""
        # For the thread too: `gather` and older `wait_for` run a call in a task of its own, gone when it is awaited.
        self._by_thread.errors = errors
        task = _current_task()
        if task is not None:
            self._by_task[task] = errors

    def get(self) -> dict[int, JinaClipError]:
        """The errors of this task's last call; of this thread's where the task made none."""
        task = _current_task()
        found = self._by_task.get(task) if task is not None else None
        return found if found is not None else getattr(self._by_thread, "errors", {})


def _current_task() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None
