"""Weights padded for a GPU's matrix units compute what plain ones do; nothing here needs the GPU."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from jina_clip_integrations.modeling import JinaClipConfig, JinaClipModel
from jina_clip_integrations.modeling.aligned import AlignedGatedLinear, AlignedLinear, align
from jina_clip_integrations.modeling.linear import GatedLinear, Linear

GOLDEN = Path(__file__).parents[1] / "golden"
HALVES = [torch.bfloat16, torch.float16]
ROUNDING = {torch.bfloat16: 2e-2, torch.float16: 2e-3}


def random(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


class Mlp(nn.Module):
    """A gated layer of an unaligned width, the norm between, and the way back."""

    def __init__(self, bias: bool, activation: str) -> None:
        super().__init__()
        self.up = GatedLinear(16, 27, bias=bias, activation=activation)
        self.norm = nn.LayerNorm(27)
        self.down = Linear(27, 16, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(self.norm(self.up(x)), residual=x)


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize(("bias", "activation"), [(True, "silu"), (False, "gelu")])
def test_layers_agree(dtype: torch.dtype, bias: bool, activation: str) -> None:
    mlp = Mlp(bias, activation)
    for number, parameter in enumerate(mlp.parameters()):
        nn.init.normal_(parameter, std=0.2, generator=torch.Generator().manual_seed(number))
    mlp = mlp.to(dtype)
    own = copy.deepcopy(mlp)
    assert align(own) == 2
    assert isinstance(own.up, AlignedGatedLinear)
    assert isinstance(own.down, AlignedLinear)
    x = random(3, 5, 16).to(dtype)
    with torch.inference_mode():
        assert own.up(x).shape == (3, 5, 27), "the norm sees real features only"
        torch.testing.assert_close(own(x), mlp(x), rtol=ROUNDING[dtype], atol=ROUNDING[dtype])


@pytest.mark.parametrize("activation", [None, "gelu"])
def test_a_layer_alone(activation: str | None) -> None:
    layer = Linear(13, 8, activation=activation).to(torch.bfloat16)
    holder = nn.Sequential(copy.deepcopy(layer))
    assert align(holder) == 1
    x = random(7, 13).to(torch.bfloat16)
    with torch.inference_mode():
        torch.testing.assert_close(holder[0](x), layer(x), rtol=2e-2, atol=2e-2)


def test_widths_that_suit_stay_as_they_are() -> None:
    layers = nn.ModuleList([Linear(24, 5), Linear(64, 3), GatedLinear(13, 40, activation="silu")]).to(torch.bfloat16)
    assert align(layers) == 0
    assert align(nn.ModuleList([Linear(13, 8)])) == 0, "float32 is not fed to these units as it is"


@pytest.mark.parametrize(("version", "count"), [("v1", 0), ("v2", 2 * 24 + 1)])
def test_which_layers_of_the_real_models_profit(version: str, count: int) -> None:
    """v2: both sides of 24 MLPs of 2,730 features, and the patches of 588 numbers. v1: nothing."""
    with torch.device("meta"):
        model = JinaClipModel(JinaClipConfig.from_pretrained(GOLDEN / f"config-{version}.json")).to(torch.bfloat16)
    assert align(model) == count


def test_an_aligned_model_gives_the_same_vectors(golden: Any, model: Any) -> None:
    plain = copy.deepcopy(model).to(torch.bfloat16)
    own = copy.deepcopy(plain)
    assert bool(align(own)) == (golden.folder.name == "v2"), "170 features inside the MLP; v1 has 256"
    pixels = golden.arrays["images.pixel_values"]
    with torch.inference_mode():
        vectors = own.vision_model.embed(pixels)
        assert torch.cosine_similarity(vectors, plain.vision_model.embed(pixels)).min() > 0.9999
    assert torch.cosine_similarity(vectors, golden.arrays["images.normalized"].float()).min() > 0.995
