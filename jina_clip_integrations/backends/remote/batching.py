"""From a batch to requests: items are prepared as they are needed and gathered into pieces of bearable size."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from ...errors import InputError, JinaClipError
from .requests import EncodedItem, RequestBatch, RequestTemplate

PREPARING_THREADS = min(8, (os.cpu_count() or 1) + 2)
"""Threads that read, shrink and encode images, or fetch them."""

AHEAD = 2 * PREPARING_THREADS
"""Images that are prepared before they are needed."""


@dataclass(frozen=True)
class RequestCaps:
    """Most items, bytes and estimated tokens of one request. A single item that is larger travels alone."""

    items: int
    bytes: int
    tokens: int


class RequestBatcher:
    """The pieces of one batch, in order. Not for several threads at once."""

    def __init__(
        self,
        order: RequestTemplate,
        count: int,
        prepare: Callable[[int], EncodedItem],
        caps: Callable[[], RequestCaps],
        *,
        threads: bool,
    ) -> None:
        """`prepare` makes the parcel of a position and may raise `InputError`; with `threads` it runs ahead."""
        self.order = order
        self.count = count
        self.errors: dict[int, JinaClipError] = {}
        """Items that could not be prepared, where errors are isolated; emptied by whoever reports them."""
        self.long_items = 0
        """Texts handed out that the model reads only the beginning of, by estimate."""
        self._head_size = len(RequestBatch(order, ()).body())
        self._prepare = prepare
        self._caps = caps
        self._threads = threads and count > 1
        self._pool: ThreadPoolExecutor | None = None
        self._ahead: deque[Future[EncodedItem]] = deque()
        self._started = 0
        self._taken = 0
        self._next: EncodedItem | None = None

    @property
    def exhausted(self) -> bool:
        """Whether every item was handed out or failed."""
        return self._taken >= self.count and self._next is None

    def take(self) -> RequestBatch | None:
        """The next piece, None if nothing is left. Raises the `InputError` of an item unless errors are isolated."""
        caps = self._caps()
        parcels: list[EncodedItem] = []
        size, tokens = self._head_size, 0
        while len(parcels) < caps.items and (parcel := self._peek()) is not None:
            size += len(parcel.json) + 2
            tokens += parcel.tokens
            if parcels and (size > caps.bytes or tokens > caps.tokens):
                break
            parcels.append(parcel)
            self.long_items += parcel.long
            self._next = None
        return RequestBatch(self.order, tuple(parcels)) if parcels else None

    def close(self) -> None:
        """Let no thread begin another item."""
        self._taken, self._next = self.count, None
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def _peek(self) -> EncodedItem | None:
        while self._next is None and self._taken < self.count:
            position = self._taken
            self._taken += 1
            try:
                self._next = self._prepared(position)
            except InputError as error:
                error.index = position
                if not self.order.isolate_errors:
                    raise
                self.errors[position] = error
        return self._next

    def _prepared(self, position: int) -> EncodedItem:
        if not self._threads:
            return self._prepare(position)
        if self._pool is None:
            self._pool = ThreadPoolExecutor(PREPARING_THREADS, thread_name_prefix="jina-clip-prepare")
        while len(self._ahead) < AHEAD and self._started < self.count:
            self._ahead.append(self._pool.submit(self._prepare, self._started))
            self._started += 1
        return self._ahead.popleft().result()
