"""The two frameworks' classes, for tests of what both promise, and fixtures that their suites share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.callbacks import CallbackManager
from PIL import Image

from jina_clip_integrations.langchain import JinaClipEmbeddings
from jina_clip_integrations.llama_index import JinaClipEmbedding
from tests.fakes import BlockingBackend

COLOURS = {"red": (220, 20, 30), "green": (20, 160, 40), "blue": (10, 40, 200)}


@dataclass(frozen=True, eq=False)
class Adapter:
    """A framework's class, and what it calls its options and methods. Called, it makes an object."""

    name: str
    kind: Callable[..., Any]
    extra: str
    model_field: str
    query: str
    """Method for one query."""
    texts: tuple[str, ...]
    """Methods for many texts."""
    image: str
    """Method for one image."""
    images: tuple[str, ...]
    """Methods for many images."""
    framework_fields: frozenset[str] = frozenset()
    """Fields of the framework's own base class."""
    comparable: dict[str, Any] = field(default_factory=dict)
    """Options without which objects of equal settings differ."""

    def __call__(self, **options: Any) -> Any:
        return self.kind(**options)

    @property
    def package(self) -> str:
        return f"jina_clip_integrations.{self.name}"


LANGCHAIN = Adapter(
    name="langchain",
    kind=JinaClipEmbeddings,
    extra="langchain",
    model_field="model",
    query="embed_query",
    texts=("embed_documents",),
    image="embed_image",
    images=("embed_images", "embed_image"),
)
LLAMA_INDEX = Adapter(
    name="llama_index",
    kind=JinaClipEmbedding,
    extra="llama-index",
    model_field="model_name",
    query="get_query_embedding",
    texts=("get_text_embedding_batch", "get_text_embeddings"),
    image="get_image_embedding",
    images=("get_image_embedding_batch", "get_image_embeddings"),
    framework_fields=frozenset(BaseEmbedding.model_fields),
    comparable={"callback_manager": CallbackManager([])},
)
ADAPTERS = (LANGCHAIN, LLAMA_INDEX)


def over_methods(*kinds: str) -> pytest.MarkDecorator:
    """Parametrise over `adapter` and `method`, for the methods that its fields of these names list."""
    pairs = [(adapter, method) for adapter in ADAPTERS for kind in kinds for method in getattr(adapter, kind)]
    parameters = [pytest.param(adapter, method, id=f"{adapter.name}-{method}") for adapter, method in pairs]
    return pytest.mark.parametrize(("adapter", "method"), parameters)


@pytest.fixture(params=ADAPTERS, ids=lambda adapter: adapter.name)
def adapter(request: pytest.FixtureRequest) -> Adapter:
    """The adapter under test."""
    under_test: Adapter = request.param
    return under_test


@pytest.fixture
def backend() -> BlockingBackend:
    """A backend whose vectors follow from the content."""
    return BlockingBackend()


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
    """`await call(object, "embed_query", …)` runs the blocking method or its awaitable counterpart."""

    async def run(target: Any, name: str, *args: Any, **options: Any) -> Any:
        if request.param == "sync":
            return getattr(target, name)(*args, **options)
        counterpart = "acall" if name == "__call__" else f"_a{name[1:]}" if name.startswith("_") else f"a{name}"
        return await getattr(target, counterpart)(*args, **options)

    return run


@pytest.fixture
def golden_v2() -> Path:
    """The tiny v2 checkpoint."""
    folder = Path(__file__).parent / "golden" / "v2"
    assert (folder / "golden.safetensors").is_file(), f"golden fixtures are missing: {folder}"
    return folder


@pytest.fixture
def opened_backends(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every backend that an adapter opens by name from now on; each loads a model of its own."""
    from jina_clip_integrations.adapter import lazy_encoder

    opened: list[Any] = []
    create = lazy_encoder.create_backend

    def record(*args: Any) -> Any:
        opened.append(create(*args))
        return opened[-1]

    monkeypatch.setattr(lazy_encoder, "create_backend", record)
    return opened
