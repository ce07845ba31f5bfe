"""The one attention function that all four towers use, and the rotation of queries and keys."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # the customary name

from ..errors import ConfigurationError

BLOCK_ELEMENTS = 2**24
"""Upper bound of score or bias values held at a time where a kernel cannot avoid them: 64 MiB of float32."""

SHORT_ELEMENTS = 2**16
"""Scores of a text up to which a padded ALiBi batch is cheaper with one full bias than row by row (73 tokens in v1)."""

FEW_SCORES = 2**15
"""Scores up to which one fused call costs less than `_as_products`: those of one text of 45 tokens."""

CACHED_SCORES = 2**18
"""Scores of one head that `_as_products` holds at a time: 512 KiB of bfloat16, of a core's second-level cache."""

GROUP_SCORES = 2**21
"""Scores of all heads that `_as_products` holds at a time, so that every thread has whole products to compute."""

LOG2_E = math.log2(math.e)

LEAST_SUM, GREATEST_SUM = 1e-30, 1e38
"""Sums of a row's powers that are exact enough: what is lost below the least float32 is no part of such a sum."""

Attention = Callable[[Tensor, Tensor, Tensor, "Tensor | None"], Tensor]
VarlenAttention = Callable[[Tensor, Tensor, Tensor, Tensor, int], Tensor]
"""Packed q, k, v `(T, H, D)`, cumulative lengths `(n + 1,)` int32 and the longest length to `(T, H, D)`."""


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
    when all may; the results of queries that are masked themselves mean nothing. `slopes` `(H,)` float32 adds the ALiBi
    bias (Press et al., 2022), with distances to both sides. `implementation` is `"sdpa"` (or None) for PyTorch's fused
    kernels, or `"eager"` for plain arithmetic in float32, which exists to compare with.

    Raises:
        ConfigurationError: another `implementation`.
    """
    if implementation not in (None, "sdpa", "eager"):
        raise ConfigurationError(f"attn_implementation: {implementation!r} is not supported, only 'sdpa' and 'eager'")
    eager = implementation == "eager"
    if is_exporting():  # one graph for every length: no blocks, no branches by size
        return _eager(q, k, v, _bias(0, q.shape[2], q.shape[2], mask, slopes))
    if slopes is None and not eager:
        if mask is None and _is_faster_as_products(q):
            return _as_products(q, k, v)
        key_mask = None if mask is None else mask[:, None, None, :]  # (B, 1, 1, L), broadcast inside the kernel
        return F.scaled_dot_product_attention(q, k, v, attn_mask=key_mask)
    if slopes is not None and not eager and q.device.type == "cpu":
        if mask is None:
            return _alibi(q, k, v, slopes)
        if q.shape[1] * q.shape[2] ** 2 > SHORT_ELEMENTS:
            rows = [slice(i, i + 1) for i in range(len(q))]
            return torch.cat([_alibi_row(q[i], k[i], v[i], mask[i], slopes) for i in rows])
    return _in_blocks(q, k, v, mask, slopes, _eager if eager else _fused)


def is_exporting() -> bool:
    """Whether the model is being traced into a graph that other runtimes will run (PyTorch 2.7 and later)."""
    return getattr(torch.compiler, "is_exporting", bool)()


def _alibi(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
    """ALiBi attention in one fused call whose bias takes `2 L` numbers per head instead of `L * L`.

    With the queries in reverse order, the distance of query r and key j depends on r + j alone, so that the bias is a
    view of one row of distances, each query's row starting one element further.
    """
    heads, length = q.shape[1:3]
    distance = torch.arange(1 - length, length, device=q.device, dtype=torch.float32).abs()  # (2 L - 1,)
    row = -slopes[:, None] * distance  # (H, 2 L - 1)
    bias = row.as_strided((1, heads, length, length), (0, row.stride(0), 1, 1))
    return F.scaled_dot_product_attention(q.flip(2), k, v, attn_mask=bias).flip(2)


def _alibi_row(q: Tensor, k: Tensor, v: Tensor, mask: Tensor, slopes: Tensor) -> Tensor:
    """As `_alibi` for one padded row, `(1, H, L, D)`: the padding is cut off and comes back as zeros."""
    length, count = q.shape[2], int(mask.sum())
    if not bool(mask[0, :count].all()):  # not padded to the right
        return _in_blocks(q, k, v, mask, slopes, _fused)
    return F.pad(_alibi(q[:, :, :count], k[:, :, :count], v[:, :, :count], slopes), (0, 0, 0, length - count))


def _in_blocks(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, slopes: Tensor | None, attention: Attention
) -> Tensor:
    """Attention block by block of query rows, so that scores or bias stay within `BLOCK_ELEMENTS`."""
    batch, heads, length, _ = q.shape
    size = max(1, BLOCK_ELEMENTS // (batch * heads * length))
    blocks = []
    for start in range(0, length, size):
        block = q[:, :, start : start + size]  # (B, H, size, D)
        blocks.append(attention(block, k, v, _bias(start, block.shape[2], length, mask, slopes)))
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
    weights = scores.softmax(dim=-1)
    return torch.matmul(weights, v.float()).to(q.dtype)


def _is_faster_as_products(q: Tensor) -> bool:
    """Without AMX the fused kernel is as slow in bfloat16 as in float32; plain products take half its time or less."""
    if q.device.type != "cpu" or q.dtype != torch.bfloat16 or q.requires_grad or torch.compiler.is_compiling():
        return False
    few = q.shape[0] * q.shape[1] * q.shape[2] ** 2 <= FEW_SCORES
    return not few and not torch.cpu._is_amx_tile_supported()


def _as_products(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention without mask as plain products, some heads and query rows at a time, so that scores stay in cache.

    The softmax is a power of two of every score, without the row's maximum taken off, and a division at the end by the
    sum of the row, which a column of ones beside the values adds up. Scores and powers are rounded to bfloat16, whose
    range is that of float32; where a row leaves it (a score above 87, or all below -69), the fused kernel computes all.
    """
    length, width = k.shape[2], v.shape[-1]
    queries, keys, values = q.flatten(0, 1), k.flatten(0, 1).transpose(1, 2), v.flatten(0, 1)
    values = torch.cat((values, values.new_ones(*values.shape[:2], 1)), dim=-1)  # (B * H, L, D + 1)
    rows = min(q.shape[2], max(64, CACHED_SCORES // length))
    heads = max(1, GROUP_SCORES // (rows * length))
    # All groups have their scores in one place: fresh memory costs more than the product that fills it.
    place = q.new_empty(min(heads, len(queries)) * rows * length)
    out, sums = torch.empty_like(queries), q.new_empty(*queries.shape[:2], 1)
    for group in (slice(start, start + heads) for start in range(0, len(queries), heads)):
        for block in (slice(start, start + rows) for start in range(0, q.shape[2], rows)):
            part = queries[group, block]
            scores = place[: part.shape[0] * part.shape[1] * length].view(*part.shape[:2], length)
            torch.baddbmm(scores, part, keys[group], beta=0, alpha=LOG2_E * q.shape[-1] ** -0.5, out=scores)
            weighted = torch.bmm(torch.exp2(scores, out=scores), values[group])
            sums[group, block] = weighted[..., width:]
            torch.div(weighted[..., :width], weighted[..., width:], out=out[group, block])
    low, high = map(float, sums.aminmax())
    if not LEAST_SUM < low <= high < GREATEST_SUM:
        return F.scaled_dot_product_attention(q, k, v)
    return out.view(q.shape)


def varlen_attention(like: Tensor, *, slopes: Tensor | None, implementation: str | None) -> VarlenAttention | None:
    """PyTorch's kernel for packed texts, where it has one for the device and the type of `like`; None elsewhere."""
    half = like.dtype in (torch.bfloat16, torch.float16)
    if like.device.type != "cuda" or not half or slopes is not None or implementation == "eager":
        return None
    try:
        from torch.nn.attention.varlen import varlen_attn  # since PyTorch 2.10
    except ImportError:
        return None

    def attention(q: Tensor, k: Tensor, v: Tensor, ends: Tensor, longest: int) -> Tensor:
        return varlen_attn(q, k, v.contiguous(), ends, ends, longest, longest)  # type: ignore[return-value]

    return attention


def rotate_halves(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate the pairs (feature j, feature j + D/2) of `x` `(..., D)`; `cos`, `sin` broadcast to `(..., D/2)`."""
    a, b = x.chunk(2, dim=-1)
    return torch.cat((torch.addcmul(a * cos, b, sin, value=-1), torch.addcmul(b * cos, a, sin)), dim=-1)


def rotate_interleaved(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate the pairs (feature 2j, feature 2j + 1) of `x` `(..., D)`; `cos`, `sin` float32 broadcast to `(..., D/2)`.

    As a product of complex numbers, in complex64 whatever the type of `x`: one pass instead of six.
    """
    # In plain arithmetic where complex products are slow or missing, which compilers and exporters are as well.
    if x.device.type == "mps" or torch.compiler.is_compiling():
        a, b = x[..., 0::2], x[..., 1::2]
        cos, sin = cos.to(x.dtype), sin.to(x.dtype)
        return torch.stack((a * cos - b * sin, b * cos + a * sin), dim=-1).flatten(-2)
    x32 = x.to(torch.float32, memory_format=torch.contiguous_format).contiguous()  # one pass in half precision too
    pairs = torch.view_as_complex(x32.view(*x.shape[:-1], -1, 2))  # (..., D / 2)
    turn = torch.complex(cos, sin)
    if x.requires_grad or x32.data_ptr() == x.data_ptr():
        return torch.view_as_real(pairs * turn).flatten(-2).to(x.dtype)
    pairs.mul_(turn)  # in place: nobody else has seen this copy
    return x32.to(x.dtype)
