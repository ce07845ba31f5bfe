"""The LlamaIndex class over a content-derived backend."""

from __future__ import annotations

import pytest

from jina_clip_integrations.llama_index import JinaClipEmbedding
from tests.adapters import backend, call, images
from tests.fakes import BlockingBackend

__all__ = ["backend", "call", "images"]


@pytest.fixture
def embedding(backend: BlockingBackend) -> JinaClipEmbedding:
    return JinaClipEmbedding(backend=backend, embed_batch_size=2)
