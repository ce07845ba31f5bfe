"""The two text towers: one post-norm encoder with rotary positions (v2) or with ALiBi and a gated MLP (v1).

v2 has the shape of XLM-RoBERTa with rotary positions (Su et al., 2021); its low-rank adapters are merged into the
weights when they are read. v1 is JinaBERT (Günther et al., 2023). Both pool by the mean over real tokens.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the customary name
from transformers.modeling_outputs import BaseModelOutputWithPooling

from .attention import attend, rotate_halves
from .configuration_jina_clip import JinaClipTextConfig
from .text_settings import TextSettings


def alibi_slopes(heads: int, device: torch.device | None = None) -> Tensor:
    """The slope of each head, `(heads,)` float32, in head order (Press et al., 2022, appendix of the public code).

    A power of two n gives 2^(-8/n), 2^(-16/n), …; any other count takes the series of the next lower power of two,
    followed by every second element of the series for twice that power.
    """
    power = 2 ** math.floor(math.log2(heads))
    slopes = [2 ** (-8 * (h + 1) / power) for h in range(power)]
    slopes += [2 ** (-4 * (h + 1) / power) for h in range(0, 2 * power, 2)][: heads - power]
    return torch.tensor(slopes, dtype=torch.float32, device=device)


def rotary_table(length: int, head_dim: int, base: float, like: Tensor) -> tuple[Tensor, Tensor]:
    """Cosine and sine of position times frequency, each `(length, head_dim / 2)`, device and type those of `like`.

    Computed in float32 and rounded last: position 8191 does not exist in bfloat16. Made anew for every forward pass
    (it is small), so there is no buffer that a meta-device load could leave unset.
    """
    exponents = torch.arange(0, head_dim, 2, device=like.device, dtype=torch.float32) / head_dim
    angles = torch.outer(torch.arange(length, device=like.device, dtype=torch.float32), base**-exponents)
    return angles.cos().to(like.dtype), angles.sin().to(like.dtype)


class TextAttention(nn.Module):
    """Self-attention with one fused projection, rotary or ALiBi positions."""

    def __init__(self, settings: TextSettings) -> None:
        super().__init__()
        self.heads = settings.num_attention_heads
        self.qkv = nn.Linear(settings.hidden_size, 3 * settings.hidden_size)
        self.out = nn.Linear(settings.hidden_size, settings.hidden_size)

    def forward(self, x: Tensor, positions: Positions, mask: Tensor | None, implementation: str | None) -> Tensor:
        """`x` `(B, L, W)`, `mask` `(B, L)` or None; returns `(B, L, W)`."""
        batch, length, width = x.shape
        qkv = self.qkv(x).view(batch, length, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each (B, H, L, D)
        if positions.rotary is not None:
            q, k = rotate_halves(q, *positions.rotary), rotate_halves(k, *positions.rotary)
        a = attend(q, k, v, mask=mask, slopes=positions.slopes, implementation=implementation)
        return self.out(a.transpose(1, 2).reshape(batch, length, width))  # type: ignore[no-any-return]


class TextMlp(nn.Module):
    """`GELU(x W1) W2` (v2), or gated without a bias inside, `(GELU(u) * g) W2` with `[u, g] = x W1` (v1)."""

    def __init__(self, settings: TextSettings) -> None:
        super().__init__()
        self.gated = settings.is_alibi
        inner = settings.intermediate_size
        self.up = nn.Linear(settings.hidden_size, 2 * inner if self.gated else inner, bias=not self.gated)
        self.down = nn.Linear(inner, settings.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        x = self.up(x)
        if self.gated:
            u, g = x.chunk(2, dim=-1)
            return self.down(F.gelu(u) * g)  # type: ignore[no-any-return]
        return self.down(F.gelu(x))  # type: ignore[no-any-return]


class TextBlock(nn.Module):
    """One post-norm block: the norms follow the residual sums."""

    def __init__(self, settings: TextSettings) -> None:
        super().__init__()
        self.attn = TextAttention(settings)
        self.norm1 = nn.LayerNorm(settings.hidden_size, eps=settings.layer_norm_eps)
        self.mlp = TextMlp(settings)
        self.norm2 = nn.LayerNorm(settings.hidden_size, eps=settings.layer_norm_eps)

    def forward(self, x: Tensor, positions: Positions, mask: Tensor | None, implementation: str | None) -> Tensor:
        x = self.norm1(x + self.attn(x, positions, mask, implementation))
        return self.norm2(x + self.mlp(x))  # type: ignore[no-any-return]


class Positions:
    """What the blocks need to know of token positions: a rotary table or ALiBi slopes."""

    def __init__(self, settings: TextSettings, length: int, like: Tensor) -> None:
        self.rotary: tuple[Tensor, Tensor] | None = None
        self.slopes: Tensor | None = None
        if settings.is_alibi:
            self.slopes = alibi_slopes(settings.num_attention_heads, like.device)
        else:
            self.rotary = rotary_table(length, settings.head_dim, settings.rotary_emb_base, like)


class TextTower(nn.Module):
    """Token ids to one pooled vector per row."""

    def __init__(self, config: JinaClipTextConfig) -> None:
        super().__init__()
        self.config = config
        self.settings = settings = config.settings
        self.word_embeddings = nn.Embedding(settings.vocab_size, settings.hidden_size)
        self.token_type_embeddings = nn.Embedding(settings.type_vocab_size, settings.hidden_size)
        self.norm = nn.LayerNorm(settings.hidden_size, eps=settings.layer_norm_eps)
        self.blocks = nn.ModuleList(TextBlock(settings) for _ in range(settings.num_hidden_layers))

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, output_hidden_states: bool = False
    ) -> BaseModelOutputWithPooling:
        """Encode `input_ids` `(B, L)`, padded to the right.

        A token counts unless its id is the padding id, as in the published model. `attention_mask` `(B, L)`, which
        tokenizers add, can hide further tokens and cannot bring padding back. `pooler_output` `(B, W)` float32 is the
        mean of `last_hidden_state` `(B, L, W)` over the tokens that count.
        """
        mask = input_ids != self.settings.pad_token_id
        if attention_mask is not None:
            mask = mask & attention_mask.bool()
        # Without padding the kernels run faster when there is no mask at all.
        key_mask = None if not torch.compiler.is_compiling() and bool(mask.all()) else mask

        x = self.norm(self.word_embeddings(input_ids) + self.token_type_embeddings.weight[0])  # (B, L, W)
        positions = Positions(self.settings, input_ids.shape[1], x)
        states = [x]
        for block in self.blocks:
            x = block(x, positions, key_mask, self.config._attn_implementation)
            if output_hidden_states:
                states.append(x)
        return BaseModelOutputWithPooling(
            last_hidden_state=x,
            pooler_output=mean_pool(x, mask),
            hidden_states=tuple(states) if output_hidden_states else None,
        )


def mean_pool(x: Tensor, mask: Tensor) -> Tensor:
    """Mean of `x` `(B, L, W)` over the tokens with `mask` `(B, L)` True: `(B, W)` float32."""
    total = x.float().masked_fill(~mask[..., None], 0.0).sum(dim=1)
    return total / mask.sum(dim=1, keepdim=True).clamp(min=1)
