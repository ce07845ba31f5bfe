"""The frameworks' own conformance suites, without an exception."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from langchain_core.embeddings import Embeddings
from langchain_tests.integration_tests import EmbeddingsIntegrationTests
from langchain_tests.unit_tests import EmbeddingsUnitTests

from jina_clip_integrations.langchain import ImageEmbeddings, JinaClipEmbeddings


class TestUnit(EmbeddingsUnitTests):
    """With sockets disabled, as the whole suite is."""

    @property
    def embeddings_class(self) -> type[Embeddings]:
        return JinaClipEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"model": "jina-clip-v2", "api_key": "jina_test"}

    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        return {"JINA_API_KEY": "jina_env"}, {"model": "jina-clip-v1"}, {"api_key": "jina_env", "model": "jina-clip-v1"}


class TestIntegration(EmbeddingsIntegrationTests):
    """On the tiny v2 checkpoint."""

    @pytest.fixture(autouse=True)
    def _checkpoint(self, golden_v2: Path) -> None:
        type(self).folder = golden_v2

    folder: Path

    @property
    def embeddings_class(self) -> type[Embeddings]:
        return JinaClipEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"model": str(self.folder), "backend": "local", "device": "cpu", "dtype": "float32"}


def test_both_classes_are_embeddings() -> None:
    assert isinstance(JinaClipEmbeddings(), Embeddings)
    assert isinstance(ImageEmbeddings(embeddings=JinaClipEmbeddings()), Embeddings)
