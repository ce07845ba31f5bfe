"""The ten hooks and the public methods around them."""

from __future__ import annotations

import asyncio
import importlib
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llama_index.core import Settings
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.embeddings import MultiModalEmbedding
from llama_index.core.embeddings.utils import resolve_embed_model
from pydantic import ValidationError

import jina_clip_integrations.llama_index
from jina_clip_integrations.errors import ConfigurationError, ImageError, InputError
from jina_clip_integrations.llama_index import JinaClipEmbedding
from tests.expected import assert_same, of_images, of_texts
from tests.fakes import BlockingBackend, SlowBackend, text_vector, unit

TEXTS = ["a red bicycle", "un chien", "ein Hund", "a red bicycle", "five"]
HOOKS = ["query_embedding", "text_embedding", "text_embeddings", "image_embedding", "image_embeddings"]


@pytest.mark.framework("llama-index/model-name", "llama-index/multimodal-class")
def test_it_is_an_embedding_model_of_llama_index() -> None:
    names = [kind.__name__ for kind in JinaClipEmbedding.__mro__]
    assert BaseEmbedding.__name__ in names
    assert isinstance(JinaClipEmbedding(), MultiModalEmbedding)
    assert JinaClipEmbedding.class_name() == "JinaClipEmbedding"
    assert JinaClipEmbedding().model_name == "jina-clip-v2"


def test_construction_loads_neither_a_model_nor_the_other_framework() -> None:
    code = (
        "import sys\n"
        "from jina_clip_integrations.llama_index import JinaClipEmbedding\n"
        "JinaClipEmbedding(); JinaClipEmbedding(model='demo', backend='local').to_json()\n"
        "print([name for name in ('torch', 'langchain_core') if name in sys.modules])\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_a_missing_extra_names_the_install_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=re.escape('pip install "jina-clip-integrations[llama-index]"')):
        importlib.reload(jina_clip_integrations.llama_index)


def test_the_schema_can_be_asked_for() -> None:
    properties = JinaClipEmbedding.model_json_schema()["properties"]
    assert {"model_name", "dimensions", "class_name"} <= set(properties)


@pytest.mark.framework("llama-index/all-hooks")
def test_all_ten_hooks_are_our_own() -> None:
    own = [hook for face in ("_get", "_aget") for hook in (f"{face}_{name}" for name in HOOKS)]
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


@pytest.mark.framework("llama-index/python-floats")
@pytest.mark.parametrize("method", ["get_text_embedding_batch", "get_text_embeddings"])
async def test_texts_keep_their_order(call: Callable[..., Any], embedding: Any, method: str) -> None:
    assert_same(await call(embedding, method, TEXTS), of_texts(TEXTS))


@pytest.mark.framework("llama-index/python-floats")
@pytest.mark.parametrize("method", ["get_image_embedding_batch", "get_image_embeddings"])
async def test_images_keep_their_order(
    call: Callable[..., Any], embedding: Any, images: list[str], method: str
) -> None:
    many = [*images, images[0], images[2]]
    assert_same(await call(embedding, method, many), of_images(many))
    assert_same(await call(embedding, method, tuple(images)), of_images(images))


@pytest.mark.framework("llama-index/averaged-queries")
async def test_queries_are_averaged(call: Callable[..., Any], embedding: Any) -> None:
    mean = await call(embedding, "get_agg_embedding_from_queries", ["a", "b"])
    np.testing.assert_allclose(mean, of_texts(["a", "b"], "retrieval.query").mean(axis=0), atol=1e-6)


@pytest.mark.framework("llama-index/query-instruction")
async def test_query_task_none_makes_a_query_a_text(call: Callable[..., Any], backend: Any) -> None:
    plain = JinaClipEmbedding(backend=backend, query_task=None)
    assert_same([await call(plain, "get_query_embedding", "dog")], of_texts(["dog"]))


@pytest.mark.parametrize(
    "method",
    ["get_text_embedding_batch", "get_text_embeddings", "get_image_embedding_batch", "get_image_embeddings"],
)
async def test_nothing_gives_nothing(call: Callable[..., Any], embedding: Any, backend: Any, method: str) -> None:
    assert await call(embedding, method, []) == []
    assert backend.batches == []


@pytest.mark.parametrize(
    ("method", "wrong", "hint"),
    [
        ("get_text_embeddings", "abc", "get_text_embedding"),
        ("get_text_embedding_batch", "abc", "get_text_embedding"),
        ("get_image_embeddings", "cat.png", "get_image_embedding"),
        ("get_image_embedding_batch", b"\x89PNG", "get_image_embedding"),
        ("get_text_embedding", ["abc"], "get_text_embeddings"),
        ("get_query_embedding", ["abc"], "get_text_embeddings"),
        ("get_image_embedding", ["cat.png"], "an image cannot be a list"),
    ],
)
async def test_one_and_many_are_not_confused(
    call: Callable[..., Any], embedding: Any, backend: Any, method: str, wrong: Any, hint: str
) -> None:
    with pytest.raises(InputError, match=hint):
        await call(embedding, method, wrong)
    assert backend.batches == []


# Slices


@pytest.mark.framework("llama-index/default-batch-size")
@pytest.mark.parametrize("kind", ["text", "image"])
async def test_the_framework_hands_over_slices(
    call: Callable[..., Any], embedding: Any, backend: Any, images: list[str], kind: str
) -> None:
    values = TEXTS[:3] if kind == "text" else images
    await call(embedding, f"get_{kind}_embedding_batch", values)
    assert sorted(len(batch) for batch in backend.batches) == [1, 2]


@pytest.mark.framework("llama-index/batch-size-checked")
@pytest.mark.parametrize("size", [0, 5000])
async def test_the_slice_size_is_checked_at_every_use(call: Callable[..., Any], embedding: Any, size: int) -> None:
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
)
def test_slices_over_the_api_are_worth_many_requests(options: dict[str, Any], size: int) -> None:
    assert JinaClipEmbedding(**options).embed_batch_size == size


class Counting(BlockingBackend):
    """Counts the calls that overlap."""

    now = peak = 0

    async def aembed(self, batch: Any) -> Any:
        self.now += 1
        self.peak = max(self.peak, self.now)
        await asyncio.sleep(0.005)
        self.now -= 1
        return self._result(batch)


@pytest.mark.framework("llama-index/bounded-concurrency")
@pytest.mark.parametrize(("num_workers", "most"), [(None, 4), (1, 1), (3, 3)])
@pytest.mark.parametrize("kind", ["text", "image"])
async def test_concurrency_is_bounded_with_and_without_num_workers(
    images: list[str], kind: str, num_workers: int | None, most: int
) -> None:
    backend = Counting()
    embedding = JinaClipEmbedding(backend=backend, embed_batch_size=1, num_workers=num_workers)
    values = [str(n) for n in range(24)] if kind == "text" else images * 8
    await getattr(embedding, f"aget_{kind}_embedding_batch")(values)
    assert backend.peak == most


async def test_the_first_failure_ends_the_other_slices(images: list[str]) -> None:
    backend = Counting()
    embedding = JinaClipEmbedding(backend=backend, embed_batch_size=1, num_workers=1)
    with pytest.raises(ImageError):
        await embedding.aget_image_embedding_batch(["missing.png", *images * 5])
    assert len(backend.batches) < 3


@pytest.mark.framework("llama-index/all-hooks")
async def test_the_event_loop_stays_free() -> None:
    embedding = JinaClipEmbedding(backend=SlowBackend(pause_s=0.2))
    ticks = []

    async def tick() -> None:
        while True:
            ticks.append(time.monotonic())
            await asyncio.sleep(0.01)

    ticker = asyncio.ensure_future(tick())
    await asyncio.gather(embedding.aget_query_embedding("a"), embedding.aget_text_embedding("b"))
    ticker.cancel()
    assert len(ticks) >= 5


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
    display_name = capsys.readouterr()
    assert ("Generating image embeddings" if kind == "image" else "Generating embeddings") in display_name.err
    assert "3/3" in display_name.err
    assert display_name.out == ""
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


async def test_text_that_looks_like_a_path_stays_text(
    call: Callable[..., Any], embedding: Any, images: list[str]
) -> None:
    assert_same(await call(embedding, "get_text_embedding_batch", images), of_texts(images))


# As the framework's setting


@pytest.mark.framework("llama-index/global-setting")
def test_settings_keep_the_object_and_may_assign_its_callbacks(
    monkeypatch: pytest.MonkeyPatch, embedding: JinaClipEmbedding
) -> None:
    monkeypatch.setattr(Settings, "_embed_model", None)
    Settings.embed_model = embedding
    assert Settings.embed_model is embedding
    assert resolve_embed_model(embedding, callback_manager=embedding.callback_manager) is embedding


@pytest.mark.framework("llama-index/assigned-fields")
async def test_assigned_fields_take_effect_on_the_next_call(call: Callable[..., Any], embedding: Any) -> None:
    assert len(await call(embedding, "get_text_embedding", "a")) == 8
    embedding.dimensions = 4
    cut = await call(embedding, "get_text_embedding", "a")
    np.testing.assert_allclose([cut], unit(text_vector("a")[None, :4]), atol=1e-6)
    embedding.query_task = None
    assert await call(embedding, "get_query_embedding", "a") == cut
    assert embedding.usage.items == 3


async def test_usage_counts_on(call: Callable[..., Any], embedding: Any) -> None:
    await call(embedding, "get_text_embedding_batch", TEXTS)
    assert (embedding.usage.items, embedding.last_errors) == (5, {})
    await call(embedding, "close")
    await call(embedding, "get_query_embedding", "again")
    assert embedding.usage.items == 6
