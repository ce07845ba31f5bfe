"""Texts and images on which every usual mistake shows, the same every time."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..images.decode import ORIENTATION_TAG

LONG_TOKENS = 1024
"""The long text has at least as many tokens, so that one that is cut at 512 loses half of itself."""

TEXTS: Sequence[str] = (
    "a",
    "A photograph of a red bicycle leaning against a white wall",
    "雨の中で踊る二人",
    "الأفق عند الغروب فوق المدينة القديمة",
    "Der schnelle braune Fuchs springt über den faulen Hund, und niemand sieht ihm dabei zu",
    "what is the boiling point of water at the top of a mountain?",
)
"""Short ones in several scripts, of different lengths so that padding shows."""

WORDS = ("harbour", "lantern", "copper", "meadow", "violin", "winter", "engine", "paper", "orchard", "signal", "marble")
"""What the long text is made of."""

EXIF_ORIENTATION = 6
"""A quarter turn clockwise, as phones write it for upright photos."""


@dataclass(frozen=True)
class ImageProbe:
    """An encoded image."""

    name: str
    data: bytes


def long_text(count: Callable[[str], int]) -> str:
    """A text of at least `LONG_TOKENS` by `count`, whose second half is not like its first."""
    words: list[str] = []
    while count(" ".join(words)) < LONG_TOKENS:
        start = len(words)
        words += [WORDS[(7 * n + n * n // 11) % len(WORDS)] + str(n % 97) for n in range(start, start + 64)]
    return " ".join(words)


def image_probes(size: int) -> list[ImageProbe]:
    """Images for a model that sees squares of `size` pixels, none larger than three such sides."""
    return [
        ImageProbe("square", _encode(_pattern(size, size, seed=1))),
        ImageProbe("fine", _encode(_pattern(3 * size, 3 * size, seed=2, grain=1))),
        ImageProbe("wide", _encode(_pattern(2 * size, size, seed=3))),
        ImageProbe("tall", _encode(_pattern(size, 2 * size, seed=4))),
        ImageProbe("small", _encode(_pattern(size // 2 + 3, size // 2 + 3, seed=5))),
        ImageProbe("turned", _encode(_pattern(2 * size, size, seed=6), orientation=EXIF_ORIENTATION)),
        ImageProbe("transparent", _encode(_with_alpha(_pattern(size, size, seed=7)))),
    ]


def _pattern(width: int, height: int, *, seed: int, grain: int = 6) -> NDArray[np.uint8]:
    """`(height, width, 3)`: a gradient, blocks and grain, other in each corner and in each channel."""
    random = np.random.default_rng(seed)
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    smooth = np.stack([x, y * (1 - x), np.sin(5 * x + 2 * y) / 2 + 0.5], axis=-1)
    rows, columns = -(-height // grain), -(-width // grain)
    blocks = random.random((rows, columns, 3)).repeat(grain, 0).repeat(grain, 1)[:height, :width]
    mixed = 0.55 * smooth + 0.45 * blocks
    mixed[: height // 3, : width // 3, 0] = 0.95  # a red corner, so that halves and channels differ
    mixed[-height // 4 :, :, 2] *= 0.2
    return np.round(255 * mixed).astype(np.uint8)


def _with_alpha(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    alpha = np.full((*pixels.shape[:2], 1), 255, np.uint8)
    alpha[:, pixels.shape[1] // 2 :] = 0
    return np.concatenate([pixels, alpha], axis=-1)


def _encode(pixels: NDArray[np.uint8], *, orientation: int | None = None) -> bytes:
    """PNG, with the orientation in its EXIF chunk if there is one."""
    from PIL import Image

    written, exif = io.BytesIO(), Image.Exif()
    if orientation is not None:
        exif[ORIENTATION_TAG] = orientation
    Image.fromarray(pixels).save(written, "PNG", **({"exif": exif} if orientation is not None else {}))
    return written.getvalue()
