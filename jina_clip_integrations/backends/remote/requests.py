"""From a batch to requests: items as JSON, gathered into bodies below the caps."""

from __future__ import annotations

import contextvars
import os
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from ...concurrency.isolation import halve
from ...concurrency.threads import submit
from ...errors import InputError, JinaClipError
from ...settings import PACKED_TYPES
from ...types import Modality
from ..base import Usage
from .encodings import Expected, truncate_bits

ENCODING_THREADS = min(8, (os.cpu_count() or 1) + 2)
"""Threads that read or fetch images, shrink and encode them."""

ENCODED_AHEAD = 2 * ENCODING_THREADS
"""Images that are encoded ahead; a fixed number, so that memory does not grow with the batch."""


class EncodedItem(NamedTuple):  # a tuple, since there is one for every text
    """An item as it is sent."""

    position: int
    """Its position in the caller's batch."""
    json: bytes
    """The item as JSON."""
    tokens: int
    """Estimate of its cost."""
    blank: bool = False
    """Whether it is a text of nothing but whitespace."""
    long: bool = False
    """Whether it is a text that is, by estimate, longer than what the model reads."""
    max_tokens: int = 0
    """Upper bound of its cost in tokens, where that is more than the estimate."""


@dataclass(frozen=True, kw_only=True)
class RequestTemplate:
    """What all requests of one batch have in common."""

    modality: Modality
    head: Mapping[str, Any]
    """The request body without its items."""
    items_field: str
    expected: Expected
    """What the responses must look like; `items` is filled in per request."""
    dimensions: int | None = None
    """Width of the rows in the end, whoever truncates them. None = full."""
    isolate_errors: bool = False
    encoding_field: str | None = None
    """Name of the field that asks for an encoding of the vectors."""
    max_items: int | None = None
    """Items per request that this kind of server takes at most; None where no cap is known."""

    @cached_property
    def body_start(self) -> bytes:
        """The body up to its first item."""
        # Items are spliced in as the bytes they were encoded to, so that megabytes of base64 are not encoded twice.
        return orjson.dumps({**self.head, self.items_field: []})[:-2]

    @property
    def without_encoding(self) -> RequestTemplate:
        """The same without asking for an encoding; every server then gives floats."""
        return replace(self, head={name: value for name, value in self.head.items() if name != self.encoding_field})

    def truncate_packed(self, vectors: NDArray[Any]) -> NDArray[Any]:
        """Truncate rows of packed bits to `dimensions`; float rows are left to the encoder."""
        return truncate_bits(vectors, self.dimensions) if self.packed and self.dimensions else vectors

    def no_rows(self) -> NDArray[Any]:
        """`(0, d)` of the right type."""
        width = self.dimensions or self.expected.full or 0
        return np.empty((0, -(-width // 8)), np.uint8) if self.packed else np.empty((0, width), np.float32)

    @property
    def packed(self) -> bool:
        """Whether rows are bits."""
        return self.expected.embedding_type in PACKED_TYPES


@dataclass(frozen=True)
class RequestBatch:
    """The items of one request."""

    template: RequestTemplate
    items: tuple[EncodedItem, ...]
    capped: bool = False
    """Whether it was split to a number of items that the service had named."""
    prior: Usage = field(default_factory=Usage)
    """What was spent in vain on the larger batch that this one was part of. Only one part may carry it, so the methods
    that divide a batch leave it out."""

    @property
    def costs(self) -> list[int]:
        """Upper bound of each item's cost in tokens."""
        return [max(item.tokens, item.max_tokens) for item in self.items]

    @property
    def positions(self) -> tuple[int, ...]:
        """Positions in the caller's batch."""
        return tuple(item.position for item in self.items)

    def body(self) -> bytes:
        """The request body: JSON, UTF-8."""
        return b"%b%b]}" % (self.template.body_start, b",".join([item.json for item in self.items]))

    def chunks(self, size: int, *, capped: bool = False) -> tuple[RequestBatch, ...]:
        """The same items in batches of at most `size`."""
        parts = (self.items[start : start + size] for start in range(0, len(self.items), size))
        return tuple(RequestBatch(self.template, part, capped or self.capped) for part in parts)

    def halves(self) -> tuple[RequestBatch, ...]:
        """Two batches of half the items each."""
        return tuple(RequestBatch(self.template, tuple(part), self.capped) for part in halve(self.items))

    def split(self, size: int) -> tuple[RequestBatch, ...]:
        """The first `size` items, and the rest."""
        parts = (self.items[:size], self.items[size:])
        return tuple(RequestBatch(self.template, part, self.capped) for part in parts if part)

    def without(self, places: Sequence[int]) -> tuple[RequestBatch, ...]:
        """The batch without the items at these places of it; nothing if none is left."""
        others = tuple(item for place, item in enumerate(self.items) if place not in places)
        return (RequestBatch(self.template, others, self.capped),) if others else ()

    def alone(self, places: Sequence[int]) -> tuple[RequestBatch, ...]:
        """A batch of its own for each of the items at these places."""
        return tuple(RequestBatch(self.template, (self.items[place],), self.capped) for place in places)


@dataclass(frozen=True)
class RequestCaps:
    """Upper bounds of one request: items, bytes and estimated tokens. A single larger item is sent alone."""

    items: int
    bytes: int
    tokens: int


class RequestBatcher:
    """Divides a batch into requests, in order; items are encoded as they are needed. Not thread-safe."""

    def __init__(
        self,
        template: RequestTemplate,
        count: int,
        encode: Callable[[int], EncodedItem],
        caps: RequestCaps,
        *,
        threads: bool,
    ) -> None:
        """`encode` makes the item of a position and may raise `InputError`; with `threads` it runs ahead."""
        self.template = template
        self.count = count
        self.errors: dict[int, JinaClipError] = {}
        """Items that could not be encoded, where errors are isolated; emptied by `take_errors`."""
        self.long_items = 0
        """Texts handed out that are, by estimate, longer than what the model reads."""
        self._encode = encode
        self._caps = caps
        self._threads = threads and count > 1  # one image is encoded sooner than a pool is started
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
        """The next request, None if nothing is left. Raises the `InputError` of an item unless errors are isolated."""
        caps = self._caps
        items: list[EncodedItem] = []
        size, tokens = len(self.template.body_start) + len("]}"), 0
        while len(items) < caps.items and (item := self._peek()) is not None:
            size += len(item.json) + len(",")
            tokens += item.tokens
            if items and (size > caps.bytes or tokens > caps.tokens):
                break  # the item stays in `_next`, for the request after this one
            items.append(item)
            self.long_items += item.long
            self._next = None
        return RequestBatch(self.template, tuple(items)) if items else None

    def take_errors(self) -> dict[int, JinaClipError]:
        """The errors since the last call."""
        errors, self.errors = self.errors, {}
        return errors

    def close(self) -> None:
        """Let no thread begin another item."""
        self._taken, self._next = self.count, None  # an encoder that still runs in a thread finds nothing more to do
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)  # a fetch may take as long as its timeout

    def _peek(self) -> EncodedItem | None:
        while self._next is None and self._taken < self.count:
            position = self._taken
            self._taken += 1
            try:
                self._next = self._encode_next(position)
            except InputError as error:
                error.index = position
                if not self.template.isolate_errors:
                    raise
                self.errors[position] = error
        return self._next

    def _encode_next(self, position: int) -> EncodedItem:
        if not self._threads:
            return self._encode(position)
        if self._pool is None:
            self._pool = ThreadPoolExecutor(ENCODING_THREADS, thread_name_prefix="jina-clip-encode")
        while len(self._ahead) < ENCODED_AHEAD and self._started < self.count:
            # Tracers find the caller's span in the context; a copy each, since two threads cannot enter one at once.
            self._ahead.append(submit(self._pool, contextvars.copy_context().run, self._encode, self._started))
            self._started += 1
        return self._ahead.popleft().result()
