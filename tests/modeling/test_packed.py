"""Packed weights compute what plain ones do, and a machine that cannot pack goes on without."""

from __future__ import annotations

import copy
import weakref
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the customary name

from jina_clip_integrations.modeling import packed
from jina_clip_integrations.modeling.linear import GatedLinear, Linear, QkvLinear
from jina_clip_integrations.modeling.packed import PackedGatedLinear, PackedLinear, can_pack, pack

needs_packing = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this PyTorch has no oneDNN")

LAYERS = {
    "plain": Linear(40, 24),
    "without bias": Linear(40, 24, bias=False),
    "GELU": Linear(40, 24, activation="gelu"),
    "gated SiLU": GatedLinear(40, 24, activation="silu"),
    "gated GELU without bias": GatedLinear(40, 24, bias=False, activation="gelu"),
    "queries, keys, values": QkvLinear(40),
}


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@needs_packing
@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("shape", [(1, 40), (7, 40), (3, 5, 40), (2000, 40)])
def test_layers_agree(name: str, shape: tuple[int, ...]) -> None:
    layer = copy.deepcopy(LAYERS[name])
    for number, parameter in enumerate(layer.parameters()):
        nn.init.normal_(parameter, generator=torch.Generator().manual_seed(number))
    holder = nn.Sequential(copy.deepcopy(layer))
    assert pack(nn.ModuleList([holder, Linear(1, 1)]))
    assert isinstance(holder[0], PackedGatedLinear if isinstance(layer, GatedLinear) else PackedLinear)
    x = random(*shape)
    with torch.inference_mode():
        assert torch.allclose(holder[0](x), layer(x), atol=1e-4, rtol=1e-5)
        if name in ("plain", "without bias"):
            residual = random(*shape[:-1], 24, seed=1)
            assert torch.allclose(holder[0](x, residual=residual), layer(x, residual=residual), atol=1e-4, rtol=1e-5)


@needs_packing
def test_a_packed_model_gives_the_golden_vectors(golden: Any, model: Any) -> None:
    own = copy.deepcopy(model)
    assert pack(own)
    assert not any(isinstance(module, nn.Linear) for module in own.modules())
    with torch.inference_mode():
        for task in golden.tasks:
            rows = golden.ids(task)
            ids = torch.tensor([token for row in rows for token in row])
            vectors = own.text_model.embed_packed(ids, [len(row) for row in rows])
            golden.check(vectors, f"text.{task}.raw", "raw_max_abs")
        raw = own.vision_model.embed(golden.arrays["images.pixel_values"])
    golden.check(F.normalize(raw, dim=-1), "images.normalized", "embedding_max_abs")


def test_types_without_a_kernel_stay_plain(model: Any) -> None:
    own = copy.deepcopy(model).half()
    assert not pack(own)
    assert any(isinstance(module, nn.Linear) for module in own.modules())


@needs_packing
@pytest.mark.parametrize("failure", ["missing", "wrong"])
def test_an_operator_that_is_missing_or_wrong_is_not_used(
    model: Any, monkeypatch: pytest.MonkeyPatch, failure: str
) -> None:
    def broken(self: Any, x: Tensor, residual: Tensor | None = None) -> Tensor:
        if failure == "missing":
            raise RuntimeError("no such operator")
        return x.new_zeros(*x.shape[:-1], 33)

    monkeypatch.setattr(packed.PackedWeight, "__call__", broken)
    can_pack.cache_clear()
    own = copy.deepcopy(model)
    try:
        if failure == "missing":
            with pytest.warns(UserWarning, match="not packed: RuntimeError"):
                assert not pack(own)
        else:
            assert not pack(own)
    finally:
        can_pack.cache_clear()
    assert all(torch.equal(one, other) for one, other in zip(own.parameters(), model.parameters(), strict=True))


@pytest.mark.skipif(not can_pack(torch.float32), reason="this machine's weights stay plain")
def test_plain_weights_are_freed_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model of gigabytes must not stand there twice while it is packed."""
    can_pack(torch.float32)  # its trial packs layers too, once
    model = nn.ModuleList(nn.ModuleList([Linear(48, 48)]) for _ in range(5))
    plain = [weakref.ref(parameter) for parameter in model.parameters() if parameter.ndim == 2]
    alive: list[int] = []
    real = packed.PackedLinear.__init__

    def counting(self: PackedLinear, layer: Linear) -> None:
        alive.append(sum(weight() is not None for weight in plain))
        real(self, layer)

    monkeypatch.setattr(packed.PackedLinear, "__init__", counting)
    assert pack(model)
    assert alive == [5, 5, 4, 3, 2]  # the one before is still at hand while the next one is looked for
