"""Weights whose widths suit a GPU's matrix units: padded with zeros once, instead of read unaligned in every product.

In half precision these units are fed in words of 16 bytes, and best in whole 128 bytes (NVIDIA, Matrix Multiplication
Background User's Guide, "Tensor Core Requirements"). A row of v2's SwiGLU, 2,730 features wide, ends in the middle of a
word, so that every second row begins in one. The zeros change no sum: the vectors are the same up to rounding.
`benchmarks/kernel_choice.py` measures the gain where there is a GPU.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the customary name

from .linear import ACTIVATIONS, GatedLinear, Linear

WORD_BYTES, LINE_BYTES = 16, 128
"""A width that does not end on a word is padded to whole lines."""


class AlignedLinear(nn.Module):
    """Stands in for a `Linear` whose input has an unaligned width."""

    def __init__(self, layer: Linear) -> None:
        super().__init__()
        self._padding = _pad_width(layer.in_features, layer.weight.dtype)
        self._weight = F.pad(layer.weight.detach(), (0, self._padding))  # (out, in + padding)
        self._bias = layer.bias
        self._activation = layer.activation

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """As the layer it stands for."""
        x = F.linear(F.pad(x, (0, self._padding)), self._weight, self._bias)
        if self._activation is not None:
            x = ACTIVATIONS[self._activation](x)
        return x if residual is None else x + residual


class AlignedGatedLinear(nn.Module):
    """Stands in for a `GatedLinear` whose output has an unaligned width."""

    def __init__(self, layer: GatedLinear) -> None:
        super().__init__()
        self._out_features = layer.out_features // 2
        padding = _pad_width(self._out_features, layer.weight.dtype)
        halves = layer.weight.detach().view(2, self._out_features, -1)
        self._weight = F.pad(halves, (0, 0, 0, padding)).flatten(0, 1)  # (2 (out + padding), in)
        bias = layer.bias
        self._bias = None if bias is None else F.pad(bias.detach().view(2, -1), (0, padding)).flatten()
        self._activation = ACTIVATIONS[layer.activation]

    def forward(self, x: Tensor) -> Tensor:
        """As the layer it stands for."""
        gate, value = F.linear(x, self._weight, self._bias).chunk(2, dim=-1)
        return self._activation(gate[..., : self._out_features]) * value[..., : self._out_features]


def align(module: nn.Module) -> int:
    """Replace the layers below `module` that profit, and return how many; none in float32.

    Afterwards the module computes as before, up to rounding, but those layers have no weights to save, move or train.
    """
    count = 0
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, GatedLinear) and _pad_width(child.out_features // 2, child.weight.dtype):
                setattr(parent, name, AlignedGatedLinear(child))
            elif isinstance(child, Linear) and _pad_width(child.in_features, child.weight.dtype):
                setattr(parent, name, AlignedLinear(child))
            else:
                continue
            count += 1
    return count


def _pad_width(features: int, dtype: torch.dtype) -> int:
    """Zeros that a row of `features` lacks to be aligned; none for types that matrix units do not take directly."""
    if dtype not in (torch.bfloat16, torch.float16) or features * dtype.itemsize % WORD_BYTES == 0:
        return 0
    return -features % (LINE_BYTES // dtype.itemsize)
