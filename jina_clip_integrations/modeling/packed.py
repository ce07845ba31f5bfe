"""Weights in the order in which a CPU's matrix kernels read them, put there once instead of in every product.

Plain weights are copied into blocks inside every matrix product, which costs little beside thousands of tokens and most
of the time beside a dozen (`benchmarks/results/kernel_choice.md`). The blocks are oneDNN's, through the operator that
PyTorch's own compiler uses for frozen weights. That operator is not public, so it is tried and compared once per type,
and where it is missing, or computes something else, the weights stay as they are.
"""

from __future__ import annotations

import functools
import warnings

import torch
from torch import Tensor, nn

from .linear import GatedLinear, Linear, QkvLinear

EXPECTED_TOKENS = 1024
"""Rows of `x` for which the blocks are laid out; every other number works with the same blocks."""

ONEDNN_NAMES = {None: "none", "gelu": "gelu", "silu": "swish"}
ALGORITHMS = {"gelu": "none"}  # the exact GELU, not the one with tanh

TRIAL_TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 0.1}
"""Largest difference to a plain layer that counts as rounding, on values of about 1."""


class PackedWeight:
    """One matrix in blocks, its bias, and the product with them. For inference on the CPU."""

    def __init__(self, weight: Tensor, bias: Tensor | None, activation: str | None) -> None:
        self._blocks = torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous(), EXPECTED_TOKENS)
        self._bias = None if bias is None else bias.detach().clone()
        self._activation = activation

    def __call__(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """`activation(x W^T + b)`, or without activation `x W^T + b + residual`."""
        product = torch.ops.mkldnn._linear_pointwise
        if residual is not None:
            return product.binary(x, residual, self._blocks, self._bias, "add")  # type: ignore[no-any-return]
        name, algorithm = ONEDNN_NAMES[self._activation], ALGORITHMS.get(self._activation or "", "")
        return product(x, self._blocks, self._bias, name, [], algorithm)  # type: ignore[no-any-return]


class PackedLinear(nn.Module):
    """Stands in for a `Linear` or a `QkvLinear`."""

    def __init__(self, layer: Linear | QkvLinear) -> None:
        super().__init__()
        bias = layer.whole_bias() if isinstance(layer, QkvLinear) else layer.bias
        self._weight = PackedWeight(layer.weight, bias, getattr(layer, "activation", None))

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """As the layer it stands for."""
        return self._weight(x, residual)


class PackedGatedLinear(nn.Module):
    """Stands in for a `GatedLinear`, as two products; oneDNN could multiply them, but takes longer than a pass here."""

    def __init__(self, layer: GatedLinear) -> None:
        super().__init__()
        gate, value = layer.weight.chunk(2)
        gate_bias, value_bias = (None, None) if layer.bias is None else layer.bias.chunk(2)
        self._gate = PackedWeight(gate, gate_bias, layer.activation)
        self._value = PackedWeight(value, value_bias, None)

    def forward(self, x: Tensor) -> Tensor:
        """As the layer it stands for."""
        return self._value(x).mul_(self._gate(x))


def pack(module: nn.Module) -> bool:
    """Pack every linear layer below `module`, one after the other, if this machine can; returns whether it could.

    Afterwards the module computes as before, up to rounding, but has no weights to save or train.
    """
    first = next((layer for layer in module.modules() if isinstance(layer, Linear)), None)
    if first is None or first.weight.device.type != "cpu" or not can_pack(first.weight.dtype):
        return False
    # The layers themselves are not in the list, so that each one's plain weights are freed once it is packed.
    for parent in [each for each in module.modules() if not isinstance(each, Linear | GatedLinear | QkvLinear)]:
        for name, child in list(parent.named_children()):
            if isinstance(child, GatedLinear):
                setattr(parent, name, PackedGatedLinear(child))
            elif isinstance(child, Linear | QkvLinear):
                setattr(parent, name, PackedLinear(child))
    return True


@functools.cache
def can_pack(dtype: torch.dtype) -> bool:
    """Whether packed layers of this type work here and agree with plain ones."""
    if dtype not in TRIAL_TOLERANCE or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    if dtype is torch.bfloat16 and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return False
    try:
        return _trial(dtype) <= TRIAL_TOLERANCE[dtype]
    except (RuntimeError, AttributeError, TypeError) as error:
        warnings.warn(f"weights are not packed: {type(error).__name__} ({str(error)[:200]})", UserWarning, stacklevel=2)
        return False


def _trial(dtype: torch.dtype) -> float:
    """Largest difference between small packed layers and the plain ones that they stand for."""
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).to(dtype)

    with torch.random.fork_rng(devices=[]), torch.inference_mode():
        torch.manual_seed(0)
        plain, act = Linear(48, 33).to(dtype), Linear(48, 33, activation="gelu").to(dtype)
        gated = GatedLinear(48, 33, activation="silu").to(dtype)
        x, residual = random(3, 5, 48), random(3, 5, 33)
        differences = (
            PackedLinear(plain)(x, residual) - plain(x, residual),
            PackedLinear(act)(x) - act(x),
            PackedGatedLinear(gated)(x) - gated(x),
        )
        return max(float(difference.float().abs().max()) for difference in differences)
