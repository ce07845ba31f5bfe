"""Small images for lists of hits: decoded with bounds, upright, without metadata."""

from __future__ import annotations

import io
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from ..images.encoded import EncodedImage
from ..images.rendering import make_rendering
from ..images.sources import SourcePolicy
from ..printable import printable_name

if TYPE_CHECKING:
    import PIL.Image

MIN_PIXELS, MAX_PIXELS = 16, 2048
"""Longest side of a thumbnail, in pixels."""

LARGE_PIXELS = 16_000_000
"""Images from this size on are decoded one at a time: 48 MB and more each."""

QUALITY = 82

_LARGE = threading.Semaphore(1)


def make_thumbnail(path: Path, pixels: int, policy: SourcePolicy, *, name: str | None = None) -> bytes:
    """The image at `path` as WebP (JPEG where this Pillow has no WebP), its longest side at most `pixels`.

    On white where it is transparent. Raises `ImageError` for what cannot be decoded or that `policy` does not allow,
    in which the image is called `name` (None = by its path).
    """
    return encode_thumbnail(open_small(path, pixels, policy, name=name), _bounded(pixels))


def open_small(path: Path, pixels: int, policy: SourcePolicy, *, name: str | None = None) -> PIL.Image.Image:
    """The image at `path` in RGB, its longest side at most `pixels`. Raises as `make_thumbnail`."""
    side = _bounded(pixels)
    source = EncodedImage(
        lambda: policy.open_path(os.fspath(path)),
        name=printable_name(os.fspath(path) if name is None else name),
        rendering=make_rendering(background="white"),
        max_pixels=policy.max_pixels,
    )
    width, height = source.size()
    if width * height < LARGE_PIXELS:
        return _shrink(source.open(min_side=side), side)
    with _LARGE:
        return _shrink(source.open(min_side=side), side)


def _bounded(pixels: int) -> int:
    return min(max(pixels, MIN_PIXELS), MAX_PIXELS)


def _shrink(image: PIL.Image.Image, side: int) -> PIL.Image.Image:
    import PIL.Image

    small = image.copy()
    small.thumbnail((side, side), PIL.Image.Resampling.LANCZOS)
    return small


def encode_thumbnail(image: PIL.Image.Image, side: int) -> bytes:
    """An RGB image, made smaller where it is larger than `side`, in a format of browsers."""
    from PIL import features

    small = _shrink(image, side)
    buffer = io.BytesIO()
    if features.check("webp"):
        small.save(buffer, "WEBP", quality=QUALITY, method=2)
    else:
        small.save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()
