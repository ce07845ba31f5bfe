"""A content-derived backend behind the LlamaIndex class, three images, and both faces of every method."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from jina_clip_integrations.llama_index import JinaClipEmbedding
from tests.fakes import BlockingBackend

COLOURS = {"red": (220, 20, 30), "green": (20, 160, 40), "blue": (10, 40, 200)}


@pytest.fixture
def backend() -> BlockingBackend:
    return BlockingBackend()


@pytest.fixture
def embedding(backend: BlockingBackend) -> JinaClipEmbedding:
    return JinaClipEmbedding(backend=backend, embed_batch_size=2)


@pytest.fixture
def images(tmp_path: Path) -> list[str]:
    """Paths of three images of equal size and different content."""
    paths = []
    for name, colour in COLOURS.items():
        path = tmp_path / f"{name}.png"
        Image.new("RGB", (12, 10), colour).save(path)
        paths.append(str(path))
    return paths


@pytest.fixture(params=["sync", "async"])
def call(request: pytest.FixtureRequest) -> Callable[..., Awaitable[Any]]:
    """`await call(object, "get_query_embedding", …)` runs the blocking method or its awaitable twin."""

    async def run(target: Any, name: str, *args: Any, **options: Any) -> Any:
        if request.param == "sync":
            return getattr(target, name)(*args, **options)
        twin = "acall" if name == "__call__" else f"_a{name[1:]}" if name.startswith("_") else f"a{name}"
        return await getattr(target, twin)(*args, **options)

    return run
