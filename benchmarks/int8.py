"""What 8-bit products would gain on this processor, and what they cost: why there is no such option.

    python benchmarks/int8.py [--folder FOLDER] [--images 8] [--write]

The vision tower of a full-size random v2, whose layers in 8 bits are oneDNN's quantised products, those of PyTorch:
weights with one scale per output, activations with one scale per layer, found on other random images, after the widest
columns were narrowed at the weights' expense (SmoothQuant, Xiao et al., 2023, strength 0.5). Attention, norms and the
sums between layers stay in bfloat16. "Times bfloat16" compares with our packed layers, in turns, one image at a time;
the cosine is that with float32. Random pixels and weights have no outliers: trained models lose more, not less.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from full_size import checkpoint, plain_model
from reporting import Option, heading, run, table
from timing import in_turns
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the customary name

from jina_clip_integrations.backends.local.allocator import keep_freed_memory
from jina_clip_integrations.backends.local.devices import choose_devices
from jina_clip_integrations.modeling.linear import GatedLinear, Linear, QkvLinear
from jina_clip_integrations.modeling.packed import PackedGatedLinear, PackedLinear
from jina_clip_integrations.modeling.vision_tower import VisionTower

CALIBRATION_IMAGES = 4
CASES = {
    "all layers": ("attn.qkv", "attn.out", "mlp.up", "mlp.down"),
    "all but the MLP's second": ("attn.qkv", "attn.out", "mlp.up"),
    "the MLP's first": ("mlp.up",),
}
ONEDNN_NAMES = {None: "none", "silu": "swish"}


class Int8Product:
    """One matrix in 8 bits; `widest` `(in,)` are the largest absolute values of its input's columns."""

    def __init__(self, weight: Tensor, bias: Tensor | None, activation: str | None, widest: Tensor) -> None:
        weight = weight.detach().float()
        smooth = (widest.clamp(min=1e-5) / weight.abs().amax(dim=0).clamp(min=1e-5)).sqrt()  # (in,)
        self._scale = float((widest / smooth).amax()) / 127
        self._shrink = (1 / (smooth * self._scale)).bfloat16()
        weight = weight * smooth
        self._scales = weight.abs().amax(dim=1) / 127
        whole = (weight / self._scales[:, None]).round().to(torch.int8)
        self._blocks = torch.ops.onednn.qlinear_prepack(whole, None)
        self._zeros = torch.zeros(len(weight), dtype=torch.long)
        self._bias = None if bias is None else bias.detach().float()
        self._activation = ONEDNN_NAMES[activation]

    def __call__(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """As `PackedWeight`, for bfloat16."""
        rows = x.reshape(-1, x.shape[-1])
        whole = rows.mul(self._shrink).round_().clamp_(-128, 127).add_(128).to(torch.uint8)
        weights = (whole, self._scale, 128, self._blocks, self._scales, self._zeros)
        result = (1.0, 0, x.dtype)
        if residual is None:
            product = torch.ops.onednn.qlinear_pointwise
            y = product(*weights, self._bias, *result, self._activation, [], "")
        else:
            product, added = torch.ops.onednn.qlinear_pointwise.binary, residual.reshape(-1, residual.shape[-1])
            y = product(*weights, added.contiguous(), self._bias, *result, 1.0, 0, "add", 1.0, "none", [], "")
        return y.view(*x.shape[:-1], -1)  # type: ignore[no-any-return]


def report(folder: str | None, images: int) -> str:
    """Speed and cosine of every case."""
    keep_freed_memory()
    generator = torch.Generator().manual_seed(1)
    with checkpoint("v2", folder) as path, torch.inference_mode():
        exact = plain_model(path, choose_devices("cpu", "float32")[0]).vision_model
        size = exact.image_size
        pixels = torch.randn(images + CALIBRATION_IMAGES, 3, size, size, generator=generator)
        wanted = _embed(exact, pixels[:images])
        widest = dict(_widest(exact, pixels[images:]))
        del exact
        towers = {"bfloat16": _tower(path, (), widest)}
        towers |= {name: _tower(path, kinds, widest) for name, kinds in CASES.items()}
        taken = in_turns({name: partial(tower.embed, pixels[:1]) for name, tower in towers.items()}, rounds=7)
        rows = []
        for name, tower in towers.items():
            cosines = F.cosine_similarity(_embed(tower, pixels[:images]), wanted)
            ratio = taken["bfloat16"] / taken[name]
            rows.append([name, f"{1000 * taken[name]:.0f}", f"{ratio:.2f}", *(f"{x:.4f}" for x in _spread(cosines))])
    columns = ["in 8 bits", ">ms per image", ">times bfloat16", ">worst cosine", ">mean cosine"]
    return f"{heading('Products of 8 bits, vision tower of jina-clip-v2', __file__)}\n{table(columns, rows)}"


def _embed(tower: VisionTower, pixels: Tensor) -> Tensor:
    return torch.cat([tower.embed(image[None]) for image in pixels])


def _spread(cosines: Tensor) -> tuple[float, float]:
    return float(cosines.min()), float(cosines.mean())


def _widest(tower: VisionTower, pixels: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Every linear layer's name and the largest absolute values of its input's columns."""
    seen: dict[str, Tensor] = {}

    def look(name: str, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        columns = inputs[0].float().abs().flatten(0, -2).amax(dim=0)
        seen[name] = torch.maximum(seen.get(name, columns), columns)

    layers = [
        (name, each) for name, each in tower.named_modules() if isinstance(each, Linear | GatedLinear | QkvLinear)
    ]
    handles = [layer.register_forward_pre_hook(partial(look, name)) for name, layer in layers]
    _embed(tower, pixels)
    for handle in handles:
        handle.remove()
    yield from seen.items()


def _tower(path: object, kinds: tuple[str, ...], widest: dict[str, Tensor]) -> VisionTower:
    """The tower in bfloat16 and packed, with the layers of `kinds` in 8 bits."""
    tower = plain_model(path, choose_devices("cpu", "bfloat16")[0]).vision_model  # type: ignore[arg-type]
    for name, layer in list(tower.named_modules()):
        if isinstance(layer, Linear | GatedLinear | QkvLinear):
            parent, _, last = name.rpartition(".")
            in_8_bits = name.endswith(kinds) if kinds else False
            setattr(tower.get_submodule(parent), last, _replacement(layer, widest[name] if in_8_bits else None))
    return tower  # type: ignore[no-any-return]


def _replacement(layer: Linear | GatedLinear | QkvLinear, widest: Tensor | None) -> nn.Module:
    packed = PackedGatedLinear(layer) if isinstance(layer, GatedLinear) else PackedLinear(layer)
    if widest is None:
        return packed
    with _weights_in_8_bits(widest):
        return PackedGatedLinear(layer) if isinstance(layer, GatedLinear) else PackedLinear(layer)


@contextmanager
def _weights_in_8_bits(widest: Tensor) -> Iterator[None]:
    """Layers packed in this block hold `Int8Product`s."""
    from jina_clip_integrations.modeling import packed

    plain: Callable[..., object] = packed.PackedWeight
    packed.PackedWeight = partial(Int8Product, widest=widest)  # type: ignore[misc,assignment]
    try:
        yield
    finally:
        packed.PackedWeight = plain  # type: ignore[misc,assignment]


if __name__ == "__main__":
    run(
        report,
        doc=__doc__,
        folder=Option(None, "a random checkpoint to use, or to keep there"),
        images=Option(8, "images that are compared"),
    )
