"""The published computation of both models, to measure against: float32, every score matrix in full.

Written from the published configuration and equations, as the remote code computes on a machine without CUDA, flash
attention or xformers: separate projections for q, k and v, scores and softmax as whole `(B, H, L, L)` arrays, masked
keys at -10000, and texts in fixed batches of 32 sorted by their number of characters. Two costs of the original are
left out, which makes the reference faster than the original: its adapters are merged once instead of in every layer of
every pass, and its rotary tables are made once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # the customary name

from jina_clip_integrations.modeling import JinaClipModel
from jina_clip_integrations.modeling.attention import rotate_halves
from jina_clip_integrations.modeling.text_rows import alibi_slopes, rotary_table
from jina_clip_integrations.modeling.vision_tower import LAYER_NORM_EPS, rotary_grid

BATCH = 32
"""Texts per batch of the original's `encode_text`, and images of its `encode_image`."""

MASKED = -10000.0


class Reference:
    """Both towers of a float32 `JinaClipModel`, computed as published on its device. Vectors are raw, `(n, W)`."""

    def __init__(self, model: JinaClipModel) -> None:
        self.config = model.config
        self.state = {name: tensor.detach() for name, tensor in model.state_dict().items()}
        vision = model.config.vision_config
        for i in range(vision.layers):  # as published: one matrix each
            self._split(f"vision_model.blocks.{i}.attn.qkv.weight", "qkv")
            self._split(f"vision_model.blocks.{i}.mlp.up.weight", "12")
            self._split(f"vision_model.blocks.{i}.mlp.up.bias", "12")
        self._device = model.device
        self._grid = rotary_grid(vision, self._device)

    def _split(self, name: str, parts: str) -> None:
        pieces = self.state[name].chunk(len(parts))
        self.state |= {f"{name}.{part}": piece.clone() for part, piece in zip(parts, pieces, strict=True)}

    def texts(self, rows: Sequence[list[int]]) -> Tensor:
        """Token ids of one batch, padded to the longest."""
        pad = self.config.text_config.settings.pad_token_id
        longest = max(map(len, rows))
        ids = torch.tensor([row + [pad] * (longest - len(row)) for row in rows]).to(self._device)  # (B, L)
        counted = (ids != pad)[..., None].float()
        return (self.text_states(ids, ids != pad) * counted).sum(1) / counted.sum(1)

    def text_states(self, ids: Tensor, mask: Tensor) -> Tensor:
        """The last hidden state, `(B, L, W)`, of ids `(B, L)` with `mask` True where a token counts."""
        settings = self.config.text_config.settings
        longest = ids.shape[1]
        words, types = (self.state[f"text_model.{kind}_embeddings.weight"] for kind in ("word", "token_type"))
        bias = (~mask)[:, None, None, :] * MASKED  # (B, 1, 1, L)
        x = self._norm("text_model.norm", F.embedding(ids, words) + types[0], settings.layer_norm_eps)
        if settings.is_alibi:
            steps = torch.arange(longest, device=self._device)
            distance = (steps[:, None] - steps).abs()
            bias = bias - alibi_slopes(settings.num_attention_heads, self._device)[:, None, None] * distance
        rotary = None if settings.is_alibi else rotary_table(longest, settings.head_dim, settings.rotary_emb_base, x)
        for i in range(settings.num_hidden_layers):
            x = self._text_block(f"text_model.blocks.{i}", x, bias, rotary)
        return x

    def _text_block(self, name: str, x: Tensor, bias: Tensor, rotary: tuple[Tensor, Tensor] | None) -> Tensor:
        settings = self.config.text_config.settings
        batch, length, width = x.shape
        qkv = self._linear(f"{name}.attn.qkv", x).view(batch, length, 3, settings.num_attention_heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        if rotary is not None:
            q, k = rotate_halves(q, *rotary), rotate_halves(k, *rotary)
        a = _eager(q, k, v, bias).transpose(1, 2).reshape(batch, length, width)
        x = self._norm(f"{name}.norm1", x + self._linear(f"{name}.attn.out", a), settings.layer_norm_eps)
        h = self._linear(f"{name}.mlp.up", x)
        if settings.is_alibi:
            u, g = h.chunk(2, dim=-1)
            h = F.gelu(u) * g
        else:
            h = F.gelu(h)
        return self._norm(f"{name}.norm2", x + self._linear(f"{name}.mlp.down", h), settings.layer_norm_eps)

    def images(self, pixel_values: Tensor) -> Tensor:
        """Pixels `(B, 3, S, S)`, normalised."""
        vision = self.config.vision_config
        patch = vision.patch_size
        kernel = self.state["vision_model.patch_embed.weight"].view(vision.width, 3, patch, patch)
        patches = F.conv2d(
            pixel_values.to(self._device), kernel, self.state["vision_model.patch_embed.bias"], stride=patch
        )
        x = patches.flatten(2).transpose(1, 2)  # (B, G * G, W)
        cls = self.state["vision_model.cls_token"].expand(len(x), -1, -1)
        x = torch.cat((cls, x), dim=1) + self.state["vision_model.pos_embed"]
        for i in range(vision.layers):
            x = self._vision_block(f"vision_model.blocks.{i}", x)
        return self._norm("vision_model.norm", x, LAYER_NORM_EPS)[:, 0]

    def _vision_block(self, name: str, x: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        h = self._norm(f"{name}.norm1", x, LAYER_NORM_EPS)
        biases = (self.state[f"{name}.attn.qkv.q_bias"], None, self.state[f"{name}.attn.qkv.v_bias"])
        q, k, v = (
            F.linear(h, self.state[f"{name}.attn.qkv.weight.{part}"], bias)
            .view(batch, tokens, width // self.config.vision_config.head_width, -1)
            .transpose(1, 2)
            for part, bias in zip("qkv", biases, strict=True)
        )
        q, k = (torch.cat((t[:, :, :1], _rotate(t[:, :, 1:], *self._grid)), dim=2) for t in (q, k))
        a = _eager(q, k, v, None).transpose(1, 2).reshape(batch, tokens, width)
        x = x + self._linear(f"{name}.attn.out", self._norm(f"{name}.attn.norm", a, LAYER_NORM_EPS))
        h = self._norm(f"{name}.norm2", x, LAYER_NORM_EPS)
        gate, value = (
            F.linear(h, self.state[f"{name}.mlp.up.weight.{part}"], self.state[f"{name}.mlp.up.bias.{part}"])
            for part in "12"
        )
        h = self._norm(f"{name}.mlp.norm", F.silu(gate) * value, LAYER_NORM_EPS)
        return x + self._linear(f"{name}.mlp.down", h)

    def _linear(self, name: str, x: Tensor) -> Tensor:
        return F.linear(x, self.state[f"{name}.weight"], self.state.get(f"{name}.bias"))

    def _norm(self, name: str, x: Tensor, eps: float) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], self.state[f"{name}.weight"], self.state[f"{name}.bias"], eps)


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    a, b = x[..., 0::2], x[..., 1::2]
    return torch.stack((a * cos - b * sin, b * cos + a * sin), dim=-1).flatten(-2)


def _eager(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor:
    scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5  # (B, H, L, L)
    if bias is not None:
        scores = scores + bias
    return scores.softmax(dim=-1) @ v


def text_batches(texts: Sequence[str]) -> Iterator[list[int]]:
    """Positions of the texts of each batch: 32 at a time, longest strings first."""
    order = sorted(range(len(texts)), key=lambda position: -len(texts[position]))
    for start in range(0, len(order), BATCH):
        yield order[start : start + BATCH]
