"""What happens around one call of a hook: spans, events and callbacks, the framework's vector cache, its rate limiter.

`instrument` is a flow (see `concurrency.flow`): it decides everything and waits for nothing itself, so the blocking and
the awaitable methods behave alike.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias, TypeVar, cast

import numpy as np
from llama_index.core.callbacks.base import CallbackManager
from llama_index.core.callbacks.schema import CBEventType, EventPayload
from llama_index.core.instrumentation.events.embedding import EmbeddingEndEvent, EmbeddingStartEvent
from llama_index_instrumentation import get_dispatcher

from ..concurrency.flow import Call, Flow
from ..concurrency.threads import in_thread
from ..errors import InputError, JinaClipError
from ..images.encoded import UNREAD, InputImage
from ..types import Vectors

COLLECTION = "embeddings"
"""Collection of an `embeddings_cache`, as in the base class."""

ENTRY = "embedding"
"""Name of the one value of an entry; the base class reads whichever is there."""

Embedding: TypeAlias = "list[float]"
Role: TypeAlias = Literal["query", "text", "image"]
Method = TypeVar("Method", bound=Callable[..., Any])

dispatcher = get_dispatcher(__name__)


@dataclass(frozen=True)
class EmbedBatch:
    """Inputs that go through a hook together: one, or at most `embed_batch_size`."""

    role: Role
    values: Sequence[Any]
    """Texts, or images."""
    is_list: bool = False
    """Whether the hook is given the list, or the one value in it."""

    @property
    def hook(self) -> str:
        """Name of the blocking hook; its awaitable counterpart has `_a` in front."""
        return f"_get_{self.role}_embedding{'s' if self.is_list else ''}"


class Owner(Protocol):
    """What `instrument` needs of the embedding model."""

    callback_manager: CallbackManager
    embeddings_cache: Any | None
    rate_limiter: Any | None

    def to_payload(self) -> dict[str, Any]:
        """Facts about the model for observers."""

    def cache_keys(self, batch: EmbedBatch) -> list[str | None]:
        """A key for each value; None for what cannot be cached."""

    def tokens_of_requests(self, values: Sequence[Any]) -> list[int]:
        """Estimated tokens of each request that these values will take."""


# Observers


def image_span(parse: Callable[[Any, Any], Any]) -> Callable[[Method], Method]:
    """Open a span around an image method that gets parsed images, which show a short name instead of their content.

    The base class opens no span for images, and the framework's decorator alone would record the raw argument: whole
    files, data URIs with the image in them. `parse(owner, images)` makes the images of the method's first argument.
    """

    def decorate(method: Method) -> Method:
        spanned: Any = dispatcher.span(method)
        signature = inspect.signature(method)
        first = list(signature.parameters)[1]

        def call(*args: Any, **options: Any) -> Any:
            arguments = signature.bind(*args, **options).arguments
            owner = arguments.pop("self")
            return spanned.__get__(owner)(parse(owner, arguments.pop(first)), **arguments)

        # A coroutine function of its own, so that a bad image raises where it is awaited, not where it is called.
        async def acall(*args: Any, **options: Any) -> Any:
            return await call(*args, **options)

        traced = acall if inspect.iscoroutinefunction(method) else call
        return cast(Method, functools.wraps(method)(traced))

    return decorate


def instrument(owner: Owner, batch: EmbedBatch) -> Flow[list[Embedding]]:
    """The vectors of a batch, announced to both of the framework's systems: events and callbacks."""
    # Observers such as token counters expect strings. An image's name may need its bytes, so it is found off the loop.
    if batch.role == "image":
        chunks = yield _blocking(lambda: [display_name(image) for image in batch.values])
    else:
        chunks = list(batch.values)
    payload = owner.to_payload()
    dispatcher.event(EmbeddingStartEvent(model_dict=payload))
    with owner.callback_manager.event(CBEventType.EMBEDDING, payload={EventPayload.SERIALIZED: payload}) as event:
        vectors = yield from _embed_through_cache(owner, batch)
        # Not reached on an error: the callback manager ends the event then, with the exception.
        event.on_end(payload={EventPayload.CHUNKS: chunks, EventPayload.EMBEDDINGS: vectors})
    dispatcher.event(EmbeddingEndEvent(chunks=chunks, embeddings=vectors))
    return vectors


def display_name(image: InputImage) -> str:
    """A short name of an image for observers: its path, its URL, or type, size and digest of its bytes."""
    if image.label == UNREAD:
        with suppress(InputError):  # reported where the image is embedded
            image.file_digest()
    return image.label


# Cache and limiter


def _embed_through_cache(owner: Owner, batch: EmbedBatch) -> Flow[list[Embedding]]:
    """The vectors of a batch; only what the framework's cache lacks is computed, and then stored."""
    store = owner.embeddings_cache
    if store is None:
        return (yield from _embed(owner, batch, batch.values))
    keys = yield _blocking(lambda: owner.cache_keys(batch))
    vectors: list[Any] = [None] * len(keys)
    for position, key in enumerate(keys):
        entry = (yield _get_entry(store, key)) if key is not None else None
        vectors[position] = next(iter(entry.values())) if entry else None
    missing = [position for position, vector in enumerate(vectors) if vector is None]
    if missing:
        with relocate_errors(missing, vectors):
            computed = yield from _embed(owner, batch, [batch.values[position] for position in missing])
        for position, vector in zip(missing, computed, strict=True):
            vectors[position] = vector
            if keys[position] is not None:
                yield _put_entry(store, keys[position], vector)
    return vectors


def _embed(owner: Owner, batch: EmbedBatch, values: Sequence[Any]) -> Flow[list[Embedding]]:
    """The vectors of these values of a batch, from the hook, once the limiter allows it."""
    if owner.rate_limiter is not None:
        for tokens in (yield _blocking(lambda: owner.tokens_of_requests(values))):
            yield _acquire(owner.rate_limiter, tokens)
    given = values if batch.is_list else values[0]
    # Looked up by name, so that a hook of a user's subclass counts.
    hook, ahook = getattr(owner, batch.hook), getattr(owner, f"_a{batch.hook[1:]}")
    vectors = yield Call(lambda: hook(given), lambda: ahook(given))
    return list(vectors) if batch.is_list else [vectors]


def _blocking(call: Callable[[], Any]) -> Call:
    """Work that reads files or computes: in this thread, or off the event loop."""
    return Call(call, lambda: in_thread(call))


def _get_entry(store: Any, key: str) -> Call:
    return Call(lambda: store.get(key, collection=COLLECTION), lambda: store.aget(key, collection=COLLECTION))


def _put_entry(store: Any, key: str, vector: Embedding) -> Call:
    entry = {ENTRY: vector}
    return Call(
        lambda: store.put(key, entry, collection=COLLECTION), lambda: store.aput(key, entry, collection=COLLECTION)
    )


def _acquire(limiter: Any, tokens: int) -> Call:
    """Permission for one request."""
    # A limiter never grants more at once than it allows in a minute: asked for more, it would wait for ever.
    limit = getattr(limiter, "tokens_per_minute", None)
    asked = tokens if limit is None else min(tokens, int(limit))
    return Call(lambda: limiter.acquire(num_tokens=asked), lambda: limiter.async_acquire(num_tokens=asked))


# Errors


@contextmanager
def relocate_errors(positions: Sequence[int], rows: Sequence[Embedding | None]) -> Iterator[None]:
    """Make an error met while computing `positions` speak of all rows: its index, and the rows finished so far."""
    try:
        yield
    except JinaClipError as error:
        if isinstance(error, InputError) and error.index is not None:
            error.at(positions[error.index])
        error.partial = _merge_partial(positions, rows, error.partial)
        raise


def _merge_partial(
    positions: Sequence[int], rows: Sequence[Embedding | None], partial: Vectors | None
) -> Vectors | None:
    """`(n, d)` with the finished `rows` and those of `partial` at `positions`, NaN elsewhere; None without either."""
    finished = {position: row for position, row in enumerate(rows) if row is not None}
    if partial is not None and len(partial) == len(positions):
        finished = dict(zip(positions, partial, strict=True)) | finished
    if not finished:
        return None
    table = np.full((len(rows), len(next(iter(finished.values())))), np.nan, np.float32)
    table[list(finished)] = list(finished.values())
    return table
