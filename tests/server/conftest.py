"""A backend whose vectors come from the content, and ways to reach an app that serves it."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import httpx
import numpy as np
import PIL.Image
import pytest

from jina_clip_integrations.backends.base import Batch, BatchResult
from jina_clip_integrations.catalog import JINA_CLIP_V2, ModelSpec
from jina_clip_integrations.errors import InputError
from jina_clip_integrations.server import create_app
from tests.serving import Serving, wait_until

WORD_TOKENS = 3


class ContentBackend:
    """Raw vectors that depend on nothing but text, task or pixels. Remembers its calls, and can be held up."""

    batch_size = 10_000

    def __init__(self, spec: ModelSpec = JINA_CLIP_V2, *, delay_s: float = 0.0) -> None:
        self.spec = spec
        self.model = spec.name
        self.dimensions = spec.embed_dim
        self.delay_s = delay_s
        self.calls: list[Batch] = []
        self.max_concurrent = 0
        self.held = False
        self.running = 0

    async def aembed(self, batch: Batch) -> BatchResult:
        self.calls.append(batch)
        self.running += 1
        self.max_concurrent = max(self.max_concurrent, self.running)
        try:
            await asyncio.sleep(self.delay_s)
            while self.held:  # noqa: ASYNC110  # set from another thread
                await asyncio.sleep(0.002)
            return self.compute(batch)
        finally:
            self.running -= 1

    def compute(self, batch: Batch) -> BatchResult:
        errors = {}
        rows = []
        for position in range(len(batch)):
            text = batch.texts[position] if batch.modality == "text" else ""
            if text.startswith("explode"):
                raise RuntimeError(f"the text {text!r} broke something")
            if text.startswith("bad"):
                errors[position] = InputError("a bad text", index=position)
                if not batch.isolate_errors:
                    raise errors[position]
            rows.append(self.row_of(batch, position) * (np.nan if text == "nan" else 1))
        good = [position for position in range(len(batch)) if position not in errors]
        return BatchResult(
            np.stack([rows[p] for p in good]) if good else np.empty((0, self.dimensions), np.float32),
            positions=good,
            errors=errors,
        )

    def row_of(self, batch: Batch, position: int) -> np.ndarray:
        if batch.modality == "text":
            return self.text_row(batch.texts[position], batch.task)
        return self.image_row(batch.images[position].open())

    def text_row(self, text: str, task: str | None = None) -> np.ndarray:
        return self.seeded_row(f"{task}|{text}".encode())

    def image_row(self, image: PIL.Image.Image) -> np.ndarray:
        return self.seeded_row(f"{image.size}".encode() + image.tobytes())

    def seeded_row(self, content: bytes) -> np.ndarray:
        seed = int.from_bytes(hashlib.sha256(content).digest()[:8], "big")
        return (np.random.default_rng(seed).standard_normal(self.dimensions) * 7).astype(np.float32)


class CountingBackend(ContentBackend):
    """The same with a tokenizer: three tokens to a word, and two around the text."""

    max_length = 50

    def count_tokens(self, texts: Sequence[str], *, task: str | None = None) -> list[int]:
        instruction = self.spec.tasks[task] if task else ""
        return [2 + WORD_TOKENS * len((instruction + text).split()) for text in texts]


@pytest.fixture
def backend() -> ContentBackend:
    return ContentBackend()


@pytest.fixture
def counting_backend() -> CountingBackend:
    return CountingBackend()


@pytest.fixture
def content_backend() -> type[ContentBackend]:
    return ContentBackend


@pytest.fixture
def client_of() -> Callable[..., httpx.AsyncClient]:
    """A client that talks to an app in this process: `client_of(backend, max_items=3)`."""

    def make(source: Any, *, headers: dict[str, str] | None = None, **settings: Any) -> httpx.AsyncClient:
        app = create_app(source, batch_wait_s=settings.pop("batch_wait_s", 0.0), **settings)
        return client_for(app, headers=headers)

    return make


def client_for(app: Any, *, headers: dict[str, str] | None = None) -> httpx.AsyncClient:
    client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://server", headers=headers)
    client.app = app
    return client


@pytest.fixture
def serve() -> Iterator[Callable[..., Serving]]:
    """Start a real server: `serve(backend, max_queue=4)`."""
    with contextlib.ExitStack() as stack:

        def start(source: Any, **settings: Any) -> Serving:
            serving = Serving(create_app(source, **settings))
            stack.callback(serving.stop)
            serving.start()
            return serving

        yield start


@pytest.fixture
def until() -> Callable[[Callable[[], Any]], Any]:
    """`await until(lambda: backend.calls)`."""

    async def wait(condition: Callable[[], Any]) -> None:
        for _ in range(5000):
            if condition():
                return
            await asyncio.sleep(0.001)
        raise AssertionError("waited in vain")

    return wait


@pytest.fixture
def eventually() -> Callable[..., None]:
    return wait_until


@pytest.fixture
def png() -> Callable[..., bytes]:
    """A PNG of one colour or of noise: `png(40, 30, seed=1)`."""

    def make(width: int = 20, height: int = 10, *, seed: int = 0) -> bytes:
        pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3)).astype(np.uint8)
        buffer = io.BytesIO()
        PIL.Image.fromarray(pixels).save(buffer, format="PNG")
        return buffer.getvalue()

    return make
