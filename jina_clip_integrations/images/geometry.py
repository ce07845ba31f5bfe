"""The models' image geometry: one copy, for images that are uploaded and for images that are computed here.

The published preprocessing converts to RGB first and then resamples with Pillow's 8-bit filters; both orders and the
rounding after each pass show in the vectors, so nothing here works on floats before the last step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigurationError, ImageError
from .decode import as_rgb
from .rendering import Rendering

if TYPE_CHECKING:
    from PIL import Image

IMAGE_MEAN = (0.48145466, 0.4578275, 0.40821073)
IMAGE_STD = (0.26862954, 0.26130258, 0.27577711)
"""Mean and spread of the colours that both models were trained with (those of CLIP)."""

FILTERS = {"bicubic": "BICUBIC", "bilinear": "BILINEAR"}
"""Names of the published `interpolation` setting to Pillow's."""

CROP_FIRST_RATIO = 32
"""From this ratio of the sides on, only the part of an image that survives the crop is resampled, at most two 8-bit
levels off; the whole of a 10 x 100,000 image would become 512 x 5,120,000."""

MAX_FILTER_SUPPORT = 2.0
"""Reach of the bicubic filter in output pixels (or source pixels when enlarging), the widest of `FILTERS`."""


def resize_and_crop(
    image: Image.Image,
    size: int,
    *,
    mode: str = "shortest",
    interpolation: str = "bicubic",
    fill_color: int | Sequence[int] = 0,
) -> NDArray[np.uint8]:
    """Bring an image of any size and mode to `(size, size, 3)` uint8, as the published preprocessing does.

    Alpha and palette transparency are dropped, EXIF orientation is ignored. `fill_color`, one level or three, is what
    `"longest"` pads with.

    Raises:
        ImageError: the image cannot be decoded or has no pixels.
        ConfigurationError: `mode` or `interpolation` is unknown.
    """
    check_resize(mode, interpolation)
    rgb = _decode(image)
    if min(rgb.size) < 1:
        raise ImageError(f"the image has no pixels: {rgb.width} x {rgb.height}")
    resample = _filter(interpolation)
    if mode == "squash":
        return np.array(_resize(rgb, size, size, resample))
    return np.array(_pad(rgb, size, resample, fill_color) if mode == "longest" else _crop(rgb, size, resample))


def check_resize(mode: str, interpolation: str) -> None:
    """Raise `ConfigurationError` unless both are settings that `resize_and_crop` knows."""
    if mode not in ("shortest", "longest", "squash"):
        raise ConfigurationError(f"resize_mode: {mode!r} is unknown; known: 'shortest', 'longest', 'squash'")
    if interpolation not in FILTERS:
        raise ConfigurationError(f"interpolation: {interpolation!r} is unknown; known: {', '.join(FILTERS)}")


def normalize_pixels(
    pixels: NDArray[np.uint8],
    mean: Sequence[float] = IMAGE_MEAN,
    std: Sequence[float] = IMAGE_STD,
    *,
    divisor: float = 255.0,
) -> NDArray[np.float32]:
    """`(…, S, S, 3)` uint8 to the `(…, 3, S, S)` float32 that the vision tower takes: `(pixel / 255 - mean) / std`."""
    scaled = pixels.astype(np.float32) / np.float32(divisor)
    normal = (scaled - np.asarray(mean, np.float32)) / np.asarray(std, np.float32)
    return np.ascontiguousarray(np.moveaxis(normal, -1, -3))


def _decode(image: Image.Image) -> Image.Image:
    try:
        return as_rgb(image, Rendering(upright=False), borrowed=True)
    except Exception as error:  # decoders raise many kinds; all mean that the bytes are not an image
        raise ImageError(f"the image cannot be decoded: {error}") from error


def _filter(interpolation: str) -> int:
    from PIL import Image

    return int(Image.Resampling[FILTERS[interpolation]])


def _resize(image: Image.Image, width: int, height: int, resample: int) -> Image.Image:
    """Resample horizontally, then vertically, in two calls: one call picks its order differently since Pillow 13."""
    if image.width != width:
        image = image.resize((width, image.height), resample)
    if image.height != height:
        image = image.resize((width, height), resample)
    return image


def _crop(image: Image.Image, size: int, resample: int) -> Image.Image:
    """Shorter side to `size`, then the centre square. Offsets are rounded half to even, as published."""
    width, height = image.size
    if width <= height:
        new_width, new_height = size, int(size * height / width)
    else:
        new_width, new_height = int(size * width / height), size
    left, top = round((new_width - size) / 2), round((new_height - size) / 2)
    if max(width, height) >= CROP_FIRST_RATIO * min(width, height):
        return _crop_first(image, size, resample, (new_width, new_height), (left, top))
    return _resize(image, new_width, new_height, resample).crop((left, top, left + size, top + size))


def _crop_first(
    image: Image.Image, size: int, resample: int, full: tuple[int, int], offset: tuple[int, int]
) -> Image.Image:
    """The square at `offset` of `image` resized to `full`, resampling only what lies under it."""
    x0, x1 = (edge * image.width / full[0] for edge in (offset[0], offset[0] + size))
    y0, y1 = (edge * image.height / full[1] for edge in (offset[1], offset[1] + size))
    # Rows that the vertical filter cannot reach need no horizontal pass either.
    reach = math.ceil(MAX_FILTER_SUPPORT * max(1.0, image.height / full[1])) + 1
    first, last = max(0, math.floor(y0) - reach), min(image.height, math.ceil(y1) + reach)
    rows = image.crop((0, first, image.width, last))
    narrow = rows.resize((size, rows.height), resample, box=(x0, 0, min(x1, image.width), rows.height))
    return narrow.resize((size, size), resample, box=(0, y0 - first, size, min(y1 - first, rows.height)))


def _pad(image: Image.Image, size: int, resample: int, fill_color: int | Sequence[int]) -> Image.Image:
    """Longer side to `size`, in the middle of a canvas of `fill_color`."""
    from PIL import Image

    scale = max(image.size) / size
    width, height = (max(1, round(side / scale)) for side in image.size)
    color = (fill_color,) * 3 if isinstance(fill_color, int) else tuple(fill_color)
    canvas = Image.new("RGB", (size, size), color)
    canvas.paste(_resize(image, width, height, resample), ((size - width) // 2, (size - height) // 2))
    return canvas
