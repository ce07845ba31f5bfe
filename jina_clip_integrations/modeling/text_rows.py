"""How the tokens of several texts lie in one array, and what depends on it: positions, attention, pooling.

`PaddedRows` is the grid `(B, L)` of the frameworks. `PackedRows` puts the tokens of all texts one after the other,
`(T,)`, so that no arithmetic is spent on padding and no kernel needs a mask.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import groupby

import torch
from torch import Tensor

from .attention import attend, rotate_halves, varlen_attention
from .text_settings import TextSettings

Rotary = tuple[Tensor, Tensor]
"""Cosine and sine of every position's angles."""


def alibi_slopes(heads: int, device: torch.device | None = None) -> Tensor:
    """The slope of each head, `(heads,)` float32, in head order (Press et al., 2022, appendix of the public code).

    A power of two n gives 2^(-8/n), 2^(-16/n), …; any other count takes the series of the next lower power of two,
    followed by every second element of the series for twice that power.
    """
    power = 2 ** math.floor(math.log2(heads))
    slopes = [2 ** (-8 * (h + 1) / power) for h in range(power)]
    slopes += [2 ** (-4 * (h + 1) / power) for h in range(0, 2 * power, 2)][: heads - power]
    return torch.tensor(slopes, dtype=torch.float32, device=device)


def rotary_table(length: int, head_dim: int, base: float, like: Tensor) -> Rotary:
    """Cosine and sine of position times frequency, each `(length, head_dim / 2)`, device and type those of `like`.

    Computed in float32 and rounded last: position 8191 does not exist in bfloat16. Made anew for every forward pass
    (it is small), so there is no buffer that a meta-device load could leave unset.
    """
    exponents = torch.arange(0, head_dim, 2, device=like.device, dtype=torch.float32) / head_dim
    angles = torch.outer(torch.arange(length, device=like.device, dtype=torch.float32), base**-exponents)
    return angles.cos().to(like.dtype), angles.sin().to(like.dtype)


class TextRows:
    """Base of both layouts: rotary or ALiBi positions of texts up to `longest` tokens."""

    def __init__(self, settings: TextSettings, longest: int, like: Tensor) -> None:
        self.heads = settings.num_attention_heads
        self.rotary: Rotary | None = None
        self.slopes: Tensor | None = None
        if settings.is_alibi:
            self.slopes = alibi_slopes(self.heads, like.device)
        else:
            self.rotary = rotary_table(longest, settings.head_dim, settings.rotary_emb_base, like)

    def attend(self, qkv: Tensor) -> Tensor:
        """Attention of every text with itself: `(..., 3 W)` with q, k, v one after the other to `(..., W)`."""
        raise NotImplementedError


class PaddedRows(TextRows):
    """Layout as a grid `(B, L)`; `mask` `(B, L)` is True where a token counts, None where all do."""

    def __init__(self, settings: TextSettings, mask: Tensor | None, like: Tensor, implementation: str | None) -> None:
        """`like` `(B, L, W)` has the shape, the type and the device of what will be computed."""
        super().__init__(settings, like.shape[1], like)
        self.mask = mask
        self.implementation = implementation

    def attend(self, qkv: Tensor) -> Tensor:
        """`(B, L, 3 W)` to `(B, L, W)`."""
        batch, length, _ = qkv.shape
        q, k, v = qkv.view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)  # each (B, H, L, D)
        if self.rotary is not None:
            q, k = rotate_halves(q, *self.rotary), rotate_halves(k, *self.rotary)
        a = attend(q, k, v, mask=self.mask, slopes=self.slopes, implementation=self.implementation)
        return a.transpose(1, 2).reshape(batch, length, -1)


class PackedRows(TextRows):
    """Layout one after the other, `(T,)`. Neighbouring texts of equal length are computed together."""

    def __init__(
        self, settings: TextSettings, lengths: Sequence[int], like: Tensor, implementation: str | None
    ) -> None:
        """`lengths` of the texts, in order; best sorted. `like` has type and device of what will be computed."""
        super().__init__(settings, max(lengths), like)
        self.lengths = lengths
        self.implementation = implementation
        if self.rotary is not None:
            positions = torch.cat([torch.arange(length) for length in lengths]).to(like.device)
            cos, sin = self.rotary
            self.rotary = cos[positions][:, None], sin[positions][:, None]  # each (T, 1, D / 2)
        self._ends = torch.tensor([0, *lengths]).cumsum(0).to(like.device, torch.int32)
        self._varlen_attention = varlen_attention(like, slopes=self.slopes, implementation=implementation)

    def attend(self, qkv: Tensor) -> Tensor:
        """`(T, 3 W)` to `(T, W)`."""
        q, k, v = qkv.view(len(qkv), 3, self.heads, -1).unbind(1)  # each (T, H, D)
        if self.rotary is not None:
            q, k = rotate_halves(q, *self.rotary), rotate_halves(k, *self.rotary)
        if self._varlen_attention is not None:
            return self._varlen_attention(q, k, v, self._ends, max(self.lengths)).flatten(1)
        groups = [self._attend_group(q[part], k[part], v[part], count) for part, count in self._groups()]
        return groups[0] if len(groups) == 1 else torch.cat(groups)

    def _attend_group(self, q: Tensor, k: Tensor, v: Tensor, count: int) -> Tensor:
        """Attention of `count` texts of equal length, `(T', H, D)` each, to `(T', W)`."""
        q, k, v = (x.view(count, -1, *x.shape[1:]).transpose(1, 2) for x in (q, k, v))  # each (count, H, L, D)
        a = attend(q, k, v, slopes=self.slopes, implementation=self.implementation)
        return a.transpose(1, 2).reshape(-1, a.shape[1] * a.shape[3])

    def _groups(self) -> Iterator[tuple[slice, int]]:
        """Where neighbours of equal length lie, and how many they are."""
        start = 0
        for length, texts in groupby(self.lengths):
            count = len(list(texts))
            yield slice(start, start + count * length), count
            start += count * length

    def mean(self, x: Tensor) -> Tensor:
        """Mean of `x` `(T, W)` over the tokens of each text: `(n, W)` float32."""
        means = [x[part].float().view(count, -1, x.shape[1]).mean(dim=1) for part, count in self._groups()]
        return torch.cat(means)
