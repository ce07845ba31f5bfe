"""Why the local backend uses the kernels that it uses: packed weights by number of tokens, and forms of attention.

    python benchmarks/kernels.py [--write]

Matrix products of v2's text tower, six different weights in turns so that none stays in the cache, plain against packed
(`modeling/packed.py`). Attention of a 512-pixel picture (16 heads, 1,297 tokens of 64 features) fused, head by head
(`modeling/attention.py`) and eager. float32, and bfloat16 where this processor multiplies it natively.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from reporting import heading, run, table
from timing import in_turns
from torch import Tensor

from jina_clip_integrations.backends.local.devices import cpu_has_native_bfloat16
from jina_clip_integrations.modeling.attention import _by_heads, attend
from jina_clip_integrations.modeling.linear import Linear
from jina_clip_integrations.modeling.packed import PackedLinear, can_pack

TOKENS = (1, 4, 12, 40, 128, 512, 2048)
SHAPES = {"qkv": (1024, 3072), "out": (1024, 1024), "up": (1024, 4096), "down": (4096, 1024)}
WEIGHTS = 6
PICTURE = (1, 16, 1297, 64)


def report() -> str:
    """Both tables."""
    types = [torch.float32, torch.bfloat16] if cpu_has_native_bfloat16() else [torch.float32]
    with torch.inference_mode():
        products = [_products(name, dtype) for dtype in types for name in SHAPES if can_pack(dtype)]
        attention = [_attention(dtype) for dtype in types]
    return "\n".join(
        [
            heading("Kernels", __file__),
            "Packed over plain weights, how many times as fast, by tokens per product:\n",
            table(["type", "layer", *(f">{n:,}" for n in TOKENS)], products),
            "Attention of one layer of a v2 picture:\n",
            table(["type", ">fused", ">head by head", ">eager"], attention),
        ]
    )


def _products(name: str, dtype: torch.dtype) -> list[str]:
    plain = [Linear(*SHAPES[name]).to(dtype) for _ in range(WEIGHTS)]
    packed = [PackedLinear(layer) for layer in plain]
    cells = []
    for tokens in TOKENS:
        x = torch.randn(tokens, SHAPES[name][0], dtype=dtype)
        taken = in_turns({"plain": partial(_call, plain, x), "packed": partial(_call, packed, x)})
        cells.append(f"{taken['plain'] / taken['packed']:.2f}")
    return [_name(dtype), name, *cells]


def _call(layers: list[Callable[[Tensor], Tensor]], x: Tensor) -> None:
    for layer in layers:
        layer(x)


def _attention(dtype: torch.dtype) -> list[str]:
    q, k, v = (torch.randn(PICTURE, dtype=dtype) for _ in range(3))
    forms = {
        "fused": partial(torch.nn.functional.scaled_dot_product_attention, q, k, v),
        "head by head": partial(_by_heads, q, k, v),
        "eager": partial(attend, q, k, v, implementation="eager"),
    }
    return [_name(dtype), *(f"{1000 * seconds:.0f} ms" for seconds in in_turns(forms).values())]


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


if __name__ == "__main__":
    run(report, doc=__doc__)
