"""The four text and four image methods, and the view for stores that only know texts."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from jina_clip_integrations.errors import ConfigurationError, ImageError, InputError
from jina_clip_integrations.langchain import JinaClipEmbeddings
from tests.expected import assert_same, bytes_of, of_images, of_texts
from tests.fakes import BlockingBackend, SlowBackend, StreamingFake, text_vector, unit

TEXTS = ["a red bicycle", "un chien", "ein Hund", "a red bicycle"]


@pytest.mark.framework("langchain/async-pair")
async def test_documents_keep_their_order_and_are_plain_floats(call: Callable[..., Any], embeddings: Any) -> None:
    vectors = await call(embeddings, "embed_documents", TEXTS)
    assert_same(vectors, of_texts(TEXTS))


async def test_a_query_has_the_task_and_a_document_has_not(call: Callable[..., Any], embeddings: Any) -> None:
    query = await call(embeddings, "embed_query", TEXTS[0])
    assert_same([query], of_texts(TEXTS[:1], "retrieval.query"))
    document = (await call(embeddings, "embed_documents", TEXTS[:1]))[0]
    assert np.dot(query, document) < 0.99


@pytest.mark.parametrize(("query_task", "expected"), [(None, None), ("retrieval.query", "retrieval.query")])
async def test_query_task_can_be_chosen(call: Callable[..., Any], backend: Any, query_task: Any, expected: Any) -> None:
    await call(JinaClipEmbeddings(backend=backend, query_task=query_task), "embed_query", "dog")
    assert [batch.task for batch in backend.batches] == [expected]


async def test_a_model_without_tasks_gets_none(call: Callable[..., Any]) -> None:
    backend = BlockingBackend(spec=None)
    await call(JinaClipEmbeddings(backend=backend), "embed_query", "dog")
    assert backend.batches[0].task is None


@pytest.mark.framework("langchain/image-methods")
@pytest.mark.parametrize("method", ["embed_images", "embed_image"])
async def test_many_images_give_many_vectors(
    call: Callable[..., Any], embeddings: Any, images: list[str], method: str
) -> None:
    vectors = await call(embeddings, method, uris=images)
    assert_same(vectors, of_images(images))


@pytest.mark.framework("langchain/image-methods")
async def test_one_image_gives_one_vector(call: Callable[..., Any], embeddings: Any, images: list[str]) -> None:
    vector = await call(embeddings, "embed_image", images[1])
    assert_same([vector], of_images(images[1:2]))


async def test_images_come_in_every_form(call: Callable[..., Any], embeddings: Any, images: list[str]) -> None:
    path = images[0]
    data = bytes_of(path)
    uri = f"data:image/png;base64,{base64.b64encode(data).decode()}"
    pixels = np.asarray(Image.open(path))
    vectors = await call(embeddings, "embed_images", [path, Path(path), data, uri, Image.open(path), pixels])
    np.testing.assert_allclose(vectors, of_images([path] * 6), atol=1e-6)


@pytest.mark.framework("langchain/empty-list")
@pytest.mark.parametrize("method", ["embed_documents", "embed_images", "embed_image"])
async def test_nothing_gives_nothing_without_a_request(
    call: Callable[..., Any], embeddings: Any, backend: Any, method: str
) -> None:
    assert await call(embeddings, method, []) == []
    assert backend.batches == []


@pytest.mark.parametrize(
    ("method", "wrong", "hint"),
    [
        ("embed_documents", "abc", "embed_query"),
        ("embed_images", "cat.png", "embed_image"),
        ("embed_images", b"\x89PNG", "embed_image"),
        ("embed_query", ["abc"], "embed_documents"),
    ],
)
async def test_one_where_many_are_meant_is_an_error(
    call: Callable[..., Any], embeddings: Any, backend: Any, method: str, wrong: Any, hint: str
) -> None:
    with pytest.raises(InputError, match=hint):
        await call(embeddings, method, wrong)
    assert backend.batches == []


async def test_a_bad_image_is_named_by_its_index(
    call: Callable[..., Any], embeddings: Any, images: list[str], tmp_path: Path
) -> None:
    (tmp_path / "notes.png").write_text("not an image")
    with pytest.raises(ImageError) as caught:
        await call(embeddings, "embed_images", [*images, str(tmp_path / "notes.png")])
    assert caught.value.index == 3


async def test_a_bad_image_can_be_skipped(
    call: Callable[..., Any], embeddings: Any, images: list[str], tmp_path: Path
) -> None:
    uris = [images[0], str(tmp_path / "missing.png"), images[1]]
    vectors = await call(embeddings, "embed_images", uris, on_error="skip")
    assert np.isnan(vectors[1]).all()
    assert_same([vectors[0], vectors[2]], of_images(images[:2]))
    assert list(embeddings.last_errors) == [1]
    assert isinstance(embeddings.last_errors[1], ImageError)
    await call(embeddings, "embed_images", images)
    assert embeddings.last_errors == {}


async def test_text_that_looks_like_a_path_stays_text(
    call: Callable[..., Any], embeddings: Any, images: list[str]
) -> None:
    np.testing.assert_allclose(await call(embeddings, "embed_documents", images), of_texts(images), atol=1e-6)


@pytest.mark.framework("langchain/image-view")
async def test_the_image_view_reads_documents_as_uris_and_queries_as_text(
    call: Callable[..., Any], embeddings: Any, images: list[str]
) -> None:
    view = embeddings.for_images()
    np.testing.assert_allclose(await call(view, "embed_documents", images), of_images(images), atol=1e-6)
    query = await call(view, "embed_query", "red")
    np.testing.assert_allclose([query], of_texts(["red"], "retrieval.query"), atol=1e-6)
    assert_same(await call(view, "embed_images", uris=images), of_images(images))
    assert_same([await call(view, "embed_image", images[0])], of_images(images[:1]))
    with pytest.raises(InputError):
        await call(view, "embed_documents", images[0])


@pytest.mark.framework("langchain/image-view")
async def test_the_image_view_answers_a_stores_probe_for_the_width(call: Callable[..., Any], embeddings: Any) -> None:
    """langchain-qdrant embeds this one word before it is given any document."""
    assert_same(await call(embeddings.for_images(), "embed_documents", ["dummy_text"]), of_texts(["dummy_text"]))
    with pytest.raises(ImageError):
        await call(embeddings.for_images(), "embed_documents", ["dummy_text", "dummy_text"])


async def test_vectors_are_cut_and_normalised_as_asked(call: Callable[..., Any], backend: Any) -> None:
    raw = np.stack([text_vector(text) for text in TEXTS])
    cut = await call(JinaClipEmbeddings(backend=backend, dimensions=4), "embed_documents", TEXTS)
    np.testing.assert_allclose(cut, unit(raw[:, :4]), atol=1e-6)
    long = await call(JinaClipEmbeddings(backend=backend, normalize=False), "embed_documents", TEXTS)
    np.testing.assert_allclose(long, raw, rtol=1e-6)


@pytest.mark.framework("langchain/async-pair")
async def test_the_async_methods_leave_the_event_loop_free() -> None:
    embeddings = JinaClipEmbeddings(backend=SlowBackend(pause_s=0.2))
    ticks = []

    async def tick() -> None:
        while True:
            ticks.append(time.monotonic())
            await asyncio.sleep(0.01)

    ticker = asyncio.ensure_future(tick())
    await asyncio.gather(embeddings.aembed_query("a"), embeddings.aembed_documents(["b"]))
    ticker.cancel()
    assert len(ticks) >= 5


async def test_sync_methods_work_inside_a_running_loop(embeddings: Any) -> None:
    assert len(embeddings.embed_query("in a notebook cell")) == 8


async def test_usage_and_last_errors_come_from_the_encoder(call: Callable[..., Any], embeddings: Any) -> None:
    assert (embeddings.usage.items, embeddings.last_errors) == (0, {})
    await call(embeddings, "embed_documents", TEXTS)
    await call(embeddings, "embed_query", "one more")
    assert (embeddings.usage.items, embeddings.usage.total_tokens) == (5, 40)
    assert embeddings.last_errors == {}


async def test_a_batch_is_one_call_of_the_backend(call: Callable[..., Any]) -> None:
    backend = StreamingFake()
    await call(JinaClipEmbeddings(backend=backend), "embed_documents", [str(n) for n in range(9)])
    assert [len(batch) for batch in backend.batches] == [3, 3, 3]


@pytest.mark.framework("langchain/own-cache")
async def test_the_cache_keeps_texts_and_images(
    call: Callable[..., Any], backend: Any, images: list[str], tmp_path: Path
) -> None:
    for _ in range(2):
        embeddings = JinaClipEmbeddings(backend=backend, cache=str(tmp_path / "cache"))
        await call(embeddings, "embed_documents", TEXTS)
        await call(embeddings, "embed_images", images)
        embeddings.close()
    assert len(backend.embedded) == 3 + len(images)  # one text occurs twice
    assert embeddings.usage.cache_hits == len(TEXTS) + len(images)


@pytest.mark.framework("langchain/missing-key")
async def test_a_missing_key_is_named_on_first_use(call: Callable[..., Any]) -> None:
    with pytest.raises(ConfigurationError, match="JINA_API_KEY"):
        await call(JinaClipEmbeddings(), "embed_query", "a")


async def test_close_frees_and_the_next_call_works_again(call: Callable[..., Any], embeddings: Any) -> None:
    before = await call(embeddings, "embed_query", "a")
    await call(embeddings, "close")
    await call(embeddings, "close")
    assert await call(embeddings, "embed_query", "a") == before
    assert embeddings.usage.items == 2
