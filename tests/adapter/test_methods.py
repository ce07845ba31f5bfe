"""Text and image methods: what both frameworks' classes promise about order, kinds, errors, usage and event loops."""

from __future__ import annotations

import asyncio
import base64
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from llama_index.core.storage.kvstore import SimpleKVStore
from PIL import Image

from jina_clip_integrations import JinaClipEncoder
from jina_clip_integrations.errors import ConfigurationError, ImageError, InputError
from tests.adapters import LANGCHAIN, LLAMA_INDEX, Adapter, over_methods
from tests.expected import assert_same, bytes_of, of_images, of_texts
from tests.fakes import BlockingBackend, SlowBackend, StreamingFake, text_vector, unit

TEXTS = ["a red bicycle", "un chien", "ein Hund", "a red bicycle", "five"]


# Texts


@pytest.mark.framework("langchain/async-pair", "llama-index/python-floats")
@over_methods("texts")
async def test_texts_keep_their_order_and_are_plain_floats(
    call: Callable[..., Any], adapter: Adapter, backend: Any, method: str
) -> None:
    assert_same(await call(adapter(backend=backend), method, TEXTS), of_texts(TEXTS))


async def test_a_query_has_the_task_and_a_text_has_not(
    call: Callable[..., Any], adapter: Adapter, backend: Any
) -> None:
    embeddings = adapter(backend=backend)
    query = await call(embeddings, adapter.query, TEXTS[0])
    assert_same([query], of_texts(TEXTS[:1], "retrieval.query"))
    document = (await call(embeddings, adapter.texts[0], TEXTS[:1]))[0]
    assert np.dot(query, document) < 0.99


@pytest.mark.framework("llama-index/query-instruction")
@pytest.mark.parametrize("task", [None, "retrieval.query"])
async def test_query_task_can_be_chosen(
    call: Callable[..., Any], adapter: Adapter, backend: Any, task: str | None
) -> None:
    query = await call(adapter(backend=backend, query_task=task), adapter.query, "dog")
    assert [batch.task for batch in backend.batches] == [task]
    assert_same([query], of_texts(["dog"], task))


async def test_a_model_without_tasks_gets_none(call: Callable[..., Any], adapter: Adapter) -> None:
    backend = BlockingBackend(spec=None)
    await call(adapter(backend=backend), adapter.query, "dog")
    assert backend.batches[0].task is None


async def test_text_that_looks_like_a_path_stays_text(
    call: Callable[..., Any], adapter: Adapter, backend: Any, images: list[str]
) -> None:
    assert_same(await call(adapter(backend=backend), adapter.texts[0], images), of_texts(images))


async def test_vectors_are_truncated_and_normalised_as_asked(
    call: Callable[..., Any], adapter: Adapter, backend: Any
) -> None:
    raw = np.stack([text_vector(text) for text in TEXTS])
    narrow = await call(adapter(backend=backend, dimensions=4), adapter.texts[0], TEXTS)
    np.testing.assert_allclose(narrow, unit(raw[:, :4]), atol=1e-6)
    long = await call(adapter(backend=backend, normalize=False), adapter.texts[0], TEXTS)
    np.testing.assert_allclose(long, raw, rtol=1e-6)


async def test_a_batch_is_one_call_of_the_backend(call: Callable[..., Any], adapter: Adapter) -> None:
    backend = StreamingFake()
    await call(adapter(backend=backend), adapter.texts[0], [str(n) for n in range(9)])
    assert [len(batch) for batch in backend.batches] == [3, 3, 3]


# Images


@pytest.mark.framework("llama-index/python-floats")
@over_methods("images")
async def test_images_keep_their_order(
    call: Callable[..., Any], adapter: Adapter, backend: Any, images: list[str], method: str
) -> None:
    embeddings = adapter(backend=backend)
    many = [*images, images[0], images[2]]
    assert_same(await call(embeddings, method, many), of_images(many))
    assert_same(await call(embeddings, method, tuple(images)), of_images(images))


@pytest.mark.framework("langchain/image-methods")
async def test_one_image_gives_one_vector(
    call: Callable[..., Any], adapter: Adapter, backend: Any, images: list[str]
) -> None:
    vector = await call(adapter(backend=backend), adapter.image, images[1])
    assert_same([vector], of_images(images[1:2]))


async def test_images_come_in_every_form(
    call: Callable[..., Any], adapter: Adapter, backend: Any, images: list[str]
) -> None:
    path = images[0]
    data = bytes_of(path)
    uri = f"data:image/png;base64,{base64.b64encode(data).decode()}"
    forms = [path, Path(path), data, uri, Image.open(path), np.asarray(Image.open(path))]
    vectors = await call(adapter(backend=backend), adapter.images[0], forms)
    np.testing.assert_allclose(vectors, of_images([path] * 6), atol=1e-6)


async def test_a_bad_image_is_named_by_its_index(
    call: Callable[..., Any], adapter: Adapter, backend: Any, images: list[str], tmp_path: Path
) -> None:
    (tmp_path / "notes.png").write_text("not an image")
    with pytest.raises(ImageError) as caught:
        await call(adapter(backend=backend), adapter.images[0], [*images, str(tmp_path / "notes.png")])
    assert caught.value.index == 3


# One and many


@pytest.mark.framework("langchain/empty-list")
@over_methods("texts", "images")
async def test_nothing_gives_nothing_without_a_request(
    call: Callable[..., Any], adapter: Adapter, backend: Any, method: str
) -> None:
    assert await call(adapter(backend=backend), method, []) == []
    assert backend.batches == []


CONFUSED = [
    (LANGCHAIN, "embed_documents", "abc", "embed_query"),
    (LANGCHAIN, "embed_images", "cat.png", "embed_image"),
    (LANGCHAIN, "embed_images", b"\x89PNG", "embed_image"),
    (LANGCHAIN, "embed_query", ["abc"], "embed_documents"),
    (LLAMA_INDEX, "get_text_embeddings", "abc", "get_text_embedding"),
    (LLAMA_INDEX, "get_text_embedding_batch", "abc", "get_text_embedding"),
    (LLAMA_INDEX, "get_image_embeddings", "cat.png", "get_image_embedding"),
    (LLAMA_INDEX, "get_image_embedding_batch", b"\x89PNG", "get_image_embedding"),
    (LLAMA_INDEX, "get_text_embedding", ["abc"], "get_text_embeddings"),
    (LLAMA_INDEX, "get_query_embedding", ["abc"], "get_text_embeddings"),
    (LLAMA_INDEX, "get_image_embedding", ["cat.png"], "an image cannot be a list"),
]


@pytest.mark.parametrize(
    ("adapter", "method", "wrong", "hint"),
    [pytest.param(*case, id=f"{case[1]}-{type(case[2]).__name__}") for case in CONFUSED],
)
async def test_one_and_many_are_not_confused(
    call: Callable[..., Any], adapter: Adapter, backend: Any, method: str, wrong: Any, hint: str
) -> None:
    with pytest.raises(InputError, match=hint):
        await call(adapter(backend=backend), method, wrong)
    assert backend.batches == []


# What a list is


def listed(values: list[Any]) -> dict[str, Any]:
    """The same values in everything whose order is certain."""
    return {
        "tuple": tuple(values),
        "generator": (value for value in values),
        "deque": deque(values),
        "keys": dict.fromkeys(values).keys(),
        "values": dict(enumerate(values)).values(),
        "array of str": np.array(values),
        "array of objects": np.array(values, dtype=object),
        "Series": pd.Series(values, index=range(len(values), 0, -1)),
        "Index": pd.Index(values),
        "Arrow": pa.array(values),
        "str_": [np.str_(value) for value in values],
    }


CONTAINERS = sorted(listed(["a"]))


@pytest.mark.parametrize("container", CONTAINERS)
@over_methods("texts")
async def test_texts_come_in_whatever_has_an_order(
    call: Callable[..., Any], adapter: Adapter, backend: Any, method: str, container: str
) -> None:
    rows = await call(adapter(backend=backend), method, listed(TEXTS[:3])[container])
    assert_same(rows, of_texts(TEXTS[:3]))
    np.testing.assert_array_equal(JinaClipEncoder(backend=backend).encode_text(listed(TEXTS[:3])[container]), rows)


@pytest.mark.parametrize("container", CONTAINERS)
@over_methods("images")
async def test_images_come_in_whatever_has_an_order(
    call: Callable[..., Any], adapter: Adapter, backend: Any, images: list[str], method: str, container: str
) -> None:
    rows = await call(adapter(backend=backend), method, listed(images)[container])
    assert_same(rows, of_images(images))


FRAME = pd.DataFrame({"text": ["a", "b"], "page": ["c", "d"]})
NO_LISTS = [
    (FRAME, "table"),
    (FRAME[["text"]], "table"),
    (pa.table({"text": ["a", "b"]}), "Table"),
    ({"a": 1, "b": 2}, "dict|items"),
    ({"a", "b"}, "a set has no order"),
    (frozenset("ab"), "a set has no order"),
    (b"bytes", "bytes"),
    (bytearray(b"bytes"), "bytearray"),
    (np.array("a"), "without a dimension"),
    (None, "NoneType"),
    (7, "int"),
]


@pytest.mark.parametrize(("wrong", "reason"), NO_LISTS, ids=lambda value: type(value).__name__)
@over_methods("texts", "images")
async def test_what_is_no_list_is_refused_as_by_the_encoder(
    call: Callable[..., Any], adapter: Adapter, backend: Any, method: str, wrong: Any, reason: str
) -> None:
    if method == "embed_image" and isinstance(wrong, bytes | bytearray):
        return  # one image
    with pytest.raises(InputError, match=reason):
        await call(adapter(backend=backend), method, wrong)
    assert backend.batches == []


ITEMS = [None, 1.5, float("nan"), ["nested"], b"bytes", {"text": "a"}, {"a"}]


@pytest.mark.parametrize("wrong", ITEMS, ids=lambda value: type(value).__name__)
@over_methods("texts")
async def test_what_is_no_text_is_named_before_anything_is_computed(
    call: Callable[..., Any], adapter: Adapter, backend: Any, method: str, wrong: Any
) -> None:
    options = {"embeddings_cache": SimpleKVStore(), "embed_batch_size": 1} if adapter is LLAMA_INDEX else {}
    with pytest.raises(InputError, match="must be a str") as caught:
        await call(adapter(backend=backend, **options), method, ["a", "b", wrong])
    assert caught.value.index == 2
    assert backend.batches == []


@pytest.mark.parametrize("wrong", [None, 1.5, ["nested.png"], {"a"}], ids=lambda value: type(value).__name__)
@over_methods("images")
async def test_what_is_no_image_is_named_before_anything_is_computed(
    call: Callable[..., Any], adapter: Adapter, backend: Any, images: list[str], method: str, wrong: Any
) -> None:
    with pytest.raises(ImageError, match="an image cannot be a") as caught:
        await call(adapter(backend=backend), method, [*images, wrong])
    assert caught.value.index == 3
    assert backend.batches == []


@pytest.mark.parametrize("wrong", [wrong for wrong, _ in NO_LISTS[:6]], ids=lambda value: type(value).__name__)
async def test_the_view_for_stores_refuses_the_same(call: Callable[..., Any], backend: Any, wrong: Any) -> None:
    view = LANGCHAIN(backend=backend).for_images()
    with pytest.raises(InputError):
        await call(view, "embed_documents", wrong)


@pytest.mark.parametrize("container", CONTAINERS)
async def test_the_view_for_stores_takes_the_same(
    call: Callable[..., Any], backend: Any, images: list[str], container: str
) -> None:
    rows = await call(LANGCHAIN(backend=backend).for_images(), "embed_documents", listed(images)[container])
    assert_same(rows, of_images(images))


# Event loops


@pytest.mark.framework("langchain/async-pair", "llama-index/all-hooks")
async def test_the_async_methods_leave_the_event_loop_free(adapter: Adapter) -> None:
    embeddings = adapter(backend=SlowBackend(pause_s=0.2))
    ticks = []

    async def tick() -> None:
        while True:
            ticks.append(time.monotonic())
            await asyncio.sleep(0.01)

    ticker = asyncio.ensure_future(tick())
    query, texts = getattr(embeddings, f"a{adapter.query}"), getattr(embeddings, f"a{adapter.texts[0]}")
    await asyncio.gather(query("a"), texts(["b"]))
    ticker.cancel()
    assert len(ticks) >= 5


async def test_sync_methods_work_inside_a_running_loop(adapter: Adapter, backend: Any) -> None:
    assert len(getattr(adapter(backend=backend), adapter.query)("in a notebook cell")) == 8


# Usage, cache, key, closing


async def test_usage_and_last_errors_come_from_the_encoder(
    call: Callable[..., Any], adapter: Adapter, backend: Any
) -> None:
    embeddings = adapter(backend=backend)
    assert (embeddings.usage.items, embeddings.last_errors) == (0, {})
    await call(embeddings, adapter.texts[0], TEXTS)
    assert (embeddings.usage.items, embeddings.last_errors) == (5, {})
    await call(embeddings, adapter.query, "one more")
    assert (embeddings.usage.items, embeddings.usage.total_tokens) == (6, 50)  # one text occurs twice
    assert embeddings.last_errors == {}
    await call(embeddings, "close")
    await call(embeddings, adapter.query, "again")
    assert embeddings.usage.items == 7


@pytest.mark.framework("langchain/own-cache")
async def test_the_cache_keeps_texts_and_images(
    call: Callable[..., Any], adapter: Adapter, backend: Any, images: list[str], tmp_path: Path
) -> None:
    for _ in range(2):
        embeddings = adapter(backend=backend, cache=str(tmp_path / "cache"))
        await call(embeddings, adapter.texts[0], TEXTS)
        await call(embeddings, adapter.images[0], images)
        embeddings.close()
    assert len(backend.embedded) == 4 + len(images)  # one text occurs twice
    assert embeddings.usage.cache_hits == len(TEXTS) + len(images)


@pytest.mark.framework("langchain/missing-key")
async def test_a_missing_key_is_named_on_first_use(
    call: Callable[..., Any], adapter: Adapter, images: list[str]
) -> None:
    for method, argument in [(adapter.query, "a"), (adapter.image, images[0])]:
        with pytest.raises(ConfigurationError, match="JINA_API_KEY"):
            await call(adapter(), method, argument)


async def test_close_frees_and_the_next_call_works_again(
    call: Callable[..., Any], adapter: Adapter, backend: Any
) -> None:
    embeddings = adapter(backend=backend)
    before = await call(embeddings, adapter.query, "a")
    await call(embeddings, "close")
    await call(embeddings, "close")
    assert await call(embeddings, adapter.query, "a") == before
    assert embeddings.usage.items == 2


# What the frameworks have no word for


def test_the_encoder_is_at_hand(adapter: Adapter) -> None:
    backend = BlockingBackend(logit_scale=20.0)
    embeddings = adapter(backend=backend, dimensions=4)
    assert embeddings.encoder is embeddings.encoder
    result = embeddings.encoder.classify({"text": "a dog"}, ["dog", "cat"])
    assert result.predicted[0] in ("dog", "cat")
    assert embeddings.usage.items == 3
    embeddings.dimensions = 8
    assert embeddings.encoder.dimensions == 8
