"""Over the API backend: what every method sends, in both ways of calling it, and with which key."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from jina_clip_integrations.errors import ApiError
from tests.adapters import LANGCHAIN, LLAMA_INDEX, Adapter
from tests.remote import Service

KEY = "jina_0123456789abcdef"


@pytest.fixture
def service() -> Service:
    return Service()


CALLS: dict[Adapter, list[tuple[str, str, str | None]]] = {
    LANGCHAIN: [
        ("embed_documents", "texts", None),
        ("embed_query", "text", "retrieval.query"),
        ("embed_images", "images", None),
        ("embed_image", "image", None),
    ],
    LLAMA_INDEX: [
        ("get_text_embedding_batch", "texts", None),
        ("get_text_embedding", "text", None),
        ("get_query_embedding", "text", "retrieval.query"),
        ("get_image_embedding_batch", "images", None),
        ("get_image_embedding", "image", None),
    ],
}
"""Method, what it is given, and the task that is sent."""
TOKENS = {LANGCHAIN: 5 * 7, LLAMA_INDEX: 5 * 8}


@pytest.mark.framework("langchain/async-pair", "llama-index/query-instruction")
@pytest.mark.parametrize("by", ["argument", "environment"])
async def test_every_method_sends_every_option(
    call: Callable[..., Any],
    adapter: Adapter,
    service: Service,
    images: list[str],
    monkeypatch: pytest.MonkeyPatch,
    by: str,
) -> None:
    monkeypatch.setenv("JINAAI_API_KEY", KEY)
    given = {"api_key": KEY} if by == "argument" else {}
    embeddings = adapter(dimensions=64, headers={"X-Team": "a"}, **service.clients, **given)
    arguments: dict[str, Any] = {"texts": ["a", "b"], "text": "a", "images": images, "image": images[0]}
    for method, kind, task in CALLS[adapter]:
        service.seen.clear()
        vectors = await call(embeddings, method, arguments[kind])
        assert len(vectors if isinstance(vectors[0], float) else vectors[0]) == 64
        [(headers, body)] = service.seen
        assert headers["authorization"] == f"Bearer {KEY}"
        assert headers["x-team"] == "a"
        assert (body["model"], body["dimensions"], body.get("task")) == ("jina-clip-v2", 64, task), method
    assert embeddings.usage.requests == len(CALLS[adapter])
    assert embeddings.usage.total_tokens == TOKENS[adapter]


async def test_a_refusal_is_an_error_of_ours_without_the_key(call: Callable[..., Any], adapter: Adapter) -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        return httpx.Response(401, json={"detail": f"unknown key {KEY}"})

    embeddings = adapter(
        api_key=KEY,
        http_client=httpx.Client(transport=httpx.MockTransport(refuse)),
        async_http_client=httpx.AsyncClient(transport=httpx.MockTransport(refuse)),
    )
    with pytest.raises(ApiError) as caught:
        await call(embeddings, adapter.query, "a")
    assert caught.value.status_code == 401
    assert KEY not in f"{caught.value} {caught.value!r} {caught.value.__dict__}"


def test_a_key_from_the_environment_counts_after_the_variable_is_gone(
    adapter: Adapter, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("JINA_API_KEY", KEY)
        embeddings = adapter(http_client=service.client, dimensions=64)
    getattr(embeddings, adapter.query)("a")
    assert service.seen[-1][0]["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    ("given", "sent"), [({}, f"Bearer {KEY}"), ({"api_key": "mine"}, "Bearer mine")], ids=["environment", "argument"]
)
def test_another_server_gets_the_key_as_the_backend_decides(
    adapter: Adapter, service: Service, monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], sent: str
) -> None:
    """The adapter passes on an explicit key only; the environment's is looked up, or not, by the backend itself."""
    monkeypatch.setenv("JINA_API_KEY", KEY)
    options = {"base_url": "https://example.org/v1", "http_client": service.client, "dimensions": 64, **given}
    getattr(adapter(dialect="openai", **options), adapter.query)("a")
    assert service.seen[-1][0].get("authorization") == (sent if given else None)
    getattr(adapter(**options), adapter.query)("a")
    assert service.seen[-1][0].get("authorization") == sent
