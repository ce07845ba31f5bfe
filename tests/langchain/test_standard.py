"""The frameworks' own conformance suites, without an exception."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.embeddings import Embeddings
from langchain_tests.integration_tests import EmbeddingsIntegrationTests
from langchain_tests.unit_tests import EmbeddingsUnitTests

from jina_clip_integrations import LocalBackend
from jina_clip_integrations.langchain import ImageEmbeddings, JinaClipEmbeddings
from jina_clip_integrations.server import create_app
from tests.serving import Serving

GOLDEN_V2 = Path(__file__).parent.parent / "golden" / "v2"


@pytest.mark.framework("langchain/key-read-back", "langchain/standard-suites")
@pytest.mark.disable_socket
class TestUnit(EmbeddingsUnitTests):
    """With sockets disabled, loopback included."""

    @property
    def embeddings_class(self) -> type[Embeddings]:
        return JinaClipEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"model": "jina-clip-v2", "api_key": "jina_test"}

    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        return {"JINA_API_KEY": "jina_env"}, {"model": "jina-clip-v1"}, {"api_key": "jina_env", "model": "jina-clip-v1"}


@pytest.mark.framework("langchain/standard-suites")
class TestIntegrationOnTheDemoModel(EmbeddingsIntegrationTests):
    """On this machine."""

    @property
    def embeddings_class(self) -> type[Embeddings]:
        return JinaClipEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"model": "demo", "backend": "local", "device": "cpu", "dtype": "float32"}


@pytest.mark.framework("langchain/standard-suites")
class TestIntegrationOverAServer(EmbeddingsIntegrationTests):
    """Over a real server on loopback, which serves the tiny v2 checkpoint."""

    url: str

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _server(cls) -> Iterator[None]:
        backend = LocalBackend(GOLDEN_V2, device="cpu", dtype="float32")
        serving = Serving(create_app(backend))
        serving.start()
        cls.url = f"{serving.url}/v1"
        yield
        serving.stop()
        backend.close()

    @property
    def embeddings_class(self) -> type[Embeddings]:
        return JinaClipEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"model": GOLDEN_V2.name, "base_url": self.url}


def test_both_classes_are_embeddings() -> None:
    assert isinstance(JinaClipEmbeddings(), Embeddings)
    assert isinstance(ImageEmbeddings(embeddings=JinaClipEmbeddings()), Embeddings)
