"""What only the LlamaIndex class has: its ten hooks, batches in flight, progress, the framework's settings."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from llama_index.core import Settings
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.embeddings import MultiModalEmbedding
from llama_index.core.embeddings.utils import resolve_embed_model
from pydantic import ValidationError

from jina_clip_integrations.errors import ConfigurationError, ImageError
from jina_clip_integrations.llama_index import JinaClipEmbedding
from tests.expected import assert_same, of_images, of_texts
from tests.fakes import BlockingBackend
from tests.remote import Service

TEXTS = ["a red bicycle", "un chien", "ein Hund", "a red bicycle", "five"]
HOOKS = ["query_embedding", "text_embedding", "text_embeddings", "image_embedding", "image_embeddings"]


@pytest.mark.framework("llama-index/model-name", "llama-index/multimodal-class")
def test_it_is_an_embedding_model_of_llama_index() -> None:
    names = [kind.__name__ for kind in JinaClipEmbedding.__mro__]
    assert BaseEmbedding.__name__ in names
    assert isinstance(JinaClipEmbedding(), MultiModalEmbedding)
    assert JinaClipEmbedding.class_name() == "JinaClipEmbedding"
    assert JinaClipEmbedding().model_name == "jina-clip-v2"


def test_the_schema_can_be_asked_for() -> None:
    properties = JinaClipEmbedding.model_json_schema()["properties"]
    assert {"model_name", "dimensions", "class_name"} <= set(properties)


@pytest.mark.framework("llama-index/all-hooks")
def test_all_ten_hooks_are_our_own() -> None:
    own = [hook for prefix in ("_get", "_aget") for hook in (f"{prefix}_{name}" for name in HOOKS)]
    theirs = [vars(kind) for kind in (BaseEmbedding, MultiModalEmbedding)]
    assert len(own) == 10
    for hook in own:
        assert not any(getattr(JinaClipEmbedding, hook) is names.get(hook) for names in theirs), hook


@pytest.mark.framework("llama-index/all-hooks", "llama-index/async-returns-vectors")
async def test_every_hook_gives_its_vectors(call: Callable[..., Any], embedding: Any, images: list[str]) -> None:
    query = await call(embedding, "_get_query_embedding", TEXTS[0])
    assert_same([query], of_texts(TEXTS[:1], "retrieval.query"))
    assert_same([await call(embedding, "_get_text_embedding", TEXTS[0])], of_texts(TEXTS[:1]))
    assert_same(await call(embedding, "_get_text_embeddings", TEXTS), of_texts(TEXTS))
    assert_same([await call(embedding, "_get_image_embedding", images[0])], of_images(images[:1]))
    assert_same(await call(embedding, "_get_image_embeddings", images), of_images(images))


@pytest.mark.framework("llama-index/async-returns-vectors", "llama-index/query-instruction")
async def test_public_single_methods(call: Callable[..., Any], embedding: Any, images: list[str]) -> None:
    assert_same([await call(embedding, "get_query_embedding", "dog")], of_texts(["dog"], "retrieval.query"))
    assert_same([await call(embedding, "get_text_embedding", "dog")], of_texts(["dog"]))
    assert_same([await call(embedding, "get_image_embedding", images[1])], of_images(images[1:2]))
    assert_same([await call(embedding, "get_image_embedding", img_file_path=images[2])], of_images(images[2:]))


@pytest.mark.framework("llama-index/averaged-queries")
async def test_queries_are_averaged(call: Callable[..., Any], embedding: Any) -> None:
    mean = await call(embedding, "get_agg_embedding_from_queries", ["a", "b"])
    np.testing.assert_allclose(mean, of_texts(["a", "b"], "retrieval.query").mean(axis=0), atol=1e-6)


# Batches


@pytest.mark.framework("llama-index/default-batch-size")
@pytest.mark.parametrize("kind", ["text", "image"])
async def test_hooks_are_given_batches(
    call: Callable[..., Any], embedding: Any, backend: Any, images: list[str], kind: str
) -> None:
    values = TEXTS[:3] if kind == "text" else images
    await call(embedding, f"get_{kind}_embedding_batch", values)
    assert sorted(len(batch) for batch in backend.batches) == [1, 2]


@pytest.mark.framework("llama-index/batch-size-checked")
@pytest.mark.parametrize("size", [0, 5000])
async def test_embed_batch_size_is_checked_at_every_use(call: Callable[..., Any], embedding: Any, size: int) -> None:
    with pytest.raises(ValidationError):
        JinaClipEmbedding(embed_batch_size=size)
    embedding.embed_batch_size = size
    with pytest.raises(ConfigurationError, match="embed_batch_size"):
        await call(embedding, "get_text_embedding_batch", TEXTS)


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ({}, 2048),
        ({"backend": "api"}, 2048),
        ({"backend": "local", "model_name": "demo"}, 128),
        ({"embed_batch_size": 7}, 7),
        ({"backend": "local", "model_name": "demo", "embed_batch_size": 7}, 7),
    ],
    ids=["defaults", "api", "local", "given", "given locally"],
)
def test_batches_over_the_api_are_worth_many_requests(options: dict[str, Any], size: int) -> None:
    assert JinaClipEmbedding(**options).embed_batch_size == size


class Counting(BlockingBackend):
    """Counts the calls that overlap."""

    now = peak = 0

    async def aembed(self, batch: Any) -> Any:
        self.now += 1
        self.peak = max(self.peak, self.now)
        await asyncio.sleep(0.005)
        self.now -= 1
        return super().embed(batch)


@pytest.mark.framework("llama-index/bounded-concurrency")
@pytest.mark.parametrize(("num_workers", "peak"), [(None, 4), (1, 1), (3, 3)])
@pytest.mark.parametrize("kind", ["text", "image"])
async def test_concurrency_is_bounded_with_and_without_num_workers(
    images: list[str], kind: str, num_workers: int | None, peak: int
) -> None:
    backend = Counting()
    embedding = JinaClipEmbedding(backend=backend, embed_batch_size=1, num_workers=num_workers)
    values = [str(n) for n in range(24)] if kind == "text" else images * 8
    await getattr(embedding, f"aget_{kind}_embedding_batch")(values)
    assert backend.peak == peak


class CountingService(Service):
    """Counts the requests that overlap, through a client that waits for others to come."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self.async_client = httpx.AsyncClient(transport=httpx.MockTransport(self.aanswer))

    async def aanswer(self, request: httpx.Request) -> httpx.Response:
        self.now += 1
        self.peak = max(self.peak, self.now)
        await asyncio.sleep(0.02)
        self.now -= 1
        return self.answer(request)


@pytest.mark.framework("llama-index/bounded-concurrency")
@pytest.mark.parametrize(
    ("options", "peak"),
    [
        ({"max_concurrency": 8}, 8),
        ({"max_concurrency": 2}, 2),
        ({"max_concurrency": 8, "num_workers": 3}, 3),
        ({"max_concurrency": 2, "num_workers": 6}, 2),
        ({}, 4),
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", ["text", "image"])
async def test_max_concurrency_means_that_many_in_flight(
    images: list[str], kind: str, options: dict[str, int], peak: int
) -> None:
    service = CountingService()
    embedding = JinaClipEmbedding(api_key="jina_0123456789abcdef", embed_batch_size=1, **service.clients, **options)
    values = [str(n) for n in range(24)] if kind == "text" else images * 8
    await getattr(embedding, f"aget_{kind}_embedding_batch")(values)
    assert (service.peak, len(service.seen)) == (peak, 24)


async def test_the_first_failure_ends_the_other_batches(images: list[str]) -> None:
    backend = Counting()
    embedding = JinaClipEmbedding(backend=backend, embed_batch_size=1, num_workers=1)
    with pytest.raises(ImageError):
        await embedding.aget_image_embedding_batch(["missing.png", *images * 5])
    assert len(backend.batches) < 3


@pytest.mark.framework("llama-index/changing-event-loops")
def test_one_object_works_in_one_loop_after_another(embedding: Any) -> None:
    first = asyncio.run(embedding.aget_text_embedding_batch(TEXTS))
    assert asyncio.run(embedding.aget_text_embedding_batch(TEXTS)) == first == embedding.get_text_embedding_batch(TEXTS)


@pytest.mark.framework("llama-index/progress-bars")
@pytest.mark.parametrize("kind", ["text", "image"])
async def test_progress_is_shown_when_asked(
    call: Callable[..., Any], embedding: Any, images: list[str], capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    values = TEXTS[:3] if kind == "text" else images
    await call(embedding, f"get_{kind}_embedding_batch", values)
    assert capsys.readouterr().err == ""
    await call(embedding, f"get_{kind}_embedding_batch", values, show_progress=True)
    drawn = capsys.readouterr()
    assert ("Generating image embeddings" if kind == "image" else "Generating embeddings") in drawn.err
    assert "3/3" in drawn.err
    assert drawn.out == ""
    embedding.show_progress = True
    await call(embedding, f"get_{kind}_embedding_batch", values)
    assert {line.partition(":")[0].strip() for line in re.split("[\r\n]", capsys.readouterr().err) if line.strip()} == {
        "Generating image embeddings" if kind == "image" else "Generating embeddings"
    }


# Errors


async def test_an_error_names_the_callers_index_and_keeps_what_was_finished(
    call: Callable[..., Any], embedding: Any, images: list[str], tmp_path: Path
) -> None:
    (tmp_path / "broken.png").write_bytes(b"not an image")
    embedding.num_workers = 1
    with pytest.raises(ImageError) as caught:
        await call(embedding, "get_image_embedding_batch", [*images, str(tmp_path / "broken.png"), images[0]])
    assert caught.value.index == 3
    partial = caught.value.partial
    assert partial is not None
    np.testing.assert_allclose(partial[:2], of_images(images[:2]), atol=1e-6)
    assert np.isnan(partial[3:]).all()


async def test_an_image_that_cannot_be_understood_is_named(call: Callable[..., Any], embedding: Any) -> None:
    with pytest.raises(ImageError, match="input 1: an image cannot be a int"):
        await call(embedding, "get_image_embedding_batch", ["a.png", 3])


# As the framework's setting


@pytest.mark.framework("llama-index/global-setting")
def test_settings_keep_the_object_and_may_assign_its_callbacks(
    monkeypatch: pytest.MonkeyPatch, embedding: JinaClipEmbedding
) -> None:
    monkeypatch.setattr(Settings, "_embed_model", None)
    Settings.embed_model = embedding
    assert Settings.embed_model is embedding
    assert resolve_embed_model(embedding, callback_manager=embedding.callback_manager) is embedding
