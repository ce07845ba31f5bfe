"""Iterables of any length, a chunk at a time; and the arguments that say how."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Sized
from typing import Any

from ..settings import require_choice, require_integer

ON_ERROR = ("raise", "skip")
"""Values of `on_error`."""


def check_iteration(on_error: str, chunk_size: int) -> None:
    """Raise `ConfigurationError` for arguments of an iteration that cannot work."""
    require_choice("on_error", on_error, ON_ERROR)
    require_integer("chunk_size", chunk_size, minimum=1)


def count_items(items: Any) -> int | None:
    """How many items there are, None where that shows at the end only."""
    return len(items) if isinstance(items, Sized) else None


async def achunk(items: AsyncIterable[Any] | Iterable[Any], size: int) -> AsyncIterator[list[Any]]:
    """Lists of `size` items, the last one shorter. Only one chunk is held at a time."""
    chunk: list[Any] = []
    async for item in _aiterate(items):
        chunk.append(item)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


async def _aiterate(items: AsyncIterable[Any] | Iterable[Any]) -> AsyncIterator[Any]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item
