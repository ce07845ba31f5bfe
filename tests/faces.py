"""One test body for both faces: `face(encoder).encode_text(...)` blocks or is awaited to the end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest


class Blocking:
    """Calls the blocking methods."""

    def __init__(self, encoder: Any) -> None:
        self._encoder = encoder

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name == "iter_encode":
            return lambda *args, **options: list(self._encoder.iter_encode(*args, **options))
        return getattr(self._encoder, name)


class Awaiting:
    """Runs the awaitable twin to its end, each time in an event loop of its own."""

    def __init__(self, encoder: Any) -> None:
        self._encoder = encoder

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._encoder, f"a{name}")
        if name == "iter_encode":
            return lambda *args, **options: asyncio.run(_listed(method(*args, **options)))
        return lambda *args, **options: asyncio.run(method(*args, **options))


async def _listed(results: Any) -> list[Any]:
    return [result async for result in results]


both_faces = pytest.mark.parametrize("face", [Blocking, Awaiting], ids=["blocking", "awaiting"])
