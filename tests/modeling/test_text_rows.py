"""Texts one after the other give the vectors of the padded grid, and shortcuts the vectors of the long way."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from jina_clip_integrations.modeling import JinaClipModel
from jina_clip_integrations.modeling.attention import varlen_attention


def embed_packed(model: Any, rows: list[list[int]]) -> Tensor:
    ids = torch.tensor([token for row in rows for token in row])
    with torch.inference_mode():
        vectors: Tensor = model.text_model.embed_packed(ids, [len(row) for row in rows])
    return vectors


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
@pytest.mark.parametrize("order", ["as they come", "sorted", "all alike", "one"])
def test_packed_as_padded(golden: Any, embed_texts: Any, implementation: str, order: str) -> None:
    model = JinaClipModel.from_pretrained(golden.folder, dtype="float32", attn_implementation=implementation)
    rows = golden.ids()[:14]
    chosen = {
        "as they come": rows,
        "sorted": sorted(rows, key=len, reverse=True),
        "all alike": [row[:2] for row in rows],
        "one": rows[7:8],
    }[order]
    assert (embed_packed(model, chosen) - embed_texts(model, chosen)).abs().max() < 2e-5


def test_neighbours_do_not_see_each_other(golden: Any, model: Any) -> None:
    rows = sorted(golden.ids()[:14], key=len)
    together = embed_packed(model, rows)
    for row, vector in zip(rows, together, strict=True):
        assert (embed_packed(model, [row])[0] - vector).abs().max() < 2e-5


def test_the_last_block_for_cls_alone(golden: Any, model: Any) -> None:
    pixels = golden.arrays["images.pixel_values"][:3]
    with torch.inference_mode():
        whole = model.get_image_features(pixels).pooler_output
        assert (model.vision_model.embed(pixels) - whole).abs().max() < 2e-5


def test_packed_kernels_are_for_gpus() -> None:
    for dtype in (torch.float32, torch.bfloat16):
        assert varlen_attention(torch.empty(0, dtype=dtype), slopes=None, implementation="sdpa") is None
