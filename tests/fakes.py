"""Backends whose vectors follow from content, so that a swapped order, a stale cache or a wrong image shows."""

from __future__ import annotations

import asyncio
import hashlib
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

import numpy as np

from jina_clip_integrations.backends.base import Batch, BatchResult, ImageSource, Usage
from jina_clip_integrations.catalog import ModelSpec
from jina_clip_integrations.errors import ImageError, JinaClipError

WIDTH = 8
SPEC = ModelSpec(
    name="fake",
    embed_dim=WIDTH,
    matryoshka_dimensions=(2, 4, WIDTH),
    image_size=16,
    tasks={"retrieval.query": "Query: "},
)


def content_vector(content: bytes, width: int = WIDTH) -> np.ndarray[Any, np.dtype[np.float32]]:
    """`(width,)` float32, not of unit length, different for different content."""
    seed = int.from_bytes(hashlib.sha256(content).digest()[:8], "big")
    return np.random.default_rng(seed).standard_normal(width).astype(np.float32)


def text_vector(text: str, task: str | None = None, width: int = WIDTH) -> np.ndarray[Any, np.dtype[np.float32]]:
    """The raw vector that every fake gives a text."""
    return content_vector(f"text/{task}/{text}".encode(), width)


def image_vector(source: ImageSource, width: int = WIDTH) -> np.ndarray[Any, np.dtype[np.float32]]:
    """The raw vector that every fake gives an image: it follows from size and RGB pixels. Raises `ImageError`."""
    decoded = source.open()
    assert decoded.mode == "RGB"
    return content_vector(b"image/%d/%d/" % decoded.size + decoded.tobytes(), width)


def unit(vectors: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Rows of unit length, worked out independently of the package."""
    return (vectors / np.linalg.norm(vectors.astype(np.float64), axis=-1, keepdims=True)).astype(np.float32)


class Recorder:
    """What every fake shares: width, a record of the batches it was handed, and failures on demand."""

    model = "fake"

    def __init__(self, *, dimensions: int = WIDTH, spec: ModelSpec | None = SPEC, **attributes: Any) -> None:
        self.dimensions = dimensions
        if spec is not None:
            self.spec = spec
        self.batches: list[Batch] = []
        self.threads: list[str] = []
        self.before: Callable[[Batch], None] = lambda batch: None
        self.closed = 0
        for name, value in attributes.items():
            setattr(self, name, value)

    @property
    def embedded(self) -> list[Any]:
        """Every text, and the label of every image, in the order they were handed over."""
        return [
            item
            for batch in self.batches
            for item in (batch.texts if batch.modality == "text" else [image.label for image in batch.images])
        ]

    def close(self) -> None:
        self.closed += 1

    def result_of(self, batch: Batch) -> BatchResult:
        self.batches.append(batch)
        self.threads.append(threading.current_thread().name)
        self.before(batch)
        rows: dict[int, Any] = {}
        errors: dict[int, JinaClipError] = {}
        for position in range(len(batch)):
            try:
                rows[position] = self.row_of(batch, position)
            except ImageError as error:  # noqa: PERF203
                if not batch.isolate_errors:
                    raise error.at(position) from None
                errors[position] = error
        vectors = np.stack(list(rows.values())) if rows else np.zeros((0, self.dimensions), np.float32)
        return BatchResult(vectors, list(rows), errors, Usage(total_tokens=10 * len(rows), requests=1, items=len(rows)))

    def row_of(self, batch: Batch, position: int) -> Any:
        if batch.modality == "text":
            return text_vector(batch.texts[position], batch.task, self.dimensions)
        return image_vector(batch.images[position], self.dimensions)


class BlockingBackend(Recorder):
    """The smallest backend: `embed` alone."""

    def embed(self, batch: Batch) -> BatchResult:
        return self.result_of(batch)


class AwaitableBackend(Recorder):
    """`aembed` alone."""

    async def aembed(self, batch: Batch) -> BatchResult:
        await asyncio.sleep(0)
        return self.result_of(batch)


class LoopBoundBackend(AwaitableBackend):
    """`aembed` that must always run on the same event loop, as a client that belongs to one."""

    loop: asyncio.AbstractEventLoop | None = None

    async def aembed(self, batch: Batch) -> BatchResult:
        self.loop = self.loop or asyncio.get_running_loop()
        assert self.loop is asyncio.get_running_loop()
        return await super().aembed(batch)


class StreamingFake(Recorder):
    """`stream` and `astream`, in batches of three from the last to the first."""

    streams_closed = 0

    def stream(self, batch: Batch) -> Iterator[BatchResult]:
        try:
            for positions in self.groups_of(batch):
                yield self._some(batch, positions)
        finally:
            self.streams_closed += 1

    async def astream(self, batch: Batch) -> AsyncIterator[BatchResult]:
        try:
            for positions in self.groups_of(batch):
                await asyncio.sleep(0)
                yield self._some(batch, positions)
        finally:
            self.streams_closed += 1

    def groups_of(self, batch: Batch) -> list[Sequence[int]]:
        groups: list[Sequence[int]] = [range(start, min(start + 3, len(batch))) for start in range(0, len(batch), 3)]
        return groups[::-1]

    def _some(self, batch: Batch, positions: Sequence[int]) -> BatchResult:
        try:
            result = self.result_of(batch.take(positions))
        except ImageError as error:
            raise error.at(positions[error.index or 0]) from None
        placed = [positions[position] for position in result.positions or ()]
        errors = {positions[position]: error for position, error in result.errors.items()}
        return BatchResult(result.vectors, placed, errors, result.usage)


class SlowBackend(BlockingBackend):
    """Takes `pause_s` for every batch, in which the interpreter is free."""

    pause_s = 0.2

    def embed(self, batch: Batch) -> BatchResult:
        time.sleep(self.pause_s)
        return self.result_of(batch)


KINDS: dict[str, type[Recorder]] = {
    "blocking": BlockingBackend,
    "awaitable": AwaitableBackend,
    "streaming": StreamingFake,
}
