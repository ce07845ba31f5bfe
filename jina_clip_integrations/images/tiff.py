"""TIFF files whose first image is not the one that is meant: camera raw files and their thumbnails."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..errors import ImageError
from .formats import DEVELOP

if TYPE_CHECKING:
    import PIL.Image

SUBFILE_TYPE, PHOTOMETRIC, SUB_IMAGES, DNG_VERSION = 254, 262, 330, 50706
"""Tags of TIFF 6.0, its supplement 1 and the DNG specification."""

SENSOR_PIXELS = (32803, 34892)
"""Photometric interpretations that are no colours yet: a colour filter array, and linear raw."""

REDUCED = 1
"""Bit of the subfile type: this image is a smaller version of another one in the file."""


def refuse_raw(image: PIL.Image.Image) -> None:
    """Raise `ImageError` for a raw file, and for a thumbnail in front of the image that it stands for."""
    tags: Any = getattr(image, "tag_v2", None)
    if tags is None:
        return
    reason = raw_reason(tags)
    if reason is not None:
        raise ImageError(reason)
    if _as_int(tags.get(SUBFILE_TYPE)) & REDUCED and getattr(image, "is_animated", False):
        raise ImageError("a TIFF that begins with a thumbnail of another image in it: save that image on its own")


def raw_reason(tags: Mapping[int, Any]) -> str | None:
    """Why an image with these tags is a raw file's, and what to do; None for any other."""
    if DNG_VERSION in tags or tags.get(PHOTOMETRIC) in SENSOR_PIXELS:
        return f"a camera's raw file (DNG): {DEVELOP}"
    if _as_int(tags.get(SUBFILE_TYPE)) & REDUCED and SUB_IMAGES in tags:
        return f"a camera's raw file (NEF, ARW, …), of which only its thumbnail can be read: {DEVELOP}"
    return None


def read_numbers(data: bytes) -> dict[int, int]:
    """The first image's tags, each with its first number, of a file that Pillow does not open; empty for no TIFF."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(data[:4])
    if order is None:
        return {}
    try:
        (offset,) = struct.unpack_from(f"{order}I", data, 4)
        (count,) = struct.unpack_from(f"{order}H", data, offset)
        entries = (struct.unpack_from(f"{order}HHI4s", data, offset + 2 + 12 * number) for number in range(count))
        return {tag: _first_number(order, kind, field) for tag, kind, _, field in entries}
    except struct.error:
        return {}


def _first_number(order: str, kind: int, field: bytes) -> int:
    short = kind == 3
    return int(struct.unpack(f"{order}{'H' if short else 'I'}", field[:2] if short else field)[0])


def _as_int(value: Any) -> int:
    return value if isinstance(value, int) else 0
