"""LlamaIndex's own vector cache and rate limiter, for texts and for images."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.rate_limiter import SlidingWindowRateLimiter, TokenBucketRateLimiter
from llama_index.core.storage.kvstore import SimpleKVStore
from pydantic import ValidationError

from jina_clip_integrations.errors import ImageError
from jina_clip_integrations.llama_index import JinaClipEmbedding
from jina_clip_integrations.settings import DEFAULT_API_BATCH_SIZE, SAGEMAKER_BATCH_SIZE
from tests.expected import assert_same, bytes_of, of_images, of_texts
from tests.fakes import BlockingBackend

TEXTS = ["one", "two", "three"]


@pytest.fixture
def store() -> SimpleKVStore:
    return SimpleKVStore()


@pytest.fixture
def cached(backend: Any, store: SimpleKVStore) -> JinaClipEmbedding:
    return JinaClipEmbedding(backend=backend, embeddings_cache=store, embed_batch_size=2)


# Cache


@pytest.mark.framework("llama-index/cache-keys")
@pytest.mark.parametrize("warm", ["text", "image"])
async def test_a_second_round_computes_nothing(
    call: Callable[..., Any], cached: Any, backend: Any, images: list[str], warm: str
) -> None:
    values, expected = (TEXTS, of_texts(TEXTS)) if warm == "text" else (images, of_images(images))
    assert_same(await call(cached, f"get_{warm}_embedding_batch", values), expected)
    assert len(backend.embedded) == 3
    assert_same(await call(cached, f"get_{warm}_embedding_batch", values[::-1]), expected[::-1])
    assert_same([await call(cached, f"get_{warm}_embedding", values[1])], expected[1:2])
    assert len(backend.embedded) == 3


async def test_only_what_is_missing_is_computed(
    call: Callable[..., Any], cached: Any, backend: Any, images: list[str]
) -> None:
    cached.embed_batch_size = 10
    await call(cached, "get_image_embedding", images[1])
    assert_same(await call(cached, "get_image_embedding_batch", images), of_images(images))
    assert backend.embedded == [images[1], images[0], images[2]]


@pytest.mark.framework("llama-index/cache-keys")
async def test_images_are_known_by_their_bytes(
    call: Callable[..., Any], cached: Any, backend: Any, images: list[str]
) -> None:
    await call(cached, "get_image_embedding", images[0])
    await call(cached, "get_image_embedding", bytes_of(images[0]))
    assert len(backend.batches) == 1
    shutil.copy(images[1], images[0])
    assert_same([await call(cached, "get_image_embedding", images[0])], of_images([images[1]]))


@pytest.mark.framework("llama-index/cache-by-text-alone")
async def test_a_query_and_a_document_are_told_apart(call: Callable[..., Any], cached: Any) -> None:
    document = await call(cached, "get_text_embedding", "dog")
    query = await call(cached, "get_query_embedding", "dog")
    assert_same([document], of_texts(["dog"]))
    assert_same([query], of_texts(["dog"], "retrieval.query"))
    assert await call(cached, "get_query_embedding", "dog") == query


async def test_a_query_without_a_task_shares_the_entry_of_the_text(
    call: Callable[..., Any], cached: Any, backend: Any
) -> None:
    cached.query_task = None
    assert await call(cached, "get_query_embedding", "dog") == await call(cached, "get_text_embedding", "dog")
    assert len(backend.batches) == 1


@pytest.mark.framework("llama-index/cache-by-text-alone", "llama-index/cache-keys")
@pytest.mark.parametrize(
    "change",
    [
        {"dimensions": 4},
        {"normalize": False},
        {"exif_orientation": False},
        {"background": "white"},
        {"high_bit_depth": "scale"},
        {"backend": BlockingBackend(cache_identity="other weights")},
    ],
    ids="-".join,
)
async def test_one_store_serves_many_configurations(
    call: Callable[..., Any], backend: Any, store: Any, images: list[str], change: dict[str, Any]
) -> None:
    first = JinaClipEmbedding(backend=backend, embeddings_cache=store)
    second = JinaClipEmbedding(**{"backend": backend, "embeddings_cache": store, **change})
    for embedding in (first, second):
        await call(embedding, "get_text_embedding", "dog")
        await call(embedding, "get_image_embedding", images[0])
    assert len(store.get_all("embeddings")) == 4
    plain = JinaClipEmbedding(**{"backend": backend, **change})
    assert await call(second, "get_text_embedding", "dog") == await call(plain, "get_text_embedding", "dog")


@pytest.mark.framework("llama-index/cache-by-text-alone")
async def test_an_assigned_width_is_another_configuration(call: Callable[..., Any], cached: Any) -> None:
    assert len(await call(cached, "get_text_embedding", "dog")) == 8
    cached.dimensions = 4
    assert len(await call(cached, "get_text_embedding", "dog")) == 4


@pytest.mark.framework("llama-index/python-floats", "llama-index/cache-keys")
async def test_the_store_stays_the_users_own(
    call: Callable[..., Any], cached: Any, store: SimpleKVStore, tmp_path: Path
) -> None:
    vector = await call(cached, "get_text_embedding", "dog")
    assert cached.embeddings_cache is store
    [(key, entry)] = store.get_all("embeddings").items()
    assert key.endswith(":dog")
    assert list(entry.values()) == [vector]
    store.persist(str(tmp_path / "store.json"))
    again = JinaClipEmbedding(
        backend=(backend := BlockingBackend()),
        embeddings_cache=SimpleKVStore.from_persist_path(str(tmp_path / "store.json")),
    )
    assert await call(again, "get_text_embedding", "dog") == vector
    assert backend.batches == []


async def test_a_bad_image_among_cached_ones_is_named_right(
    call: Callable[..., Any], cached: Any, images: list[str]
) -> None:
    cached.embed_batch_size = 10
    await call(cached, "get_image_embedding_batch", images[:2])
    with pytest.raises(ImageError) as caught:
        await call(cached, "get_image_embedding_batch", [*images[:2], "missing.png"])
    assert caught.value.index == 2
    assert caught.value.partial is not None
    assert_same(caught.value.partial[:2].tolist(), of_images(images[:2]))


async def test_images_that_are_sent_unfetched_are_not_stored(call: Callable[..., Any], store: Any) -> None:
    class Fetching(BlockingBackend):
        sends_urls = True

        def row_of(self, batch: Any, position: int) -> Any:
            return [1.0] + [0.0] * 7

    backend = Fetching()
    embedding = JinaClipEmbedding(backend=backend, embeddings_cache=store)
    for _ in range(2):
        await call(embedding, "get_image_embedding", "https://example.org/cat.png")
    assert len(backend.batches) == 2
    assert store.get_all("embeddings") == {}


def test_what_is_no_store_is_refused() -> None:
    with pytest.raises((TypeError, ValidationError), match="BaseKVStore"):
        JinaClipEmbedding(embeddings_cache={})


# Limiter


class Limiter:
    """Keeps what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def acquire(self, num_tokens: int = 0) -> None:
        self.asked.append(num_tokens)

    async def async_acquire(self, num_tokens: int = 0) -> None:
        self.asked.append(num_tokens)


@pytest.mark.framework("llama-index/limiter-and-images")
async def test_the_limiter_is_asked_for_every_kind_of_request(
    call: Callable[..., Any], backend: Any, images: list[str]
) -> None:
    limiter = Limiter()
    embedding = JinaClipEmbedding(
        model_name="jina-clip-v2", backend=backend, rate_limiter=limiter, embed_batch_size=2, num_workers=1
    )
    await call(embedding, "get_query_embedding", "a red bicycle")
    await call(embedding, "get_text_embedding", "a red bicycle")
    await call(embedding, "get_text_embedding_batch", TEXTS)
    texts = list(limiter.asked)
    assert len(texts) == 4
    assert all(0 < tokens < 20 for tokens in texts)
    limiter.asked.clear()
    await call(embedding, "get_image_embedding", images[0])
    await call(embedding, "get_image_embedding_batch", images)
    assert limiter.asked == [4000, 8000, 4000]


@pytest.mark.framework("llama-index/limiter-and-cache")
async def test_the_limiter_is_not_asked_for_what_is_cached(
    call: Callable[..., Any], cached: Any, images: list[str]
) -> None:
    cached.rate_limiter = limiter = Limiter()
    for _ in range(2):
        await call(cached, "get_text_embedding_batch", TEXTS)
        await call(cached, "get_image_embedding_batch", images)
        await call(cached, "get_query_embedding", "q")
    assert len(limiter.asked) == 5


@pytest.mark.framework("llama-index/limiter-and-images")
def test_a_batch_that_takes_several_requests_asks_for_each() -> None:
    embedding = JinaClipEmbedding(batch_size=2)
    assert len(embedding.tokens_of_requests(["a"] * 5)) == 3
    assert len(JinaClipEmbedding().tokens_of_requests(["a"] * (DEFAULT_API_BATCH_SIZE + 1))) == 2
    assert len(JinaClipEmbedding(backend="local").tokens_of_requests(["a"] * 65)) == 1
    sagemaker = JinaClipEmbedding(backend="sagemaker", endpoint_name="clip")
    assert len(sagemaker.tokens_of_requests(["a"] * (SAGEMAKER_BATCH_SIZE + 1))) == 2


@pytest.mark.framework("llama-index/limiter-and-images")
def test_large_images_cost_their_tiles_when_they_are_not_resized(tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (1000, 600)).save(tmp_path / "large.png")
    for resize_images, tokens in [(True, 4000), ("crop", 4000), (False, 16000)]:
        embedding = JinaClipEmbedding(resize_images=resize_images)
        assert embedding.tokens_of_requests(embedding.images([tmp_path / "large.png"])) == [tokens]
    assert embedding.tokens_of_requests(embedding.images(["https://example.org/a.png", "missing.png"])) == [8000]


@pytest.mark.framework("llama-index/limiter-and-images")
@pytest.mark.parametrize("kind", [TokenBucketRateLimiter, SlidingWindowRateLimiter])
async def test_the_frameworks_limiters_never_wait_for_what_they_cannot_grant(
    call: Callable[..., Any], backend: Any, images: list[str], kind: Any
) -> None:
    embedding = JinaClipEmbedding(backend=backend, rate_limiter=kind(tokens_per_minute=1000))
    assert_same([await call(embedding, "get_image_embedding", images[0])], of_images(images[:1]))
