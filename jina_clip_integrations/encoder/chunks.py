"""Iterables of any length, taken a chunk at a time, in sync and async."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Sized
from typing import Any


def count_items(items: Any) -> int | None:
    """How many items there are, None where nobody can tell before the end."""
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
