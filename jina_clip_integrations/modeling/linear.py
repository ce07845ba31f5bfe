"""Linear layers with the operation that follows them, so that one kernel can do both where there is one (`packed`)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the customary name

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"gelu": lambda x: F.gelu(x), "silu": lambda x: F.silu(x)}
"""Name to function; GELU is the exact one, with erf."""


class Linear(nn.Linear):
    """`activation(x W^T + b)`, or `x W^T + b + residual`."""

    def __init__(
        self, in_features: int, out_features: int, *, bias: bool = True, activation: str | None = None
    ) -> None:
        super().__init__(in_features, out_features, bias=bias)
        self.activation = activation

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """`x` `(..., in)`, `residual` `(..., out)`; returns `(..., out)`."""
        x = F.linear(x, self.weight, self.bias)
        if self.activation is not None:
            x = ACTIVATIONS[self.activation](x)
        return x if residual is None else x + residual


class GatedLinear(nn.Linear):
    """`activation(x U^T) * (x V^T)`, U and V stacked in one matrix `(2 out, in)`, with or without biases."""

    def __init__(self, in_features: int, out_features: int, *, bias: bool = True, activation: str) -> None:
        super().__init__(in_features, 2 * out_features, bias=bias)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """`x` `(..., in)`; returns `(..., out)`."""
        gate, value = F.linear(x, self.weight, self.bias).chunk(2, dim=-1)
        return ACTIVATIONS[self.activation](gate) * value


class QkvLinear(nn.Linear):
    """Queries, keys and values in one product `(W, 3 W)`; queries and values have a bias, keys have none."""

    def __init__(self, width: int) -> None:
        super().__init__(width, 3 * width, bias=False)
        self.q_bias = nn.Parameter(torch.zeros(width))
        self.v_bias = nn.Parameter(torch.zeros(width))

    def whole_bias(self) -> Tensor:
        """Bias of all three, zeros for the keys: `(3 W,)`."""
        return torch.cat((self.q_bias, torch.zeros_like(self.q_bias), self.v_bias))

    def forward(self, x: Tensor) -> Tensor:
        """`x` `(..., W)`; returns `(..., 3 W)`."""
        return F.linear(x, self.weight, self.whole_bias())
