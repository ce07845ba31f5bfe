"""The vision tower of both models: EVA02 (Fang et al., 2023), a pre-norm ViT with sub-layer norms, SwiGLU and
two-dimensional rotary positions.
"""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the customary name
from transformers.modeling_outputs import BaseModelOutputWithPooling

from ..errors import InputError
from .attention import attend, rotate_interleaved
from .configuration_jina_clip import JinaClipVisionConfig
from .linear import GatedLinear, Linear, QkvLinear

LAYER_NORM_EPS = 1e-6
"""Of every layer norm in the tower; the published configuration does not mention it."""

ROTARY_BASE = 10000.0

Rotary = tuple[Tensor, Tensor]
"""Cosine and sine of every token's angles, float32."""


def rotary_grid(config: JinaClipVisionConfig, device: torch.device, grid: int | None = None) -> Rotary:
    """Cosine and sine of every patch's angles, each `(G * G, head_width / 2)` float32.

    The first half of the pairs encodes the patch's row, the second its column. With `intp_freq` the grid is
    rescaled to the `pt_hw_seq_len` positions of pre-training. Another `grid` than the model's own lies over the same
    image: each patch has the position of its centre. Made anew for every forward pass, see `text_tower`.
    """
    own, half = config.grid_size, config.head_width // 2
    grid = own if grid is None else grid
    frequencies = ROTARY_BASE ** -(torch.arange(0, half, 2, device=device, dtype=torch.float32) / half)  # (half / 2,)
    steps = torch.arange(grid, device=device, dtype=torch.float32)
    if grid != own:
        steps = (steps + 0.5) * (own / grid) - 0.5
    if config.intp_freq:
        steps = steps / own * config.pt_hw_seq_len
    angles = torch.outer(steps, frequencies)  # (G, half / 2)
    rows, columns = angles[:, None].expand(grid, grid, -1), angles[None].expand(grid, grid, -1)
    both = torch.cat((rows, columns), dim=-1).flatten(0, 1)  # (G * G, half)
    return both.cos(), both.sin()


def resize_positions(positions: Tensor, grid: int) -> Tensor:
    """Positions `(1, 1 + G * G, W)` for a grid of `grid` patches a side: that of CLS as it is, the others resampled."""
    cls, patches = positions[:, :1], positions[:, 1:]
    own = math.isqrt(patches.shape[1])
    square = patches.float().view(1, own, own, -1).permute(0, 3, 1, 2)  # (1, W, G, G)
    resampled = F.interpolate(square, size=(grid, grid), mode="bicubic", antialias=True)
    return torch.cat((cls, resampled.flatten(2).transpose(1, 2).to(positions.dtype)), dim=1)


class VisionAttention(nn.Module):
    """Self-attention over CLS and patches; there is no key bias, and a norm stands before the output projection."""

    def __init__(self, config: JinaClipVisionConfig) -> None:
        super().__init__()
        self.heads = config.num_attention_heads
        self.qkv = QkvLinear(config.width)
        self.norm = nn.LayerNorm(config.width, eps=LAYER_NORM_EPS)
        self.out = Linear(config.width, config.width)

    def forward(self, x: Tensor, rotary: Rotary, implementation: str | None, residual: Tensor) -> Tensor:
        """`residual` plus the attention of its tokens, which are the first of `x`, to all of `x` `(B, 1 + N, W)`.

        `rotary` broadcasts to `(2, B, H, 1 + N, D / 2)`; returns the shape of `residual`, `(B, Q, W)`.
        """
        batch, tokens, width = x.shape
        qkv = self.qkv(x).view(batch, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        q, k = rotate_interleaved(qkv[:2], *rotary)  # each (B, H, 1 + N, D)
        queries = residual.shape[1]
        a = attend(q[:, :, :queries], k, qkv[2], implementation=implementation)
        a = a.transpose(1, 2).reshape(batch, queries, width)
        return self.out(self.norm(a), residual=residual)  # type: ignore[no-any-return]


class VisionMlp(nn.Module):
    """SwiGLU with a norm inside: `norm(SiLU(x W1) * (x W2)) W3`, W1 and W2 held as one matrix."""

    def __init__(self, config: JinaClipVisionConfig) -> None:
        super().__init__()
        self.up = GatedLinear(config.width, config.intermediate_size, activation="silu")
        self.norm = nn.LayerNorm(config.intermediate_size, eps=LAYER_NORM_EPS)
        self.down = Linear(config.intermediate_size, config.width)

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        return self.down(self.norm(self.up(x)), residual=residual)  # type: ignore[no-any-return]


class VisionBlock(nn.Module):
    """One pre-norm block."""

    def __init__(self, config: JinaClipVisionConfig) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.width, eps=LAYER_NORM_EPS)
        self.attn = VisionAttention(config)
        self.norm2 = nn.LayerNorm(config.width, eps=LAYER_NORM_EPS)
        self.mlp = VisionMlp(config)

    def forward(self, x: Tensor, rotary: Rotary, implementation: str | None, count: int | None = None) -> Tensor:
        """`x` `(B, 1 + N, W)` to the first `count` tokens of the block's result, `(B, count, W)`; None for all."""
        x = self.attn(self.norm1(x), rotary, implementation, residual=x[:, :count])
        return self.mlp(self.norm2(x), residual=x)  # type: ignore[no-any-return]


class VisionTower(nn.Module):
    """Pixels to one vector per image."""

    def __init__(self, config: JinaClipVisionConfig) -> None:
        super().__init__()
        self.config = config
        self.image_size, self.grid = config.image_size, config.grid_size
        self.patch_embed = Linear(3 * config.patch_size**2, config.width)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + config.grid_size**2, config.width))
        self.blocks = nn.ModuleList(VisionBlock(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width, eps=LAYER_NORM_EPS)

    def resized(self, image_size: int) -> VisionTower:
        """This tower for images of another size, a whole number of patches; it shares every weight but the positions.

        It is made to look at images with, not to be trained or saved: a checkpoint has positions of one size.
        """
        tower = copy.copy(self)
        tower._parameters = dict(self._parameters)  # the copy has shared the dict itself
        tower.image_size, tower.grid = image_size, image_size // self.config.patch_size
        with torch.no_grad():
            tower.pos_embed = nn.Parameter(resize_positions(self.pos_embed, tower.grid), requires_grad=False)
        return tower

    def forward(
        self, pixel_values: Tensor, ids_keep: Tensor | None = None, output_hidden_states: bool = False
    ) -> BaseModelOutputWithPooling:
        """Encode `pixel_values` `(B, 3, S, S)`, normalised, with S = `image_size`.

        `ids_keep` `(B, K)` (integers, row by row from the top left) computes those patches and CLS alone, each with
        its own position: the patch dropout of training. `pooler_output` `(B, W)` float32 is the CLS token of
        `last_hidden_state` `(B, 1 + N, W)`, which is after the final norm. Raises `InputError` for another size.
        """
        x, rotary = self._embed_patches(pixel_values, ids_keep)
        states = [x]
        for block in self.blocks:
            x = block(x, rotary, self.config._attn_implementation)
            if output_hidden_states:
                states.append(x)
        x = self.norm(x)
        return BaseModelOutputWithPooling(
            last_hidden_state=x,
            pooler_output=x[:, 0].float(),
            hidden_states=tuple(states) if output_hidden_states else None,
        )

    def embed(self, pixel_values: Tensor) -> Tensor:
        """The pooled vectors alone, `(B, W)` float32: the last block computes CLS and nothing else."""
        x, rotary = self._embed_patches(pixel_values)
        for block in self.blocks[:-1]:
            x = block(x, rotary, self.config._attn_implementation)
        x = self.blocks[-1](x, rotary, self.config._attn_implementation, count=1)  # (B, 1, W)
        return self.norm(x)[:, 0].float()  # type: ignore[no-any-return]

    def _embed_patches(self, pixel_values: Tensor, ids_keep: Tensor | None = None) -> tuple[Tensor, Rotary]:
        """Input of the first block, `(B, 1 + N, W)`, and the rotations of its tokens, each `(1 + N, D / 2)` float32."""
        patches = self._patches(pixel_values)  # (B, N, 3 * P * P)
        positions = self.pos_embed[:, 1:]  # (1, N, W)
        cos, sin = rotary_grid(self.config, patches.device, self.grid)  # each (N, D / 2)
        if ids_keep is not None:
            patches = patches.gather(1, ids_keep[..., None].expand(-1, -1, patches.shape[-1]))  # (B, K, 3 * P * P)
            positions = positions[0, ids_keep]  # (B, K, W)
            cos, sin = cos[ids_keep][:, None], sin[ids_keep][:, None]  # (B, 1, K, D / 2)
        cls = (self.cls_token + self.pos_embed[:, :1]).expand(patches.shape[0], -1, -1)  # (B, 1, W)
        x = torch.cat((cls, self.patch_embed(patches) + positions), dim=1)
        return x, (F.pad(cos, (0, 0, 1, 0), value=1.0), F.pad(sin, (0, 0, 1, 0)))  # CLS has no position: no turn

    def _patches(self, pixel_values: Tensor) -> Tensor:
        """Split `(B, 3, S, S)` into `(B, G * G, 3 * P * P)`, row by row; what exceeds whole patches is dropped."""
        size, patch, grid = self.image_size, self.config.patch_size, self.grid
        if pixel_values.ndim != 4 or tuple(pixel_values.shape[1:]) != (3, size, size):
            raise InputError(f"pixel_values must be (n, 3, {size}, {size}), not {tuple(pixel_values.shape)}")
        whole = pixel_values[:, :, : grid * patch, : grid * patch].to(self.pos_embed.dtype)
        patches = whole.reshape(-1, 3, grid, patch, grid, patch).permute(0, 2, 4, 1, 3, 5)  # (B, G, G, 3, P, P)
        return patches.reshape(-1, grid * grid, 3 * patch * patch)
