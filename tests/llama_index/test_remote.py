"""Over the API backend: what every method sends, in both faces and in one event loop after another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from llama_index.core.indices import MultiModalVectorStoreIndex
from llama_index.core.schema import ImageNode

from jina_clip_integrations.errors import ConfigurationError
from jina_clip_integrations.llama_index import JinaClipEmbedding
from tests.faulty_server import KEY as SERVER_KEY
from tests.faulty_server import FaultyServer, vectors_of
from tests.remote import Service

KEY = "jina_0123456789abcdef"


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.mark.framework("llama-index/query-instruction")
@pytest.mark.parametrize("by", ["argument", "environment"])
async def test_every_method_sends_every_option(
    call: Callable[..., Any], service: Service, images: list[str], monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    monkeypatch.setenv("JINAAI_API_KEY", KEY)
    given = {"api_key": KEY} if by == "argument" else {}
    embedding = JinaClipEmbedding(dimensions=64, headers={"X-Team": "a"}, **service.clients, **given)
    calls = [
        ("get_query_embedding", "a", "retrieval.query"),
        ("get_text_embedding", "a", None),
        ("get_text_embedding_batch", ["a", "b"], None),
        ("get_image_embedding", images[0], None),
        ("get_image_embedding_batch", images, None),
    ]
    for method, argument, task in calls:
        service.seen.clear()
        vectors = await call(embedding, method, argument)
        assert len(vectors if isinstance(vectors[0], float) else vectors[0]) == 64
        [(headers, body)] = service.seen
        assert headers["authorization"] == f"Bearer {KEY}"
        assert headers["x-team"] == "a"
        assert (body["model"], body["dimensions"], body.get("task")) == ("jina-clip-v2", 64, task), method


@pytest.mark.framework("llama-index/default-batch-size")
async def test_a_slice_is_cut_into_requests(call: Callable[..., Any], service: Service) -> None:
    embedding = JinaClipEmbedding(api_key=KEY, dimensions=64, batch_size=40, **service.clients)
    await call(embedding, "get_text_embedding_batch", [str(n) for n in range(100)])
    assert sorted(len(body["input"]) for _, body in service.seen) == [20, 40, 40]


async def test_a_missing_key_is_named_on_first_use(call: Callable[..., Any], images: list[str]) -> None:
    for method, argument in [("get_query_embedding", "a"), ("get_image_embedding", images[0])]:
        with pytest.raises(ConfigurationError, match="JINA_API_KEY"):
            await call(JinaClipEmbedding(), method, argument)


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
