"""The text towers: token ids to one vector per text.

v2 is the encoder of XLM-RoBERTa with rotary positions (Su et al., 2021); its low-rank adapters are merged into the
weights when they are read. v1 is JinaBERT (Günther et al., 2023). Both pool by the mean over real tokens.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutputWithPooling

from .configuration_jina_clip import JinaClipTextConfig
from .linear import GatedLinear, Linear
from .text_rows import PackedRows, PaddedRows, TextRows
from .text_settings import TextSettings


class TextAttention(nn.Module):
    """Self-attention with one fused projection, rotary or ALiBi positions, and the residual."""

    def __init__(self, settings: TextSettings) -> None:
        super().__init__()
        self.qkv = Linear(settings.hidden_size, 3 * settings.hidden_size)
        self.out = Linear(settings.hidden_size, settings.hidden_size)

    def forward(self, x: Tensor, rows: TextRows) -> Tensor:
        """`x` `(..., W)` as `rows` lays it out; returns the same shape."""
        return self.out(rows.attend(self.qkv(x)), residual=x)  # type: ignore[no-any-return]


class TextMlp(nn.Module):
    """`x + GELU(x W1) W2` (v2), or gated without a bias inside, `x + (GELU(u) * g) W2` with `[u, g] = x W1` (v1)."""

    def __init__(self, settings: TextSettings) -> None:
        super().__init__()
        width, inner = settings.hidden_size, settings.intermediate_size
        gated = settings.is_alibi
        self.up = (
            GatedLinear(width, inner, bias=False, activation="gelu")
            if gated
            else Linear(width, inner, activation="gelu")
        )
        self.down = Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(self.up(x), residual=x)  # type: ignore[no-any-return]


class TextBlock(nn.Module):
    """One post-norm block: the norms follow the residual sums."""

    def __init__(self, settings: TextSettings) -> None:
        super().__init__()
        self.attn = TextAttention(settings)
        self.norm1 = nn.LayerNorm(settings.hidden_size, eps=settings.layer_norm_eps)
        self.mlp = TextMlp(settings)
        self.norm2 = nn.LayerNorm(settings.hidden_size, eps=settings.layer_norm_eps)

    def forward(self, x: Tensor, rows: TextRows) -> Tensor:
        x = self.norm1(self.attn(x, rows))
        return self.norm2(self.mlp(x))  # type: ignore[no-any-return]


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

        x = self._embed_tokens(input_ids)  # (B, L, W)
        rows = PaddedRows(self.settings, key_mask, x, self.config._attn_implementation)
        states = [x]
        for block in self.blocks:
            x = block(x, rows)
            if output_hidden_states:
                states.append(x)
        return BaseModelOutputWithPooling(
            last_hidden_state=x,
            pooler_output=mean_pool(x, mask),
            hidden_states=tuple(states) if output_hidden_states else None,
        )

    def embed_packed(self, input_ids: Tensor, lengths: Sequence[int]) -> Tensor:
        """The pooled vectors alone, `(n, W)` float32, of texts whose ids `(T,)` follow each other without padding.

        `lengths` of the n texts, which add up to T; sorted lengths are fastest. No id may be the padding id.
        """
        x = self._embed_tokens(input_ids)  # (T, W)
        rows = PackedRows(self.settings, lengths, x, self.config._attn_implementation)
        for block in self.blocks:
            x = block(x, rows)
        return rows.mean(x)

    def _embed_tokens(self, input_ids: Tensor) -> Tensor:
        return self.norm(self.word_embeddings(input_ids) + self.token_type_embeddings.weight[0])  # type: ignore[no-any-return]


def mean_pool(x: Tensor, mask: Tensor) -> Tensor:
    """Mean of `x` `(B, L, W)` over the tokens with `mask` `(B, L)` True: `(B, W)` float32."""
    total = x.float().masked_fill(~mask[..., None], 0.0).sum(dim=1)
    return total / mask.sum(dim=1, keepdim=True).clamp(min=1)
