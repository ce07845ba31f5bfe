"""The published models' facts, and what may be asked of a model."""

from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest

from jina_clip_integrations import ConfigurationError, ModelSpec
from jina_clip_integrations.catalog import JINA_CLIP_V1, JINA_CLIP_V2, MODELS, find_model


@pytest.mark.parametrize(
    ("name", "spec"),
    [
        ("jina-clip-v1", JINA_CLIP_V1),
        ("jinaai/jina-clip-v1", JINA_CLIP_V1),
        ("jina-clip-v2", JINA_CLIP_V2),
        ("jinaai/jina-clip-v2", JINA_CLIP_V2),
        ("jina-ai/jina-clip-v2", JINA_CLIP_V2),
        ("demo", None),
        ("jina-clip-v3", None),
        ("", None),
    ],
)
def test_names(name: str, spec: ModelSpec | None) -> None:
    assert find_model(name) is spec


def test_facts() -> None:
    assert (JINA_CLIP_V1.embed_dim, JINA_CLIP_V1.image_size, JINA_CLIP_V1.tokens_per_tile) == (768, 224, 1000)
    assert (JINA_CLIP_V2.embed_dim, JINA_CLIP_V2.image_size, JINA_CLIP_V2.tokens_per_tile) == (1024, 512, 4000)
    assert (JINA_CLIP_V1.commercial_use, JINA_CLIP_V2.commercial_use) == (True, False)
    assert JINA_CLIP_V2.tasks == {"retrieval.query": "Represent the query for retrieving evidence documents: "}
    assert JINA_CLIP_V1.tasks == {}


def test_rows_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        JINA_CLIP_V2.embed_dim = 3
    with pytest.raises(TypeError):
        MODELS["mine"] = JINA_CLIP_V2
    with pytest.raises(TypeError):
        JINA_CLIP_V2.tasks["mine"] = ""


def test_rows_survive_pickling() -> None:
    for spec in (JINA_CLIP_V1, JINA_CLIP_V2):
        assert pickle.loads(pickle.dumps(spec)) == spec


class TestDimensions:
    @pytest.mark.parametrize("dimensions", [None, 32, 33, 64, 100, 768, 1023, 1024])
    def test_of_v2(self, dimensions: int | None) -> None:
        JINA_CLIP_V2.check_dimensions(dimensions)

    @pytest.mark.parametrize("dimensions", [31, 0, -1, 1025, True, 64.0, "64"])
    def test_v2_cannot_give(self, dimensions: Any) -> None:
        with pytest.raises(ConfigurationError, match="dimensions"):
            JINA_CLIP_V2.check_dimensions(dimensions)

    @pytest.mark.parametrize("dimensions", [64, 512, 767, 769, 1024])
    def test_v1_is_not_cut(self, dimensions: int) -> None:
        JINA_CLIP_V1.check_dimensions(768)
        JINA_CLIP_V1.check_dimensions(None)
        with pytest.raises(ConfigurationError, match=r"not trained with Matryoshka.*leave dimensions out or use 768"):
            JINA_CLIP_V1.check_dimensions(dimensions)

    def test_true_is_not_one(self) -> None:
        with pytest.raises(ConfigurationError):
            replace(JINA_CLIP_V2, embed_dim=1, matryoshka_dimensions=(1,)).check_dimensions(True)


class TestTasks:
    def test_known(self) -> None:
        JINA_CLIP_V2.check_task("retrieval.query")
        JINA_CLIP_V2.check_task(None)
        JINA_CLIP_V1.check_task(None)

    @pytest.mark.parametrize("task", ["retrieval.passage", "", "Retrieval.Query"])
    def test_unknown(self, task: str) -> None:
        with pytest.raises(ConfigurationError, match=r"its tasks: 'retrieval\.query'"):
            JINA_CLIP_V2.check_task(task)
        with pytest.raises(ConfigurationError, match="its tasks: none"):
            JINA_CLIP_V1.check_task(task or "x")
