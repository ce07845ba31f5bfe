"""The attention that trained the demo model computes what the package's own does."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
import torch

from jina_clip_integrations.modeling import JinaClipModel
from jina_clip_integrations.modeling.text_tower import TextAttention
from jina_clip_integrations.modeling.vision_tower import VisionAttention

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def speed(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(REPOSITORY / "training"))
    return importlib.import_module("speed")


def test_the_fast_attention_of_training(speed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model = JinaClipModel.from_pretrained(REPOSITORY / "tests" / "golden" / "v2", dtype="float32")
    config = model.config.vision_config
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randn(3, 3, config.image_size, config.image_size, generator=generator)
    some = torch.rand(3, config.grid_size**2, generator=generator).argsort(dim=1)[:, :5]
    ids = torch.randint(5, 100, (4, 9), generator=generator)
    ids[1, 5:] = model.config.text_config.settings.pad_token_id

    def compute() -> list[torch.Tensor]:
        with torch.inference_mode():
            images = [model.get_image_features(pixels, ids_keep=kept).pooler_output for kept in (None, some)]
            return [*images, model.get_text_features(ids).pooler_output]

    expected = compute()
    monkeypatch.setattr(VisionAttention, "forward", speed.vision_attention)
    monkeypatch.setattr(TextAttention, "forward", speed.text_attention)
    for actual, wanted in zip(compute(), expected, strict=True):
        torch.testing.assert_close(actual, wanted, atol=1e-5, rtol=0)
