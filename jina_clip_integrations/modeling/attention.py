"""The one attention function that all four towers use, and the rotation of queries and keys."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # the customary name

from ..errors import ConfigurationError

BLOCK_ELEMENTS = 2**24
"""Most score or bias values held at a time where a kernel cannot avoid them: 64 MiB of float32."""


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    mask: Tensor | None = None,
    slopes: Tensor | None = None,
    implementation: str | None = None,
) -> Tensor:
    """`softmax(q k^T / sqrt(D) - slopes * |i - j|) v`, without ever holding all scores of all heads.

    `q`, `k`, `v` are `(B, H, L, D)`, and so is the result. `mask` `(B, L)` is True where a key may be attended to, None
    when all may. `slopes` `(H,)` float32 adds the symmetric ALiBi bias (Press et al., 2022, with distances on both
    sides). `implementation` is `"sdpa"` (or None) for PyTorch's fused kernels or `"eager"` for plain arithmetic in
    float32, which exists to compare with. Raises `ConfigurationError` for any other.
    """
    if implementation not in (None, "sdpa", "eager"):
        raise ConfigurationError(f"attn_implementation: {implementation!r} is not supported, only 'sdpa' and 'eager'")
    eager = implementation == "eager"
    if slopes is None and not eager:
        key_mask = None if mask is None else mask[:, None, None, :]  # (B, 1, 1, L), broadcast inside the kernel
        return F.scaled_dot_product_attention(q, k, v, attn_mask=key_mask)
    batch, heads, length, _ = q.shape
    bias_rows = batch if eager or mask is not None else 1
    rows = max(1, BLOCK_ELEMENTS // (bias_rows * heads * length))
    blocks = []
    for start in range(0, length, rows):
        block = q[:, :, start : start + rows]  # (B, H, rows, D)
        bias = _bias(start, block.shape[2], length, mask, slopes)
        blocks.append((_eager if eager else _fused)(block, k, v, bias))
    return blocks[0] if len(blocks) == 1 else torch.cat(blocks, dim=2)


def _bias(start: int, rows: int, length: int, mask: Tensor | None, slopes: Tensor | None) -> Tensor | None:
    """What is added to the scores of query rows `start` to `start + rows`: `(B or 1, H or 1, rows or 1, L)` float32."""
    bias = None
    if slopes is not None:
        positions = torch.arange(length, device=slopes.device, dtype=torch.float32)
        distance = (positions[start : start + rows, None] - positions).abs()  # (rows, L)
        bias = (-slopes[:, None, None] * distance)[None]  # (1, H, rows, L)
    if mask is not None:
        hidden = ~mask[:, None, None, :]  # (B, 1, 1, L)
        if bias is None:
            bias = torch.zeros(hidden.shape, device=mask.device)
        bias = bias.masked_fill(hidden, float("-inf"))
    return bias


def _fused(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor:
    if bias is not None and q.dtype != bias.dtype and q.device.type != "cpu":
        # Only the CPU kernel takes a float32 bias with half-precision queries; a half-precision bias would round
        # distances above 256, so elsewhere this block is computed in float32.
        return F.scaled_dot_product_attention(q.float(), k.float(), v.float(), attn_mask=bias).to(q.dtype)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias)


def _eager(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor:
    scores = q.float() @ k.float().transpose(-1, -2) * q.shape[-1] ** -0.5  # (B, H, rows, L)
    if bias is not None:
        scores = scores + bias
    return (scores.softmax(dim=-1) @ v.float()).to(q.dtype)


def rotate_halves(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate the pairs (feature j, feature j + D/2) of `x` `(..., D)`; `cos`, `sin` broadcast to `(..., D/2)`."""
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)


def rotate_neighbours(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate the pairs (feature 2j, feature 2j + 1) of `x` `(..., D)`; `cos`, `sin` broadcast to `(..., D/2)`."""
    a, b = x[..., 0::2], x[..., 1::2]
    return torch.stack((a * cos - b * sin, b * cos + a * sin), dim=-1).flatten(-2)
