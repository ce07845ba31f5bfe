"""Training images: a random style per sample, moved, recoloured and put on a random background, all in batches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from architecture import IMAGE_SIZE, PREPROCESSOR_CONFIG
from render import TRAIN_STYLES
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # the customary name

MEAN = torch.tensor(PREPROCESSOR_CONFIG["mean"]).view(1, 3, 1, 1)
STD = torch.tensor(PREPROCESSOR_CONFIG["std"]).view(1, 3, 1, 1)

#: Hue is rotated in this space, so that brightness stays.
_RGB_TO_YIQ = torch.tensor([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])
_YIQ_TO_RGB = torch.linalg.inv(_RGB_TO_YIQ)

#: Noise to take pieces from: drawing fresh numbers for every pixel costs more than the rest of the augmentation.
_NOISE = torch.randn(2**22, generator=torch.Generator().manual_seed(0))

MONOCHROME_STYLE = "fluent-emoji-high-contrast"


class ImageSource:
    """Holds all rendered styles in memory and draws augmented batches from them."""

    def __init__(self, archive: Path) -> None:
        with np.load(archive) as arrays:
            self.styles = torch.stack([torch.from_numpy(arrays[style]) for style in TRAIN_STYLES])  # (S, n, 80, 80, 4)
        available = (self.styles[..., 3].amax(dim=(2, 3)) > 0).T  # (n, S)
        self._weights = available * torch.tensor(list(TRAIN_STYLES.values()))
        self._monochrome = list(TRAIN_STYLES).index(MONOCHROME_STYLE)

    def draw(self, rows: Tensor, rng: torch.Generator) -> Tensor:
        """Return pixel values `(B, 3, IMAGE_SIZE, IMAGE_SIZE)` of the emoji in `rows`."""
        style = torch.multinomial(self._weights[rows], 1, generator=rng).squeeze(1)
        image = self.styles[style, rows].permute(0, 3, 1, 2).float() / 255
        ink = _between(rng, 0.0, 0.45, len(rows), 3, 1, 1) * _chance(rng, 0.5, len(rows))
        monochrome = (style == self._monochrome).view(-1, 1, 1, 1)
        colour = torch.where(monochrome, ink, image[:, :3])
        alpha = image[:, 3:]
        moved = _move(torch.cat([colour * alpha, alpha], dim=1), rng)
        background = _background(len(rows), rng)
        background = torch.where(monochrome, 0.55 + 0.45 * background, background)  # dark ink needs a light ground
        pixels = moved[:, :3] + (1 - moved[:, 3:]) * background
        return (_finish(_recolour(pixels, rng), rng) - MEAN) / STD


def _between(rng: torch.Generator, low: float, high: float, *shape: int) -> Tensor:
    return torch.rand(*shape, generator=rng) * (high - low) + low


def _chance(rng: torch.Generator, share: float, count: int) -> Tensor:
    return (torch.rand(count, 1, 1, 1, generator=rng) < share).float()


def _move(image: Tensor, rng: torch.Generator) -> Tensor:
    """Rotate by up to 15 degrees, scale by 0.72 to 1.08, stretch by 8%, shear a little and shift by up to 10%."""
    count = len(image)
    angle = _between(rng, -0.26, 0.26, count) * (torch.rand(count, generator=rng) < 0.7)
    scale = _between(rng, 0.72, 1.08, count)
    stretch = _between(rng, -0.08, 0.08, count).exp()
    shear = _between(rng, -0.1, 0.1, count)
    across, down = scale * stretch, scale / stretch
    cos, sin = angle.cos(), angle.sin()
    shift = _between(rng, -0.2, 0.2, count, 2)  # the grid spans -1 to 1, so 0.2 is a tenth of the edge
    inverse = torch.stack(
        [
            torch.stack([cos / across, (sin + shear) / across, shift[:, 0]], dim=1),
            torch.stack([-sin / down, cos / down, shift[:, 1]], dim=1),
        ],
        dim=1,
    )
    grid = F.affine_grid(inverse, [count, 4, IMAGE_SIZE, IMAGE_SIZE], align_corners=False)
    return F.grid_sample(image, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def _background(count: int, rng: torch.Generator) -> Tensor:
    """Return white (half of the time), black, plain or gradient grounds."""
    first, second = torch.rand(2, count, 3, 1, 1, generator=rng)
    ramp = torch.linspace(0, 1, IMAGE_SIZE)
    down = (torch.rand(count, 1, 1, 1, generator=rng) < 0.5).float()
    ramp = down * ramp.view(1, 1, -1, 1) + (1 - down) * ramp.view(1, 1, 1, -1)
    gradient = first * ramp + second * (1 - ramp)
    kind = torch.rand(count, 1, 1, 1, generator=rng)
    ground = torch.where(kind < 0.15, gradient, first.expand_as(gradient))
    ground = torch.where(kind > 0.35, torch.zeros_like(ground), ground)
    return torch.where(kind > 0.50, torch.ones_like(ground), ground)


def _recolour(pixels: Tensor, rng: torch.Generator) -> Tensor:
    """Change brightness, contrast, saturation and, a little, hue; make one in ten grey."""
    count = len(pixels)
    saturation = _between(rng, 0.55, 1.45, count) * (torch.rand(count, generator=rng) > 0.10)
    hue = _between(rng, -0.22, 0.22, count)
    turn = torch.zeros(count, 3, 3)
    turn[:, 0, 0] = 1
    turn[:, 1, 1] = turn[:, 2, 2] = saturation * hue.cos()
    turn[:, 1, 2], turn[:, 2, 1] = -saturation * hue.sin(), saturation * hue.sin()
    matrix = _YIQ_TO_RGB @ turn @ _RGB_TO_YIQ
    changed = torch.einsum("bij,bjhw->bihw", matrix, pixels)
    contrast = _between(rng, 0.75, 1.25, count, 1, 1, 1)
    changed = (changed - 0.5) * contrast + 0.5 + _between(rng, -0.12, 0.12, count, 1, 1, 1)
    keep = _chance(rng, 0.25, count)
    return (keep * pixels + (1 - keep) * changed).clamp(0, 1)


def _finish(pixels: Tensor, rng: torch.Generator) -> Tensor:
    """Blur or sharpen, outline in dark and add noise, all in the first half of the batch only, to save time."""
    count = len(pixels) // 2
    first = pixels[:count]
    soft = F.avg_pool2d(F.pad(first, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    difference = soft - first
    edge = difference.abs().sum(dim=1, keepdim=True)
    amount = _between(rng, -0.6, 0.9, count, 1, 1, 1) * _chance(rng, 0.8, count)
    line = (edge * _between(rng, 1.5, 4.0, count, 1, 1, 1)).clamp(0, 1) * _chance(rng, 0.25, count)
    start = int(torch.randint(len(_NOISE) - first.numel(), (), generator=rng))
    noise = _NOISE[start : start + first.numel()].view_as(first)
    strength = _between(rng, 0.0, 0.08, count, 1, 1, 1) * _chance(rng, 0.5, count)
    changed = (first + amount * difference) * (1 - line) + noise * strength
    return torch.cat((changed.clamp(0, 1), pixels[count:]))
