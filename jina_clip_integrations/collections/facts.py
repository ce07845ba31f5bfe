"""What an image file says of itself: its size, its format, when, where and with what camera it was taken.

Only the header is read. Whoever wrote a file may have written anything into its EXIF data, so a value that makes no
sense is left out, and the rest is kept.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO

from ..errors import ImageError
from ..images.decode import silence_pillow
from ..images.encoded import EncodedImage
from ..images.opening import open_local
from ..images.sources import SourcePolicy
from .payload import CAMERA, FORMAT, HEIGHT, PLACE, TAKEN, WIDTH, make_place

if TYPE_CHECKING:
    import PIL.Image

EXIF_IFD, GPS_IFD = 0x8769, 0x8825
"""Tags that lead to the two directories of EXIF 3.0 that are read beside the first one."""
MAKE, MODEL, ORIENTATION = 0x010F, 0x0110, 0x0112
TIMES = ((0x9003, 0x9011, 0x9291), (0x9004, 0x9012, 0x9292))
"""Tags of time, offset from UTC and fraction of a second: when it was taken, and when it was digitized.

DateTime (0x0132) is not among them: programs set it whenever they change the file.
"""
LATITUDE_REF, LATITUDE, LONGITUDE_REF, LONGITUDE = 1, 2, 3, 4

CAMERA_CHARACTERS = 100
"""Most characters of a camera's name; the longest of real ones have half as many."""
MAX_CHUNKS = 100_000
"""Most chunks of a PNG that are stepped over in search of its EXIF data: one of 1 GB has about as many."""
MAX_EXIF_BYTES = 2**20
"""Largest EXIF data behind the pixels of a PNG; other formats hold no more than 64 KB of it at a time."""

SIDEWAYS = range(5, 9)
"""Orientations of a camera that was turned by a quarter."""

_TIME = re.compile(r"(\d{4})[:/-](\d{2})[:/-](\d{2})[ T](\d{2}):(\d{2}):(\d{2})")
_OFFSET = re.compile(r"([+-])(\d{2}):?(\d{2})")

FORMAT_NAMES = {"mpo": "jpeg"}
"""Formats that are another one to everybody but Pillow: phones append a second image to a JPEG."""


@dataclass(frozen=True)
class ImageFacts:
    """What a file says of its image; None where it does not say."""

    width: int
    """In pixels, upright."""
    height: int
    format: str
    """Pillow's name of the format in small letters."""
    taken: float | None = None
    """Seconds since 1970. A time without its offset is read as UTC, so that it shows as the camera's clock did."""
    camera: str | None = None
    latitude: float | None = None
    """In degrees, north positive."""
    longitude: float | None = None
    """In degrees, east positive."""

    def to_payload(self) -> dict[str, Any]:
        """The fields of a point, without those that are not known."""
        known = {
            WIDTH: self.width,
            HEIGHT: self.height,
            FORMAT: self.format,
            TAKEN: self.taken,
            CAMERA: self.camera,
            PLACE: make_place(self.latitude, self.longitude),
        }
        return {name: value for name, value in known.items() if value is not None}


def read_facts(path: str | os.PathLike[str], *, sources: SourcePolicy | None = None) -> ImageFacts | None:
    """The facts of the image at `path`, as far as `sources` (default: any file) allows; None if it cannot be read."""
    policy = SourcePolicy() if sources is None else sources
    image = EncodedImage(partial(open_local, os.fspath(path), policy), name="", max_pixels=policy.max_pixels)
    try:
        return image.examine(_facts_of)
    except ImageError:
        return None


def _facts_of(image: PIL.Image.Image) -> ImageFacts:
    name = (image.format or "").lower()
    width, height = image.size
    try:
        with silence_pillow():
            exif = _open_exif(image)
            told = _read_exif(exif)
            sideways = exif.get(ORIENTATION) in SIDEWAYS and name != "tiff"  # Pillow turns a TIFF by itself
    except Exception:  # Pillow raises anything at all on broken metadata, which does not make a broken image
        told, sideways = {}, False
    if sideways:
        width, height = height, width
    return ImageFacts(width, height, FORMAT_NAMES.get(name, name), **told)


def _open_exif(image: PIL.Image.Image) -> Mapping[int, Any]:
    """The first directory of the EXIF data, without decoding pixels."""
    import PIL.Image

    known = {"exif", "Raw profile type exif"} & image.info.keys()
    if image.format != "PNG" or known:
        return image.getexif()
    # Pillow would decode the pixels to see what is behind them.
    exif = PIL.Image.Exif()
    stream: BinaryIO | None = image.fp  # type: ignore[attr-defined]
    exif.load((_find_png_exif(stream) if stream is not None else None) or b"")
    return exif


def _find_png_exif(stream: BinaryIO) -> bytes | None:
    """The content of the first eXIf chunk of a PNG, which may be anywhere in it; None if there is none."""
    stream.seek(8)
    for _ in range(MAX_CHUNKS):
        head = stream.read(8)
        if len(head) < 8:
            return None
        length, name = struct.unpack(">I4s", head)
        if name == b"eXIf":
            return stream.read(length) if length <= MAX_EXIF_BYTES else None
        stream.seek(length + 4, os.SEEK_CUR)
    return None


def _read_exif(exif: Any) -> dict[str, Any]:
    latitude, longitude = _read_place(_directory(exif, GPS_IFD))
    return {
        "taken": _read_time(_directory(exif, EXIF_IFD)),
        "camera": _read_camera(exif.get(MAKE), exif.get(MODEL)),
        "latitude": latitude,
        "longitude": longitude,
    }


def _directory(exif: Any, tag: int) -> Mapping[int, Any]:
    """One of the other directories; an empty one if it is broken, so that the rest can still be read."""
    try:
        found = exif.get_ifd(tag)
    except Exception:  # as above
        return {}
    return found if isinstance(found, Mapping) else {}


def _read_time(tags: Mapping[int, Any]) -> float | None:
    """Seconds since 1970 of the first time that is one."""
    for time, offset, fraction in TIMES:
        moment = _parse_time(_text(tags.get(time)))
        if moment is not None:
            seconds = moment.replace(tzinfo=timezone.utc) - _parse_offset(_text(tags.get(offset)))
            return seconds.timestamp() + _parse_fraction(_text(tags.get(fraction)))
    return None


def _parse_time(text: str) -> datetime | None:
    found = _TIME.match(text)
    try:
        # The year 0 and blanks, as in "0000:00:00 00:00:00", say that a camera's clock was never set.
        return datetime(*map(int, found.groups())) if found else None  # type: ignore[arg-type]
    except ValueError:
        return None


def _parse_offset(text: str) -> timedelta:
    """The offset from UTC; none for what is not one, as UTC is 14 hours behind at the most."""
    found = _OFFSET.fullmatch(text)
    if found is None or int(found[2]) > 14 or int(found[3]) > 59:
        return timedelta()
    offset = timedelta(hours=int(found[2]), minutes=int(found[3]))
    return -offset if found[1] == "-" else offset


def _parse_fraction(text: str) -> float:
    return float(f"0.{text}") if text.isascii() and text.isdigit() and len(text) < 10 else 0.0


def _read_camera(make: Any, model: Any) -> str | None:
    """Maker and model, the maker once: `Canon EOS 5D` and not `Canon Canon EOS 5D`."""
    maker, name = _text(make), _text(model)
    brand = maker.split(" ")[0].casefold()
    whole = name if name and brand and name.casefold().startswith(brand) else f"{maker} {name}".strip()
    return whole[:CAMERA_CHARACTERS] or None


def _text(value: Any) -> str:
    """A value of EXIF as one line of text; an empty one for what is none."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if not isinstance(value, str):
        return ""
    with contextlib.suppress(UnicodeError):  # Pillow reads as Latin-1 what phones write as UTF-8
        value = value.encode("latin-1").decode("utf-8")
    before_end = value.partition("\0")[0]
    return " ".join("".join(char if char.isprintable() else " " for char in before_end).split())


def _read_place(tags: Mapping[int, Any]) -> tuple[float | None, float | None]:
    latitude = _read_angle(tags.get(LATITUDE), _text(tags.get(LATITUDE_REF)), "NS", 90)
    longitude = _read_angle(tags.get(LONGITUDE), _text(tags.get(LONGITUDE_REF)), "EW", 180)
    # Devices without a fix write zeros; nobody lives where these two lines cross, in the Gulf of Guinea.
    if latitude is None or longitude is None or (latitude == 0 and longitude == 0):
        return None, None
    return latitude, longitude


def _read_angle(value: Any, direction: str, directions: str, limit: int) -> float | None:
    """Degrees, minutes and seconds as degrees; None without the direction, as the place might be on the other side."""
    sign = {directions[0]: 1, directions[1]: -1}.get(direction[:1].upper())
    parts = value if isinstance(value, tuple) else (value,)
    if sign is None or not 1 <= len(parts) <= 3:
        return None
    try:
        degrees = sum(float(part) / 60**power for power, part in enumerate(parts))
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    return sign * degrees if math.isfinite(degrees) and 0 <= degrees <= limit else None
