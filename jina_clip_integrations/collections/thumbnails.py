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
    side = min(max(pixels, MIN_PIXELS), MAX_PIXELS)
    source = EncodedImage(
        lambda: policy.open_path(os.fspath(path)),
        name=printable_name(os.fspath(path) if name is None else name),
        rendering=make_rendering(background="white"),
        max_pixels=policy.max_pixels,
    )
    width, height = source.size()
    if width * height < LARGE_PIXELS:
        return encode_thumbnail(source.open(min_side=side), side)
    with _LARGE:
        return encode_thumbnail(source.open(min_side=side), side)


def encode_thumbnail(image: PIL.Image.Image, side: int) -> bytes:
    """An RGB image, made smaller where it is larger than `side`, in a format of browsers."""
    import PIL.Image
    from PIL import features

    small = image.copy()
    small.thumbnail((side, side), PIL.Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    if features.check("webp"):
        small.save(buffer, "WEBP", quality=QUALITY, method=2)
    else:
        small.save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()
