"""The LangChain class over a content-derived backend."""

from __future__ import annotations

import pytest

from jina_clip_integrations.langchain import JinaClipEmbeddings
from tests.adapters import backend, call, images
from tests.fakes import BlockingBackend

__all__ = ["backend", "call", "images"]


@pytest.fixture
def embeddings(backend: BlockingBackend) -> JinaClipEmbeddings:
    return JinaClipEmbeddings(backend=backend)
