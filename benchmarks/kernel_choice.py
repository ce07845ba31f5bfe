"""Why the local backend uses the kernels that it uses: packed weights by number of tokens, and forms of attention.

    python benchmarks/kernel_choice.py [--write]

Matrix products of v2's text tower, six different weights in turns so that none stays in the cache: packed weights
(`modeling/packed.py`) against plain ones, then int8 weights and activations against packed ones, by oneDNN's kernels.
Attention of a 512-pixel image (16 heads, 1,297 tokens of 64 features) fused, as plain products in groups of heads
(`modeling/attention.py`) and eager. float32, and bfloat16 where this processor multiplies it natively. Where there is a
GPU: v2's image MLP in bfloat16 with its width of 2,730 against the same padded to 2,752 (`modeling/aligned.py`).

The file is not called `kernels.py`, because transformers would import it as the package of that name.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import partial

import torch
from reporting import heading, run, table
from timing import in_turns
from torch import Tensor

from jina_clip_integrations.backends.local.devices import cpu_has_native_bfloat16
from jina_clip_integrations.modeling import JinaClipVisionConfig
from jina_clip_integrations.modeling.aligned import align
from jina_clip_integrations.modeling.attention import _as_products, attend
from jina_clip_integrations.modeling.linear import Linear
from jina_clip_integrations.modeling.packed import PackedLinear, can_pack
from jina_clip_integrations.modeling.vision_tower import VisionMlp

TOKENS = (1, 4, 12, 40, 128, 512, 2048)
SHAPES = {"qkv": (1024, 3072), "out": (1024, 1024), "up": (1024, 4096), "down": (4096, 1024)}
WEIGHTS = 6
IMAGE = (1, 16, 1297, 64)
IMAGES = (1, 4, 16)

Layers = Sequence[Callable[[Tensor], Tensor]]


def report() -> str:
    """All tables."""
    types = [torch.float32, torch.bfloat16] if cpu_has_native_bfloat16() else [torch.float32]
    with torch.inference_mode():
        products = [_products(name, dtype) for dtype in types for name in SHAPES if can_pack(dtype)]
        attention = [_attention(dtype) for dtype in types]
        whole = [_int8(name) for name in SHAPES]
        gpu = _on_gpu() if torch.cuda.is_available() else ""
    return "\n".join(
        [
            heading("Kernels", __file__),
            "Packed over plain weights, how many times as fast, by tokens per product:\n",
            table(["type", "layer", *(f">{n:,}" for n in TOKENS)], products),
            "int8 over packed weights of the automatic type, how many times as fast:\n",
            table(["layer", *(f">{n:,}" for n in TOKENS)], whole),
            "Attention of one layer of a v2 image:\n",
            table(["type", ">fused", ">products", ">eager"], attention),
            gpu,
        ]
    )


def _products(name: str, dtype: torch.dtype) -> list[str]:
    plain = [Linear(*SHAPES[name]).to(dtype) for _ in range(WEIGHTS)]
    return [_name(dtype), name, *_ratios(plain, [PackedLinear(layer) for layer in plain], dtype, SHAPES[name][0])]


def _int8(name: str) -> list[str]:
    dtype = torch.bfloat16 if cpu_has_native_bfloat16() else torch.float32
    plain = [Linear(*SHAPES[name]).to(dtype) for _ in range(WEIGHTS)]
    packed = [PackedLinear(layer) for layer in plain]
    return [name, *_ratios(packed, [Int8Linear(layer.weight) for layer in plain], dtype, SHAPES[name][0])]


def _ratios(slow: Layers, fast: Layers, dtype: torch.dtype, width: int) -> list[str]:
    """How many times as fast the second layers are, by number of tokens."""
    cells = []
    for tokens in TOKENS:
        x = torch.randn(tokens, width, dtype=dtype)
        taken = in_turns({"slow": partial(_call, slow, x), "fast": partial(_call, fast, x)})
        cells.append(f"{taken['slow'] / taken['fast']:.2f}")
    return cells


def _call(layers: Layers, x: Tensor) -> None:
    for layer in layers:
        layer(x)


class Int8Linear:
    """Weights in int8, one scale per row; activations in 7 bits, one scale for all, which is the cheapest form.

    7 bits because a processor without VNNI adds two products of 8 bits in 16 and saturates.
    """

    def __init__(self, weight: Tensor) -> None:
        weight = weight.detach().float()
        self._scales = weight.abs().amax(dim=1) / 127
        whole = (weight / self._scales[:, None]).round().to(torch.int8)
        self._blocks = torch.ops.onednn.qlinear_prepack(whole, None)
        self._zeros = torch.zeros(len(weight), dtype=torch.long)

    def __call__(self, x: Tensor) -> Tensor:
        """`x W^T`, rounded."""
        scale = float(x.abs().amax()) / 63
        rounded = x.mul(1 / scale).add_(64.5).to(torch.uint8)
        arguments = (rounded, scale, 64, self._blocks, self._scales, self._zeros, None, 1.0, 0, x.dtype)
        return torch.ops.onednn.qlinear_pointwise(*arguments, "none", [], "")


def _on_gpu() -> str:
    """v2's image MLP with padded widths against plain ones, by images per pass."""
    plain = VisionMlp(JinaClipVisionConfig(width=1024, mlp_ratio=2.6667)).to("cuda", torch.bfloat16)
    wide = copy.deepcopy(plain)
    align(wide)
    cells = []
    for count in IMAGES:
        x = torch.randn(count * IMAGE[2], 1024, dtype=torch.bfloat16, device="cuda")
        taken = in_turns({"plain": partial(_and_wait, plain, x), "aligned": partial(_and_wait, wide, x)})
        cells.append(f"{taken['plain'] / taken['aligned']:.2f}")
    title = f"Aligned over plain widths on {torch.cuda.get_device_name()}, how many times as fast, by images:\n\n"
    return title + table(["layer", *(f">{count}" for count in IMAGES)], [["image MLP", *cells]])


def _and_wait(layer: Callable[[Tensor, Tensor], Tensor], x: Tensor) -> None:
    for _ in range(10):
        layer(x, x)
    torch.cuda.synchronize()


def _attention(dtype: torch.dtype) -> list[str]:
    q, k, v = (torch.randn(IMAGE, dtype=dtype) for _ in range(3))
    forms = {
        "fused": partial(torch.nn.functional.scaled_dot_product_attention, q, k, v),
        "products": partial(_as_products, q, k, v),
        "eager": partial(attend, q, k, v, implementation="eager"),
    }
    return [_name(dtype), *(f"{1000 * seconds:.0f} ms" for seconds in in_turns(forms).values())]


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


if __name__ == "__main__":
    run(report, doc=__doc__)
