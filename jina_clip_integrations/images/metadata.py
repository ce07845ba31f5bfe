"""Image files without what describes them: comments, colour profiles, thumbnails and editing histories.

Pillow refuses some files for damage, or for more than it will unpack, in parts that no vector depends on. Those files
are given to it once more without these parts. Nothing is unpacked here, and no limit of Pillow's is changed, which
would hold for the whole process.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator

from .formats import media_type

PNG_SIGNATURE_BYTES = 8
PNG_KEPT = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"eXIf", b"acTL", b"fcTL", b"fdAT"})
"""Chunks that decide pixels, frames and orientation."""
PNG_END = struct.pack(">I4sI", 0, b"IEND", zlib.crc32(b"IEND"))

JPEG_DROPPED = frozenset({0xE1, *range(0xE2, 0xEE), 0xEF, 0xFE})
"""Markers of application segments and comments, but JFIF's and Adobe's, which decide the colours."""
JPEG_SCAN = 0xDA
"""Marker behind which the pixels are, and no metadata that Pillow reads."""

WEBP_KEPT = frozenset({b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"EXIF"})

TIFF_KEPT = frozenset(
    {254, 256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 284, 292, 293, 317, 320, 322, 323, 324, 325, 330}
    | {332, 338, 339, 347, 529, 530, 532, 50706}
)
"""Tags that decide pixels and orientation, or what kind of file it is (TIFF 6.0)."""


def without_metadata(data: bytes) -> bytes | None:
    """The same image without its metadata but the orientation; None where nothing can be left out."""
    strip = _STRIPPERS.get(media_type(data) or "")
    try:
        stripped = strip(data) if strip is not None else None
    except (struct.error, IndexError):  # not even the outermost structure is whole
        return None
    return None if stripped == data else stripped


def _strip_png(data: bytes) -> bytes:
    parts = [data[:PNG_SIGNATURE_BYTES]]
    for name, start, end in _png_chunks(data):
        whole = end <= len(data)
        # A broken chunk of pixels stays, so that the image is still refused.
        if (
            name in PNG_KEPT
            and (whole or name in (b"IDAT", b"fdAT"))
            and not (name == b"eXIf" and _is_damaged(data, start, end))
        ):
            parts.append(data[start:end])
    if not parts[-1].endswith(PNG_END):
        parts.append(PNG_END)
    return b"".join(parts)


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and end of each chunk; the last may end beyond the data."""
    start = PNG_SIGNATURE_BYTES
    while start + 8 <= len(data):
        length, name = struct.unpack_from(">I4s", data, start)
        end = start + 12 + length
        yield name, start, end
        start = end


def _is_damaged(data: bytes, start: int, end: int) -> bool:
    (checksum,) = struct.unpack_from(">I", data, end - 4)
    return bool(zlib.crc32(data[start + 4 : end - 4]) != checksum)


def _strip_jpeg(data: bytes) -> bytes:
    parts, at = [data[:2]], 2
    while data[at] == 0xFF and data[at + 1] != JPEG_SCAN:
        if data[at + 1] == 0xFF:  # fill byte
            at += 1
            continue
        end = at + 2 + struct.unpack_from(">H", data, at + 2)[0]
        if data[at + 1] not in JPEG_DROPPED or data.startswith(b"Exif\0", at + 4):
            parts.append(data[at:end])
        at = end
    return b"".join([*parts, data[at:]])


def _strip_webp(data: bytes) -> bytes:
    kept, start = bytearray(), 12
    while start + 8 <= len(data):
        name, length = struct.unpack_from("<4sI", data, start)
        end = start + 8 + length + length % 2
        # Cut-off metadata is left out, cut-off pixels stay, and are refused.
        if name in WEBP_KEPT and (end <= len(data) or name != b"EXIF"):
            kept += data[start:end]
        start = end
    return b"RIFF" + struct.pack("<I", len(kept) + 4) + b"WEBP" + kept


def _strip_tiff(data: bytes) -> bytes:
    """The first image's tags, in place; BigTIFF is left alone."""
    order = "<" if data.startswith(b"II") else ">"
    version, offset = struct.unpack_from(f"{order}HI", data, 2)
    if version != 42:
        return data
    (count,) = struct.unpack_from(f"{order}H", data, offset)
    first, end = offset + 2, offset + 2 + 12 * count
    entries = [data[at : at + 12] for at in range(first, min(end, len(data) - 11), 12)]
    kept = [entry for entry in entries if struct.unpack(f"{order}H", entry[:2])[0] in TIFF_KEPT]
    table = struct.pack(f"{order}H", len(kept)) + b"".join(kept) + (data[end : end + 4] or bytes(4))
    return data[:offset] + table + data[offset + len(table) :]


_STRIPPERS: dict[str, Callable[[bytes], bytes]] = {
    "image/png": _strip_png,
    "image/jpeg": _strip_jpeg,
    "image/webp": _strip_webp,
    "image/tiff": _strip_tiff,
}
