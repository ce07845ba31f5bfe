"""The vision tower of both models: EVA02 (Fang et al., 2023), a pre-norm ViT with sub-layer norms, SwiGLU and
two-dimensional rotary positions.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the customary name
from transformers.modeling_outputs import BaseModelOutputWithPooling

from ..errors import InputError
from .attention import attend, rotate_neighbours
from .configuration_jina_clip import JinaClipVisionConfig

LAYER_NORM_EPS = 1e-6
"""Of every layer norm in the tower; the published configuration does not mention it."""

ROTARY_BASE = 10000.0


def rotary_grid(config: JinaClipVisionConfig, device: torch.device) -> tuple[Tensor, Tensor]:
    """Cosine and sine of every patch's angles, each `(G * G, head_width / 2)` float32.

    The first half of the pairs turns with the patch's row, the second with its column. With `intp_freq` the grid is
    rescaled to the `pt_hw_seq_len` positions of pre-training. Made anew for every forward pass, see `text_tower`.
    """
    grid, half = config.grid_size, config.head_width // 2
    frequencies = ROTARY_BASE ** -(torch.arange(0, half, 2, device=device, dtype=torch.float32) / half)  # (half / 2,)
    steps = torch.arange(grid, device=device, dtype=torch.float32)
    if config.intp_freq:
        steps = steps / grid * config.pt_hw_seq_len
    angles = torch.outer(steps, frequencies)  # (G, half / 2)
    rows, columns = angles[:, None].expand(grid, grid, -1), angles[None].expand(grid, grid, -1)
    both = torch.cat((rows, columns), dim=-1).flatten(0, 1)  # (G * G, half)
    return both.cos(), both.sin()


class VisionAttention(nn.Module):
    """Self-attention over CLS and patches; there is no key bias, and a norm stands before the output projection."""

    def __init__(self, config: JinaClipVisionConfig) -> None:
        super().__init__()
        self.heads = config.num_attention_heads
        self.qkv = nn.Linear(config.width, 3 * config.width, bias=False)
        self.q_bias = nn.Parameter(torch.zeros(config.width))
        self.v_bias = nn.Parameter(torch.zeros(config.width))
        self.norm = nn.LayerNorm(config.width, eps=LAYER_NORM_EPS)
        self.out = nn.Linear(config.width, config.width)

    def forward(self, x: Tensor, rotary: tuple[Tensor, Tensor], implementation: str | None) -> Tensor:
        """`x` `(B, 1 + N, W)` with CLS first; `rotary` broadcasts to `(B, H, N, D / 2)`; returns `(B, 1 + N, W)`."""
        batch, tokens, width = x.shape
        bias = torch.cat((self.q_bias, torch.zeros_like(self.q_bias), self.v_bias))
        qkv = F.linear(x, self.qkv.weight, bias).view(batch, tokens, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each (B, H, 1 + N, D)
        a = attend(_rotate_patches(q, rotary), _rotate_patches(k, rotary), v, implementation=implementation)
        return self.out(self.norm(a.transpose(1, 2).reshape(batch, tokens, width)))  # type: ignore[no-any-return]


def _rotate_patches(x: Tensor, rotary: tuple[Tensor, Tensor]) -> Tensor:
    """Rotate all tokens of `x` `(B, H, 1 + N, D)` but the first."""
    return torch.cat((x[:, :, :1], rotate_neighbours(x[:, :, 1:], *rotary)), dim=2)


class VisionMlp(nn.Module):
    """SwiGLU with a norm inside: `norm(SiLU(x W1) * (x W2)) W3`, W1 and W2 held as one matrix."""

    def __init__(self, config: JinaClipVisionConfig) -> None:
        super().__init__()
        self.up = nn.Linear(config.width, 2 * config.intermediate_size)
        self.norm = nn.LayerNorm(config.intermediate_size, eps=LAYER_NORM_EPS)
        self.down = nn.Linear(config.intermediate_size, config.width)

    def forward(self, x: Tensor) -> Tensor:
        gate, value = self.up(x).chunk(2, dim=-1)
        return self.down(self.norm(F.silu(gate) * value))  # type: ignore[no-any-return]


class VisionBlock(nn.Module):
    """One pre-norm block."""

    def __init__(self, config: JinaClipVisionConfig) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.width, eps=LAYER_NORM_EPS)
        self.attn = VisionAttention(config)
        self.norm2 = nn.LayerNorm(config.width, eps=LAYER_NORM_EPS)
        self.mlp = VisionMlp(config)

    def forward(self, x: Tensor, rotary: tuple[Tensor, Tensor], implementation: str | None) -> Tensor:
        x = x + self.attn(self.norm1(x), rotary, implementation)
        return x + self.mlp(self.norm2(x))  # type: ignore[no-any-return]


class VisionTower(nn.Module):
    """Pixels to one vector per picture."""

    def __init__(self, config: JinaClipVisionConfig) -> None:
        super().__init__()
        self.config = config
        self.patch_embed = nn.Linear(3 * config.patch_size**2, config.width)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + config.grid_size**2, config.width))
        self.blocks = nn.ModuleList(VisionBlock(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width, eps=LAYER_NORM_EPS)

    def forward(
        self, pixel_values: Tensor, patch_keep: Tensor | None = None, output_hidden_states: bool = False
    ) -> BaseModelOutputWithPooling:
        """Encode `pixel_values` `(B, 3, S, S)`, normalised, with S = `image_size`.

        `patch_keep` `(B, K)` (integers, row by row from the top left) computes those patches and CLS alone, each with
        its own position: the patch dropout of training. `pooler_output` `(B, W)` float32 is the CLS token of
        `last_hidden_state` `(B, 1 + N, W)`, which is after the final norm. Raises `InputError` for another size.
        """
        patches = self._patches(pixel_values)  # (B, N, 3 * P * P)
        positions = self.pos_embed[:, 1:]  # (1, N, W)
        cos, sin = (table.to(patches.dtype) for table in rotary_grid(self.config, patches.device))  # (N, D / 2)
        if patch_keep is not None:
            patches = patches.gather(1, patch_keep[..., None].expand(-1, -1, patches.shape[-1]))  # (B, K, 3 * P * P)
            positions = positions[0, patch_keep]  # (B, K, W)
            cos, sin = cos[patch_keep][:, None], sin[patch_keep][:, None]  # (B, 1, K, D / 2)
        cls = (self.cls_token + self.pos_embed[:, :1]).expand(len(patches), -1, -1)  # (B, 1, W)
        x = torch.cat((cls, self.patch_embed(patches) + positions), dim=1)  # (B, 1 + N, W)
        states = [x]
        for block in self.blocks:
            x = block(x, (cos, sin), self.config._attn_implementation)
            if output_hidden_states:
                states.append(x)
        x = self.norm(x)
        return BaseModelOutputWithPooling(
            last_hidden_state=x,
            pooler_output=x[:, 0].float(),
            hidden_states=tuple(states) if output_hidden_states else None,
        )

    def _patches(self, pixel_values: Tensor) -> Tensor:
        """Cut `(B, 3, S, S)` into `(B, G * G, 3 * P * P)`, row by row; what exceeds whole patches is dropped."""
        size, patch, grid = self.config.image_size, self.config.patch_size, self.config.grid_size
        if pixel_values.ndim != 4 or tuple(pixel_values.shape[1:]) != (3, size, size):
            raise InputError(f"pixel_values must be (n, 3, {size}, {size}), not {tuple(pixel_values.shape)}")
        seen = pixel_values[:, :, : grid * patch, : grid * patch].to(self.patch_embed.weight.dtype)
        cut = seen.reshape(-1, 3, grid, patch, grid, patch).permute(0, 2, 4, 1, 3, 5)  # (B, G, G, 3, P, P)
        return cut.reshape(-1, grid * grid, 3 * patch * patch)
