"""Over the API backend: batches as requests, and one event loop after another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from llama_index.core.indices import MultiModalVectorStoreIndex
from llama_index.core.schema import ImageNode

from jina_clip_integrations.llama_index import JinaClipEmbedding
from tests.faulty_server import KEY as SERVER_KEY
from tests.faulty_server import FaultyServer, vectors_of
from tests.remote import Service

KEY = "jina_0123456789abcdef"


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.mark.framework("llama-index/default-batch-size")
async def test_an_embed_batch_is_split_into_requests(call: Callable[..., Any], service: Service) -> None:
    embedding = JinaClipEmbedding(api_key=KEY, dimensions=64, batch_size=40, **service.clients)
    await call(embedding, "get_text_embedding_batch", [str(n) for n in range(100)])
    assert sorted(len(body["input"]) for _, body in service.seen) == [20, 40, 40]


@pytest.mark.framework("llama-index/changing-event-loops")
def test_one_object_serves_one_loop_after_another(images: list[str]) -> None:
    """Every `asyncio.run`, and every use of `use_async=True`, is a new loop; connections must not outlive theirs."""
    with FaultyServer() as server:
        embedding = JinaClipEmbedding(api_key=SERVER_KEY, base_url=server.url, dimensions=64)
        rounds = [asyncio.run(embedding.aget_text_embedding_batch(["a", "b"])) for _ in range(3)]
        assert rounds[0] == rounds[1] == rounds[2] == embedding.get_text_embedding_batch(["a", "b"])
        nodes = [ImageNode(image_path=path, metadata={"file_path": path}) for path in images]
        index = MultiModalVectorStoreIndex(nodes, embed_model=embedding, image_embed_model=embedding, use_async=True)
        [hit] = index.as_retriever(image_similarity_top_k=1).image_to_image_retrieve(images[1])
        assert hit.node.image_path == images[1]
        embedding.close()


async def test_many_calls_at_once_in_one_loop(images: list[str]) -> None:
    with FaultyServer() as server:
        embedding = JinaClipEmbedding(api_key=SERVER_KEY, base_url=server.url, dimensions=64, embed_batch_size=2)
        texts = [str(n) for n in range(20)]
        found, rows = await asyncio.gather(
            embedding.aget_text_embedding_batch(texts), embedding.aget_image_embedding_batch(images * 3)
        )
        np.testing.assert_allclose(found, vectors_of(texts, dimensions=64), atol=1e-6)
        assert rows[:3] == rows[3:6] == rows[6:]
        assert len({tuple(vector) for vector in rows}) == 3
        await embedding.aclose()
