"""Small valid images of every format, with the places of their blocks and numbers."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from PIL import Image, PngImagePlugin, features

from jina_clip_integrations.images.decode import load_formats
from tests.fuzz.mutations import Field, Layout, Seed

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "HEIF", *(("AVIF",) if features.check("avif") else ()))
"""Formats that are damaged; Pillow reads AVIF since 11.3."""

SIZE = (24, 16)
RGB = Image.effect_noise(SIZE, 90).convert("RGB")
RGBA = Image.merge("RGBA", (*RGB.split(), Image.linear_gradient("L").resize(SIZE)))
PALETTE = RGB.quantize(16)
DEEP = RGB.convert("L").convert("I").point(lambda level: level * 257).convert("I;16")
EXIF = Image.Exif()
EXIF[274] = 6
PROFILE = b"\0\0\1\0none" + bytes(120)


@cache
def seeds_of(format_: str) -> tuple[Seed, ...]:
    """The seeds of a format."""
    load_formats()
    return tuple(Seed(data, _LAYOUTS[format_](data), _REPAIRS.get(format_)) for data in _FILES[format_]())


def save(image: Image.Image, format_: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.copy().save(buffer, format_, **options)  # saving leaves traces in the image that change the next file
    return buffer.getvalue()


def _png() -> Iterator[bytes]:
    text = PngImagePlugin.PngInfo()
    text.add_text("a", "b" * 40, zip=True)
    text.add_itxt("c", "d" * 40, zip=True)
    yield save(RGB, "PNG", exif=EXIF, icc_profile=PROFILE, pnginfo=text)
    yield save(PALETTE, "PNG", transparency=3, bits=4)
    yield save(DEEP, "PNG", transparency=7)
    yield save(RGBA, "PNG", save_all=True, append_images=[RGBA.rotate(180)], duration=5)


def _jpeg() -> Iterator[bytes]:
    yield save(RGB, "JPEG", exif=EXIF, icc_profile=PROFILE, comment=b"x", quality=40)
    yield save(RGB, "JPEG", progressive=True, quality=40)
    yield save(RGB.convert("CMYK"), "JPEG", quality=30)
    yield save(RGB, "MPO", save_all=True, append_images=[RGB], quality=30)


def _webp() -> Iterator[bytes]:
    yield save(RGB, "WEBP", quality=40, exif=EXIF, icc_profile=PROFILE)
    yield save(RGBA, "WEBP", lossless=True)
    yield save(RGBA, "WEBP", save_all=True, append_images=[RGBA.rotate(180)], quality=40)


def _gif() -> Iterator[bytes]:
    blank = PALETTE.point(lambda _: 0)
    yield save(PALETTE, "GIF", comment=b"x" * 30, transparency=2)
    yield save(blank, "GIF", save_all=True, append_images=[PALETTE, blank], duration=5, loop=0)
    yield save(PALETTE, "GIF", interlace=True)


def _bmp() -> Iterator[bytes]:
    yield save(RGB, "BMP")
    yield save(PALETTE, "BMP")
    yield save(RGBA, "BMP")
    yield save(RGB.convert("1"), "BMP")


def _tiff() -> Iterator[bytes]:
    for compression in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"):
        yield save(RGB, "TIFF", compression=compression, exif=EXIF)
    yield save(DEEP, "TIFF")
    yield save(RGB.convert("1"), "TIFF", compression="group4", icc_profile=PROFILE)
    yield save(RGB, "TIFF", save_all=True, append_images=[PALETTE])
    yield save(RGB, "TIFF", big_tiff=True)


def _avif() -> Iterator[bytes]:
    yield save(RGB, "AVIF", quality=40, speed=10, exif=EXIF, icc_profile=PROFILE)
    yield save(RGBA, "AVIF", quality=40, speed=10)
    yield save(RGB, "AVIF", save_all=True, append_images=[RGB.rotate(180)], quality=40, speed=10)


def _heif() -> Iterator[bytes]:
    yield save(RGB, "HEIF", quality=40, exif=EXIF.tobytes())
    yield save(RGBA, "HEIF", quality=40)
    yield save(RGB, "HEIF", save_all=True, append_images=[RGB.rotate(180)], quality=40)


def _png_layout(data: bytes) -> Layout:
    blocks, fields, at = [], [], 8
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        name = data[at + 4 : at + 8]
        blocks.append((at, at + 12 + length))
        fields.append(Field(at, 4, "big"))
        if name in (b"IHDR", b"fcTL", b"acTL"):
            fields += [Field(at + 8 + offset, 4, "big") for offset in range(0, length - 3, 4)]
            fields += [Field(at + 8 + offset, 1, "big") for offset in range(length)]
        at += 12 + length
    return Layout(tuple(blocks), tuple(fields))


def _png_repair(data: bytes) -> bytes:
    """Right checksums, as far as the chunks can be followed."""
    repaired, at = bytearray(data), 8
    while at + 12 <= len(repaired):
        (length,) = struct.unpack_from(">I", repaired, at)
        end = at + 8 + length
        if end + 4 > len(repaired):
            break
        struct.pack_into(">I", repaired, end, zlib.crc32(repaired[at + 4 : end]))
        at = end + 4
    return bytes(repaired)


def _jpeg_layout(data: bytes) -> Layout:
    blocks, fields, at = [], [], 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], struct.unpack_from(">H", data, at + 2)[0]
        blocks.append((at, at + 2 + length))
        fields.append(Field(at + 2, 2, "big"))
        if 0xC0 <= marker <= 0xC4 or marker == 0xDA:  # frames, tables and scans
            fields += [Field(at + 5, 2, "big"), Field(at + 7, 2, "big")]
            fields += [Field(at + 4 + offset, 1, "big") for offset in range(min(length - 2, 17))]
        at += 2 + length
        if marker == 0xDA:
            break
    return Layout((*blocks, (at, len(data))), tuple(fields))


def _webp_layout(data: bytes) -> Layout:
    blocks, fields, at = [], [Field(4, 4, "little")], 12
    while at + 8 <= len(data):
        length = struct.unpack_from("<I", data, at + 4)[0]
        blocks.append((at, min(len(data), at + 8 + length + length % 2)))
        fields += [Field(at + 4, 4, "little"), Field(at + 8, 1, "little")]
        fields += [Field(at + 8 + offset, 3, "little") for offset in (0, 3, 4, 6, 7, 9)]
        at += 8 + length + length % 2
    return Layout(tuple(blocks), tuple(fields))


def _gif_layout(data: bytes) -> Layout:
    """Header, colour table, and what begins like an extension or an image."""
    fields = [Field(6, 2, "little"), Field(8, 2, "little"), Field(10, 1, "little"), Field(11, 1, "little")]
    table_end = 13 + (3 << (data[10] % 8 + 1) if data[10] & 0x80 else 0)
    starts = [
        at
        for at in range(table_end, len(data))
        if data[at] == 0x2C or data[at : at + 2] in (b"!\xf9", b"!\xff", b"!\xfe")
    ]
    for at in starts:
        fields += [Field(at + offset, 2, "little") for offset in (1, 3, 5, 7)] + [Field(at + 9, 1, "little")]
    ends = [*starts[1:], len(data)]
    return Layout(((13, table_end), *zip(starts, ends, strict=True)), tuple(fields))


def _bmp_layout(data: bytes) -> Layout:
    pixels = struct.unpack_from("<I", data, 10)[0]
    fields = [Field(at, 4, "little") for at in (2, 10, 14, 18, 22, 30, 34, 38, 42, 46, 50)]
    return Layout(
        ((0, 14), (14, 54), (54, pixels), (pixels, len(data))),
        (*fields, Field(26, 2, "little"), Field(28, 2, "little")),
    )


def _tiff_layout(data: bytes) -> Layout:
    big, order = data[2] == 43, "<" if data.startswith(b"II") else ">"
    endian: Any = "little" if order == "<" else "big"
    offset = struct.unpack_from(f"{order}{'Q' if big else 'I'}", data, 8 if big else 4)[0]
    count = struct.unpack_from(f"{order}{'Q' if big else 'H'}", data, offset)[0]
    size, head = (20, 8) if big else (12, 2)
    blocks, fields = [], [Field(8 if big else 4, 4, endian), Field(offset, 2, endian)]
    for number in range(count):
        at = offset + head + size * number
        blocks.append((at, at + size))
        fields += [
            Field(at, 2, endian),
            Field(at + 2, 2, endian),
            Field(at + 4, 4, endian),
            Field(at + size // 2 + 2, 4, endian),
        ]
    return Layout((*blocks, (offset, offset + head + size * count)), tuple(fields))


def _boxes_layout(data: bytes) -> Layout:
    """Boxes of ISO 14496-12, nested ones too, and their first numbers."""
    blocks: list[tuple[int, int]] = []
    fields: list[Field] = []

    def walk(at: int, end: int) -> None:
        while at + 8 <= end:
            length, name = struct.unpack_from(">I4s", data, at)
            stop = at + length
            if length < 8 or stop > end:
                return
            blocks.append((at, stop))
            fields.append(Field(at, 4, "big"))
            if name in _CONTAINERS:
                walk(at + 8 + _CONTAINERS[name], stop)
            elif name != b"mdat":
                fields.extend(Field(at + 8 + offset, 4, "big") for offset in range(0, min(length - 8, 24), 4))
                fields.extend(Field(at + 8 + offset, 1, "big") for offset in range(min(length - 8, 24)))
            at = stop

    walk(0, len(data))
    return Layout(tuple(blocks), tuple(fields))


_CONTAINERS = {
    b"meta": 4,
    b"iprp": 0,
    b"ipco": 0,
    b"iinf": 6,
    b"iref": 4,
    b"moov": 0,
    b"trak": 0,
    b"mdia": 0,
    b"minf": 0,
    b"stbl": 0,
}
"""Boxes in which boxes are, and the bytes in front of those."""

_FILES: dict[str, Callable[[], Iterator[bytes]]] = {
    "PNG": _png,
    "JPEG": _jpeg,
    "WEBP": _webp,
    "GIF": _gif,
    "BMP": _bmp,
    "TIFF": _tiff,
    "AVIF": _avif,
    "HEIF": _heif,
}
_LAYOUTS: dict[str, Callable[[bytes], Layout]] = {
    "PNG": _png_layout,
    "JPEG": _jpeg_layout,
    "WEBP": _webp_layout,
    "GIF": _gif_layout,
    "BMP": _bmp_layout,
    "TIFF": _tiff_layout,
    "AVIF": _boxes_layout,
    "HEIF": _boxes_layout,
}
_REPAIRS: dict[str, Callable[[bytes], bytes]] = {"PNG": _png_repair}
