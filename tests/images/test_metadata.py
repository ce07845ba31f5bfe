"""No image is refused for what describes it: comments, profiles, editing histories, thumbnails, EXIF."""

from __future__ import annotations

import io
import struct
import threading
import tracemalloc
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile, PngImagePlugin

from jina_clip_integrations import ImageError
from jina_clip_integrations.images.metadata import without_metadata
from jina_clip_integrations.inputs import InputParser

PHOTO = Image.effect_noise((24, 16), 60).convert("RGB")
EXIF = Image.Exif()
EXIF[274] = 6


def saved(format_: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    PHOTO.save(buffer, format_, **options)
    return buffer.getvalue()


def chunk(name: bytes, data: bytes, *, damage: int = 0) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data) ^ damage)


def png(*chunks: bytes, before: bool = True, **options: Any) -> bytes:
    whole = saved("PNG", **options)
    at = whole.index(b"IDAT" if before else b"IEND") - 4
    return whole[:at] + b"".join(chunks) + whole[at:]


def segment(marker: int, data: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data


def jpeg(*segments: bytes, **options: Any) -> bytes:
    whole = saved("JPEG", quality=95, **options)
    return whole[:2] + b"".join(segments) + whole[2:]


BOMB = zlib.compress(bytes(70 * 2**20), 9)
LONG = zlib.compress(b"history " * 2**18)
PNGS = {
    "long text": png(chunk(b"zTXt", b"history\0\0" + LONG)),
    "long text behind the pixels": png(chunk(b"zTXt", b"history\0\0" + LONG), before=False),
    "long international text": png(chunk(b"iTXt", b"xmp\0\1\0\0\0" + LONG)),
    "many texts": png(*[chunk(b"zTXt", b"t%d\0\0" % n + zlib.compress(bytes(2**20))) for n in range(70)]),
    "large profile": png(chunk(b"iCCP", b"profile\0\0" + LONG)),
    "a bomb": png(chunk(b"zTXt", b"bomb\0\0" + BOMB)),
    "unknown compression": png(chunk(b"iCCP", b"profile\0\7" + LONG)),
    "no compression": png(chunk(b"zTXt", b"x")),
    "wrong checksum": png(chunk(b"tEXt", b"a\0b", damage=1)),
    "wrong checksum of EXIF": png(chunk(b"eXIf", b"MM\0*", damage=1)),
    "no EXIF in EXIF": png(chunk(b"eXIf", b"rubbish")),
    "physical size of nothing": png(chunk(b"pHYs", b"")),
    "short gamma": png(chunk(b"gAMA", b"\0"), chunk(b"cHRM", b"\1")),
    "cut in a chunk behind the pixels": png(before=False)[:-12] + struct.pack(">I", 999) + b"tEXtabc",
    "no end": png()[:-12],
    "rubbish behind the end": png() + b"rubbish" * 100,
}
REST = {
    "comments without end": ("JPEG", jpeg(*[segment(0xFE, b"x" * 65_000)] * 40)),
    "broken EXIF": ("JPEG", jpeg(segment(0xE1, b"Exif\0\0rubbish"))),
    "broken multi-picture format": (
        "JPEG",
        jpeg(segment(0xE2, b"MPF\0MM\0*\0\0\0\x08\0\1\xb0\1\0\4\0\0\0\1\xff\xff\xff\xff")),
    ),
    "broken profile": ("JPEG", jpeg(segment(0xE2, b"ICC_PROFILE\0\7\1rubbish"))),
    "broken Photoshop resources": ("JPEG", jpeg(segment(0xED, b"Photoshop 3.0\0" + b"8BIM\4\4\0\0\0\0\xff\xff"))),
    "EXIF of WebP": ("WEBP", saved("WEBP", exif=b"Exif\0\0rubbish", icc_profile=b"rubbish", xmp=b"<", lossless=True)),
    "odd resolution": ("TIFF", saved("TIFF", tiffinfo={282: 0.0, 283: 0.0, 296: 77})),
    "comment of GIF": ("GIF", saved("GIF", comment=b"x" * 2**20)),
}


@pytest.mark.parametrize("data", PNGS.values(), ids=PNGS.keys())
def test_png(data: bytes) -> None:
    image = InputParser().image(data)
    assert image.size() == PHOTO.size
    np.testing.assert_array_equal(image.open(), PHOTO)


@pytest.mark.parametrize(("format_", "data"), REST.values(), ids=REST.keys())
def test_other_formats(format_: str, data: bytes) -> None:
    image = InputParser().image(data)
    assert image.size() == PHOTO.size
    options = {"JPEG": {"quality": 95}, "WEBP": {"lossless": True}}.get(format_, {})
    np.testing.assert_array_equal(image.open(), Image.open(io.BytesIO(saved(format_, **options))).convert("RGB"))


@pytest.mark.parametrize("tag", [270, 282, 305, 700, 33723, 34665, 34675, 34853, 37724])
@pytest.mark.parametrize("kind", range(14))
@pytest.mark.parametrize(("count", "value"), [(0, 0), (1, 0xFFFFFFFF), (0x7FFFFFFF, 8)])
def test_tiff_with_odd_tags(tag: int, kind: int, count: int, value: int) -> None:
    whole = bytearray(saved("TIFF", tiffinfo={tag: 1} if tag != 282 else {282: 1.0}))
    (offset,) = struct.unpack_from("<I", whole, 4)
    (entries,) = struct.unpack_from("<H", whole, offset)
    at = next(
        at for at in range(offset + 2, offset + 2 + 12 * entries, 12) if struct.unpack_from("<H", whole, at)[0] == tag
    )
    struct.pack_into("<HII", whole, at + 2, kind, count, value)
    np.testing.assert_array_equal(InputParser().image(bytes(whole)).open(), PHOTO)


@pytest.mark.parametrize(
    "make", [lambda **o: png(chunk(b"zTXt", b"t\0\0" + LONG), **o), lambda **o: saved("WEBP", **o)]
)
def test_the_orientation_is_kept(make: Any) -> None:
    assert InputParser().image(make(exif=EXIF)).size() == (16, 24)
    stripped = without_metadata(make(exif=EXIF)) or make(exif=EXIF)
    assert InputParser().image(stripped).size() == (16, 24)


def test_no_limit_of_pillow_changes_and_nothing_is_unpacked() -> None:
    limits = (PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY, ImageFile.LOAD_TRUNCATED_IMAGES)
    seen: set[tuple[object, ...]] = set()

    def watch() -> None:
        while watching.is_set():
            seen.add((PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY, ImageFile.LOAD_TRUNCATED_IMAGES))

    watching = threading.Event()
    watching.set()
    watcher = threading.Thread(target=watch)
    watcher.start()
    tracemalloc.start()
    try:
        InputParser().image(PNGS["a bomb"]).open()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        watching.clear()
        watcher.join()
    assert seen == {limits}
    assert peak < 8 * 2**20


@pytest.mark.parametrize("format_", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_cut_pixels_are_still_refused(format_: str) -> None:
    whole = saved(format_, exif=EXIF)
    for kept in (0.3, 0.5, 0.7):
        with pytest.raises(ImageError, match="broken or truncated"):
            InputParser().image(whole[: int(len(whole) * kept)]).open()


def test_there_is_nothing_to_leave_out_of_other_formats() -> None:
    assert without_metadata(saved("BMP")) is None
    assert without_metadata(b"") is None
    assert without_metadata(saved("PNG")) is None
    assert without_metadata(b"\xff\xd8\xff") is None
