"""Over the API backend: what every method sends, in both faces."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from jina_clip_integrations.errors import ApiError
from jina_clip_integrations.langchain import JinaClipEmbeddings
from tests.remote import Service

KEY = "jina_0123456789abcdef"


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.mark.framework("langchain/async-pair")
@pytest.mark.parametrize("by", ["argument", "environment"])
async def test_every_method_sends_every_option(
    call: Callable[..., Any], service: Service, images: list[str], monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    monkeypatch.setenv("JINAAI_API_KEY", KEY)
    given = {"api_key": KEY} if by == "argument" else {}
    embeddings = JinaClipEmbeddings(dimensions=64, headers={"X-Team": "a"}, **service.clients, **given)
    calls = [
        ("embed_documents", ["a", "b"], None),
        ("embed_query", "a", "retrieval.query"),
        ("embed_images", images, None),
        ("embed_image", images[0], None),
    ]
    for method, argument, task in calls:
        service.seen.clear()
        vectors = await call(embeddings, method, argument)
        assert len(vectors if isinstance(vectors[0], float) else vectors[0]) == 64
        [(headers, body)] = service.seen
        assert headers["authorization"] == f"Bearer {KEY}"
        assert headers["x-team"] == "a"
        assert (body["model"], body["dimensions"], body.get("task")) == ("jina-clip-v2", 64, task), method
    assert embeddings.usage.requests == 4
    assert embeddings.usage.total_tokens == 5 * 7


async def test_a_refusal_is_an_error_of_ours_without_the_key(call: Callable[..., Any], service: Service) -> None:
    import httpx

    def refuse(request: httpx.Request) -> httpx.Response:
        return httpx.Response(401, json={"detail": f"unknown key {KEY}"})

    embeddings = JinaClipEmbeddings(
        api_key=KEY,
        http_client=httpx.Client(transport=httpx.MockTransport(refuse)),
        async_http_client=httpx.AsyncClient(transport=httpx.MockTransport(refuse)),
    )
    with pytest.raises(ApiError) as caught:
        await call(embeddings, "embed_query", "a")
    assert caught.value.status_code == 401
    assert KEY not in f"{caught.value} {caught.value!r} {caught.value.__dict__}"
