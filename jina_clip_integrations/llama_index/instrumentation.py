"""What happens around one call of a hook: events and callbacks, the framework's vector cache, its rate limiter.

`instrumented` decides and waits for nothing; `drive` and `adrive` do the waiting, so both faces behave alike.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
from llama_index.core.callbacks.base import CallbackManager
from llama_index.core.callbacks.schema import CBEventType, EventPayload
from llama_index.core.instrumentation.events.embedding import EmbeddingEndEvent, EmbeddingStartEvent
from llama_index_instrumentation import get_dispatcher

from ..errors import InputError, JinaClipError
from ..images.encoded import UNREAD, InputImage
from ..types import Vectors

COLLECTION = "embeddings"
"""Collection of an `embeddings_cache`, as in the base class."""

ENTRY = "embedding"
"""Name of the one value of an entry; the base class reads whichever is there."""

Embedding: TypeAlias = "list[float]"
Role: TypeAlias = Literal["query", "text", "image"]

dispatcher = get_dispatcher(__name__)


@dataclass(frozen=True)
class Slice:
    """Inputs that go through a hook together."""

    role: Role
    values: Sequence[Any]
    """Texts, or images."""
    hook: str
    """Name of the blocking hook; its awaitable twin has `_a` in front."""
    many: bool = True
    """Whether the hook takes a list."""


@dataclass(frozen=True)
class Wait:
    """Something to wait for, in either way."""

    call: Callable[[], Any]
    acall: Callable[[], Awaitable[Any]]


Flow: TypeAlias = Generator[Wait, Any, list[Embedding]]


class Owner(Protocol):
    """What `instrumented` needs of the embedding model."""

    callback_manager: CallbackManager
    embeddings_cache: Any | None
    rate_limiter: Any | None

    def to_payload(self) -> dict[str, Any]:
        """Facts about the model for observers."""

    def cache_keys(self, part: Slice) -> list[str | None]:
        """A key for each value; None for what cannot be cached."""

    def tokens_of_requests(self, values: Sequence[Any]) -> list[int]:
        """Estimated tokens of each request that these values will take."""


def instrumented(owner: Owner, part: Slice) -> Flow:
    """The vectors of a slice, observed by both of the framework's systems."""
    if part.role == "image":
        chunks = yield blocking(lambda: [display_name(image) for image in part.values])
    else:
        chunks = list(part.values)
    payload = owner.to_payload()
    dispatcher.event(EmbeddingStartEvent(model_dict=payload))
    with owner.callback_manager.event(CBEventType.EMBEDDING, payload={EventPayload.SERIALIZED: payload}) as event:
        vectors = yield from _remembered(owner, part)
        event.on_end(payload={EventPayload.CHUNKS: chunks, EventPayload.EMBEDDINGS: vectors})
    dispatcher.event(EmbeddingEndEvent(chunks=chunks, embeddings=vectors))
    return vectors


def display_name(image: InputImage) -> str:
    """A short name of an image for observers: its path, its URL, or type, size and digest of its bytes."""
    if image.label == UNREAD:
        with suppress(InputError):  # reported where the image is embedded
            image.file_digest()
    return image.label


def _remembered(owner: Owner, part: Slice) -> Flow:
    """The vectors of a slice, computing only what the cache lacks."""
    store = owner.embeddings_cache
    if store is None:
        return (yield from _computed(owner, part))
    keys = yield blocking(lambda: owner.cache_keys(part))
    vectors: list[Any] = [None] * len(keys)
    for position, key in enumerate(keys):
        entry = (yield _stored(store, key)) if key is not None else None
        vectors[position] = next(iter(entry.values())) if entry else None
    missing = [position for position, vector in enumerate(vectors) if vector is None]
    if missing:
        with errors_moved(missing, vectors):
            computed = yield from _computed(owner, part, missing)
        for position, vector in zip(missing, computed, strict=True):
            vectors[position] = vector
            if keys[position] is not None:
                yield _storing(store, keys[position], vector)
    return vectors


def _computed(owner: Owner, part: Slice, positions: Sequence[int] | None = None) -> Flow:
    """The vectors of these positions (None = all), paced by the limiter."""
    values = part.values if positions is None else [part.values[position] for position in positions]
    if owner.rate_limiter is not None:
        for tokens in (yield blocking(lambda: owner.tokens_of_requests(values))):
            yield _allowed(owner.rate_limiter, tokens)
    given = values if part.many else values[0]
    hook, ahook = getattr(owner, part.hook), getattr(owner, f"_a{part.hook[1:]}")
    vectors = yield Wait(lambda: hook(given), lambda: ahook(given))
    return list(vectors) if part.many else [vectors]


@contextmanager
def errors_moved(positions: Sequence[int], rows: Sequence[Embedding | None]) -> Iterator[None]:
    """Let an error met while computing these `positions` speak of all rows: its index, and the rows finished so far."""
    try:
        yield
    except JinaClipError as error:
        if isinstance(error, InputError) and error.index is not None:
            error.at(positions[error.index])
        error.partial = _partial(positions, rows, error.partial)
        raise


def _partial(positions: Sequence[int], rows: Sequence[Embedding | None], part: Vectors | None) -> Vectors | None:
    """`(n, d)` with the finished `rows` and those of `part` at `positions`, NaN elsewhere; None if there is neither."""
    finished = {position: row for position, row in enumerate(rows) if row is not None}
    if part is not None and len(part) == len(positions):
        finished = dict(zip(positions, part, strict=True)) | finished
    if not finished:
        return None
    table = np.full((len(rows), len(next(iter(finished.values())))), np.nan, np.float32)
    table[list(finished)] = list(finished.values())
    return table


def blocking(call: Callable[[], Any]) -> Wait:
    """Work that reads or computes: in this thread, or off the event loop."""
    return Wait(call, lambda: asyncio.to_thread(call))


def _stored(store: Any, key: str) -> Wait:
    return Wait(lambda: store.get(key, collection=COLLECTION), lambda: store.aget(key, collection=COLLECTION))


def _storing(store: Any, key: str, vector: Embedding) -> Wait:
    entry = {ENTRY: vector}
    return Wait(
        lambda: store.put(key, entry, collection=COLLECTION), lambda: store.aput(key, entry, collection=COLLECTION)
    )


def _allowed(limiter: Any, tokens: int) -> Wait:
    """Permission for one request. A limiter can never grant more tokens at once than it allows in a minute."""
    most = getattr(limiter, "tokens_per_minute", None)
    asked = tokens if most is None else min(tokens, int(most))
    return Wait(lambda: limiter.acquire(num_tokens=asked), lambda: limiter.async_acquire(num_tokens=asked))


def drive(flow: Flow) -> list[Embedding]:
    """The result of `flow`, blocking."""
    result, failure = None, None
    while True:
        try:
            wait = flow.send(result) if failure is None else flow.throw(failure)
        except StopIteration as done:
            return list(done.value)
        result, failure = None, None
        try:
            result = wait.call()
        except BaseException as error:
            failure = error


async def adrive(flow: Flow) -> list[Embedding]:
    """The result of `flow`, awaiting."""
    result, failure = None, None
    while True:
        try:
            wait = flow.send(result) if failure is None else flow.throw(failure)
        except StopIteration as done:
            return list(done.value)
        result, failure = None, None
        try:
            result = await wait.acall()
        except BaseException as error:
            failure = error
