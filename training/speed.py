"""Faster forms of the towers' attention for training on a CPU.

Same parameters and same numbers (up to rounding) as the package's own layers: plain batched products instead of the
fused kernel, whose backward pass is slow for sequences this short, and the rotation done on halves, after putting
the features of queries and keys into that order.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # the customary name

from jina_clip_integrations.modeling.text_rows import PaddedRows
from jina_clip_integrations.modeling.text_tower import TextAttention
from jina_clip_integrations.modeling.vision_tower import Rotary, VisionAttention


def _attend(q: Tensor, k: Tensor, v: Tensor, hidden: Tensor | None) -> Tensor:
    """Softmax attention of `(B, H, N, D)`; `hidden` is added to the scores. Returns `(B, N, H * D)`."""
    batch, heads, length, size = q.shape
    q, k, v = (x.reshape(batch * heads, length, size) for x in (q * size**-0.5, k, v))
    scores = q @ k.mT
    if hidden is not None:
        scores = (scores.view(batch, heads, length, length) + hidden).flatten(0, 1)
    return (scores.softmax(-1) @ v).view(batch, heads, length, size).transpose(1, 2).reshape(batch, length, -1)


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)


def vision_attention(
    self: VisionAttention,
    x: Tensor,
    rotary: Rotary,
    implementation: str | None,  # noqa: ARG001
    residual: Tensor,
) -> Tensor:
    """Stand in for `VisionAttention.forward`, for whole blocks (`residual` has all tokens)."""
    batch, tokens, width = x.shape
    size = width // self.heads
    halves = torch.cat((torch.arange(0, size, 2), torch.arange(1, size, 2)))
    order = (torch.arange(self.heads)[:, None] * size + halves).flatten()
    q_weight, k_weight, v_weight = self.qkv.weight.chunk(3)
    weight = torch.cat((q_weight[order], k_weight[order], v_weight))
    bias = torch.cat((self.qkv.q_bias[order], torch.zeros_like(self.qkv.q_bias), self.qkv.v_bias))
    qkv = F.linear(x, weight, bias).view(batch, tokens, 3, self.heads, size)
    tables = (table if table.ndim == 4 else table[None, None] for table in rotary)  # (B or 1, 1, 1 + N, D / 2)
    cos, sin = (table.transpose(1, 2)[:, :, None] for table in tables)  # (B or 1, 1 + N, 1, 1, D / 2)
    q, k = _rotate(qkv[:, :, :2], cos, sin).permute(2, 0, 3, 1, 4)
    return self.out(self.norm(_attend(q, k, qkv[:, :, 2].transpose(1, 2), None)), residual=residual)


def text_attention(self: TextAttention, x: Tensor, rows: PaddedRows) -> Tensor:
    """Stand in for `TextAttention.forward` (rotary positions)."""
    batch, length, width = x.shape
    qkv = self.qkv(x).view(batch, length, 3, rows.heads, width // rows.heads)
    cos, sin = (table[:, None, None] for table in rows.rotary)  # (L, 1, 1, D / 2)
    q, k = _rotate(qkv[:, :, :2], cos, sin).permute(2, 0, 3, 1, 4)
    hidden = None if rows.mask is None else torch.where(rows.mask, 0.0, -1e4).to(x.dtype)[:, None, None]
    return self.out(_attend(q, k, qkv[:, :, 2].transpose(1, 2), hidden), residual=x)


def use_fast_attention() -> None:
    """Replace the attention of every tower in this process."""
    VisionAttention.forward = vision_attention
    TextAttention.forward = text_attention
