"""A content-derived backend behind the LangChain class, three images, and both faces of every method."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from jina_clip_integrations.langchain import JinaClipEmbeddings
from tests.fakes import BlockingBackend

COLOURS = {"red": (220, 20, 30), "green": (20, 160, 40), "blue": (10, 40, 200)}


@pytest.fixture
def backend() -> BlockingBackend:
    return BlockingBackend()


@pytest.fixture
def embeddings(backend: BlockingBackend) -> JinaClipEmbeddings:
    return JinaClipEmbeddings(backend=backend)


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
    """`await call(object, "embed_query", …)` runs the blocking method or its awaitable twin."""

    async def run(target: Any, name: str, *args: Any, **options: Any) -> Any:
        if request.param == "sync":
            return getattr(target, name)(*args, **options)
        return await getattr(target, f"a{name}")(*args, **options)

    return run


@pytest.fixture
def golden_v2() -> Path:
    """The tiny v2 checkpoint."""
    folder = Path(__file__).parent.parent / "golden" / "v2"
    assert (folder / "golden.safetensors").is_file(), f"golden fixtures are missing: {folder}"
    return folder
