"""Over the API backend: what every method sends, in both faces and in one event loop after another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from jina_clip_integrations.errors import ConfigurationError
from jina_clip_integrations.llama_index import JinaClipEmbedding
from tests.remote import Service

KEY = "jina_0123456789abcdef"


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.mark.parametrize("by", ["argument", "environment"])
async def test_every_method_sends_every_option(
    call: Callable[..., Any], service: Service, pictures: list[str], monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    monkeypatch.setenv("JINAAI_API_KEY", KEY)
    given = {"api_key": KEY} if by == "argument" else {}
    embedding = JinaClipEmbedding(dimensions=64, headers={"X-Team": "a"}, **service.clients, **given)
    calls = [
        ("get_query_embedding", "a", "retrieval.query"),
        ("get_text_embedding", "a", None),
        ("get_text_embedding_batch", ["a", "b"], None),
        ("get_image_embedding", pictures[0], None),
        ("get_image_embedding_batch", pictures, None),
    ]
    for method, argument, task in calls:
        service.seen.clear()
        vectors = await call(embedding, method, argument)
        assert len(vectors if isinstance(vectors[0], float) else vectors[0]) == 64
        [(headers, body)] = service.seen
        assert headers["authorization"] == f"Bearer {KEY}"
        assert headers["x-team"] == "a"
        assert (body["model"], body["dimensions"], body.get("task")) == ("jina-clip-v2", 64, task), method


async def test_a_slice_is_cut_into_requests(call: Callable[..., Any], service: Service) -> None:
    embedding = JinaClipEmbedding(api_key=KEY, dimensions=64, batch_size=40, **service.clients)
    await call(embedding, "get_text_embedding_batch", [str(n) for n in range(100)])
    assert sorted(len(body["input"]) for _, body in service.seen) == [20, 40, 40]


async def test_a_missing_key_is_named_on_first_use(call: Callable[..., Any], pictures: list[str]) -> None:
    for method, argument in [("get_query_embedding", "a"), ("get_image_embedding", pictures[0])]:
        with pytest.raises(ConfigurationError, match="JINA_API_KEY"):
            await call(JinaClipEmbedding(), method, argument)


def test_clients_of_ones_own_loop_do_not_outlive_it(service: Service) -> None:
    """Every `asyncio.run` is a new loop, as under `use_async=True`."""
    embedding = JinaClipEmbedding(api_key=KEY, dimensions=64, http_client=service.client)
    embedding.async_http_client = service.async_client
    for _ in range(2):
        assert len(asyncio.run(embedding.aget_text_embedding("a"))) == 64
    assert embedding.get_text_embedding("a") == asyncio.run(embedding.aget_text_embedding("a"))
