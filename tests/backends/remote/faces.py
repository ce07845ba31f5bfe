"""Both faces of a remote backend behind one call, so that every test body runs over both."""

from __future__ import annotations

import asyncio
import base64
import io
import time
from collections.abc import Sequence
from contextlib import aclosing
from typing import Any

import numpy as np
from PIL import Image

from jina_clip_integrations.backends.base import Batch, BatchResult
from jina_clip_integrations.errors import ImageError, JinaClipError
from jina_clip_integrations.settings import RetryPolicy

FAST = RetryPolicy(
    first_wait_s=0.001,
    longest_wait_s=0.005,
    request_limit_wait_s=0.001,
    token_limit_wait_s=0.001,
)
"""Waits that tests have time for."""

FACES = ("sync", "async")


def texts(*values: str, **how: Any) -> Batch:
    """A batch of texts."""
    return Batch(modality="text", texts=values, **how)


def numbered(count: int, **how: Any) -> Batch:
    """A batch of `count` different texts."""
    return texts(*(f"text number {at}" for at in range(count)), **how)


def embed(face: str, backend: Any, batch: Batch) -> BatchResult:
    """`embed` or `aembed`, in an event loop of its own."""
    if face == "sync":
        return backend.embed(batch)

    async def run() -> BatchResult:
        async with backend:
            return await backend.aembed(batch)

    return asyncio.run(run())


def stream(face: str, backend: Any, batch: Batch) -> tuple[list[BatchResult], JinaClipError | None]:
    """What `stream` or `astream` yielded, and the error that ended it."""
    results: list[BatchResult] = []

    async def run() -> None:
        async with backend, aclosing(backend.astream(batch)) as rows:
            async for result in rows:
                results.append(result)  # noqa: PERF401  # kept when the next one raises

    try:
        if face == "async":
            asyncio.run(run())
        else:
            for result in backend.stream(batch):
                results.append(result)  # noqa: PERF402  # kept when the next one raises
    except JinaClipError as error:
        return results, error
    return results, None


def positions(results: Sequence[BatchResult]) -> list[int]:
    """All positions that have a row, in the order in which they came."""
    return [place for result in results for place in result.positions or ()]


class Photo:
    """An image as the encoder hands it over."""

    def __init__(self, image: Image.Image, *, url: str | None = None, data: bytes | None = None) -> None:
        self.image, self.url, self.data = image, url, data
        self.label = "photo"

    def size(self) -> tuple[int, int]:
        return self.image.size

    def open(self) -> Image.Image:
        if self.data == b"broken":
            raise ImageError("photo: broken")
        return self.image

    def read(self) -> bytes:
        if self.data is not None:
            return self.data
        buffer = io.BytesIO()
        self.image.save(buffer, format="JPEG")
        return buffer.getvalue()


def photo(width: int, height: int, seed: int = 0, **how: Any) -> Photo:
    noise = np.random.default_rng(seed).integers(0, 255, (height, width, 3), np.uint8)
    return Photo(Image.fromarray(noise), **how)


def images(*photos: Photo, **how: Any) -> Batch:
    return Batch(modality="image", images=photos, **how)


def png_of(item: dict[str, str]) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(item["image"], validate=True)))


def wait_for(condition: Any, *, seconds: float = 5) -> None:
    """Wait until `condition()` is true; fail if it does not become so."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"still not so after {seconds} s"
        time.sleep(0.005)
