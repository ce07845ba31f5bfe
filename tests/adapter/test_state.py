"""Copies, pickles, and fields that are assigned later."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tests.adapters import Adapter
from tests.fakes import BlockingBackend, text_vector, unit

KEY = "jina_0123456789abcdef"
COPIES = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "model_copy": lambda given: given.model_copy(),
    "model_copy deep": lambda given: given.model_copy(deep=True),
}


def query(adapter: Adapter, embeddings: Any, text: str = "a") -> list[float]:
    vector: list[float] = getattr(embeddings, adapter.query)(text)
    return vector


# Copies and pickles


@pytest.mark.framework("langchain/pickles-and-copies", "llama-index/deep-copies")
@pytest.mark.parametrize("way", COPIES)
def test_copies_of_a_used_object_work_and_share_the_backend(adapter: Adapter, backend: Any, way: str) -> None:
    embeddings = adapter(backend=backend)
    before = query(adapter, embeddings)
    replica = COPIES[way](embeddings)
    assert replica == embeddings
    assert query(adapter, replica) == before
    assert (replica.usage.items, embeddings.usage.items) == (1, 1)
    assert len(backend.batches) == 2
    replica.dimensions = 4
    assert (len(query(adapter, replica)), len(query(adapter, embeddings))) == (4, 8)


@pytest.mark.parametrize("way", COPIES)
def test_a_copy_keeps_the_key_and_the_client(adapter: Adapter, way: str) -> None:
    client = httpx.Client()
    replica = COPIES[way](adapter(api_key=KEY, http_client=client))
    assert replica.api_key.get_secret_value() == KEY
    assert replica.http_client is client
    client.close()


@pytest.mark.framework("langchain/pickles-and-copies")
def test_a_used_object_equals_an_unused_one(adapter: Adapter, backend: Any, images: list[str]) -> None:
    options = {"backend": backend, "exif_orientation": False, **adapter.comparable}
    used = adapter(**options)
    query(adapter, used)
    getattr(used, adapter.image)(images[0])
    assert used == adapter(**options)
    assert used != adapter(**{**options, "exif_orientation": True})
    assert used != adapter(**{**options, "background": "white"})


@pytest.mark.parametrize("wrong", [{"background": "whitish"}, {"high_bit_depth": "stretch"}])
def test_a_rendering_that_is_none_is_refused_at_construction(adapter: Adapter, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        adapter(**wrong)


@pytest.mark.framework("langchain/pickles-and-copies")
def test_a_pickle_reads_the_key_from_the_environment_on_the_way_back(
    adapter: Adapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = pickle.dumps(adapter(api_key=KEY, headers={"X-Team": "a", "Authorization": "b"}))
    assert pickle.loads(data).api_key is None
    monkeypatch.setenv("JINAAI_API_KEY", "theirs")
    again = pickle.loads(data)
    assert again.api_key.get_secret_value() == "theirs"
    assert again.headers == {"X-Team": "a"}


# Assignment


@pytest.mark.framework("llama-index/assigned-fields")
async def test_an_assigned_field_takes_effect_on_the_next_call(
    call: Callable[..., Any], adapter: Adapter, backend: Any
) -> None:
    embeddings = adapter(backend=backend)
    assert len(await call(embeddings, adapter.query, "a")) == 8
    embeddings.dimensions = 4
    [narrow] = await call(embeddings, adapter.texts[0], ["a"])
    np.testing.assert_allclose([narrow], unit(text_vector("a")[None, :4]), atol=1e-6)
    embeddings.query_task = None
    assert await call(embeddings, adapter.query, "a") == narrow
    embeddings.backend = BlockingBackend(dimensions=16, spec=None)
    embeddings.dimensions = None
    assert len(await call(embeddings, adapter.query, "a")) == 16
    assert embeddings.usage.items == 4


def test_another_width_keeps_the_loaded_model(adapter: Adapter, golden_v2: Path, opened_backends: list[Any]) -> None:
    embeddings = adapter(model=golden_v2, backend="local", device="cpu", dtype="float32")
    wide = query(adapter, embeddings)
    embeddings.dimensions = 32
    narrow = query(adapter, embeddings)
    assert len(opened_backends) == 1
    np.testing.assert_allclose([narrow], unit(np.asarray(wide)[None, :32]), atol=1e-6)
    embeddings.dtype = "bfloat16"
    query(adapter, embeddings)
    assert len(opened_backends) == 2
    embeddings.close()


@pytest.mark.framework("llama-index/deep-copies")
def test_copies_share_the_loaded_model(adapter: Adapter, golden_v2: Path, opened_backends: list[Any]) -> None:
    embeddings = adapter(model=golden_v2, backend="local", device="cpu", dtype="float32")
    vector = query(adapter, embeddings)
    replica = copy.deepcopy(embeddings)
    assert query(adapter, replica) == vector
    assert len(opened_backends) == 1
    embeddings.close()
