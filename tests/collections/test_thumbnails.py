"""Thumbnails: bounded, upright, on white, without metadata, from the folder only."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import psutil
import pytest
from PIL import Image, features

from jina_clip_integrations.collections.thumbnails import make_thumbnail
from jina_clip_integrations.errors import ImageError
from jina_clip_integrations.images.encoded import EncodedImage
from jina_clip_integrations.images.sources import SourcePolicy


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def claim(path: Path, width: int, height: int) -> Path:
    """A PNG that claims a size and holds two bytes."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(b"\0\0")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b""))
    return path


@pytest.fixture
def policy(tmp_path: Path) -> SourcePolicy:
    return SourcePolicy(roots=(tmp_path,), schemes=(), data_uris=False)


@pytest.mark.parametrize(
    ("size", "pixels", "expected"),
    [
        ((300, 100), 60, (60, 20)),
        ((20, 10), 600, (20, 10)),
        ((3000, 10), 0, (16, 1)),
        ((3000, 1500), 9999, (2048, 1024)),
    ],
)
def test_the_longest_side_is_bounded(
    tmp_path: Path, policy: SourcePolicy, size: tuple[int, int], pixels: int, expected: tuple[int, int]
) -> None:
    Image.new("RGB", size, "red").save(tmp_path / "a.png")
    assert opened(make_thumbnail(tmp_path / "a.png", pixels, policy)).size == expected


def test_transparency_is_white(tmp_path: Path, policy: SourcePolicy) -> None:
    Image.new("RGBA", (20, 20), (255, 0, 0, 0)).save(tmp_path / "a.png")
    assert min(opened(make_thumbnail(tmp_path / "a.png", 20, policy)).convert("RGB").getpixel((5, 5))) > 250


def test_without_webp_it_is_a_jpeg(tmp_path: Path, policy: SourcePolicy, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("RGB", (20, 20)).save(tmp_path / "a.png")
    assert opened(make_thumbnail(tmp_path / "a.png", 20, policy)).format == "WEBP"
    monkeypatch.setattr(features, "check", lambda _: False)
    assert opened(make_thumbnail(tmp_path / "a.png", 20, policy)).format == "JPEG"


def test_300_megapixels_are_refused_unread(tmp_path: Path, policy: SourcePolicy) -> None:
    before = psutil.Process().memory_info().rss
    with pytest.raises(ImageError, match=r"^my name: more pixels than"):
        make_thumbnail(claim(tmp_path / "huge.png", 20_000, 15_000), 200, policy, name="my name")
    assert psutil.Process().memory_info().rss - before < 50 * 2**20


def test_a_large_jpeg_is_decoded_at_a_fraction_of_its_size(
    tmp_path: Path, policy: SourcePolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("RGB", (3000, 2000), "teal").save(tmp_path / "large.jpg")
    decoded: list[Any] = []
    decode = EncodedImage.open

    def note(self: EncodedImage, **options: Any) -> Any:
        image = decode(self, **options)
        decoded.append(image.size)
        return image

    monkeypatch.setattr(EncodedImage, "open", note)
    make_thumbnail(tmp_path / "large.jpg", 256, policy)
    assert decoded == [(750, 500)]


@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n", b"<svg onload=alert(1)>"])
def test_what_is_no_image_is_named(tmp_path: Path, policy: SourcePolicy, content: bytes) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(ImageError, match=r"a\.png"):
        make_thumbnail(tmp_path / "a.png", 100, policy)


def test_nothing_outside_the_folder(tmp_path: Path, policy: SourcePolicy) -> None:
    inside = tmp_path / "in"
    inside.mkdir()
    Image.new("RGB", (20, 20)).save(tmp_path / "out.png")
    strict = SourcePolicy(roots=(inside,), schemes=(), data_uris=False)
    with pytest.raises(ImageError, match="outside the folders"):
        make_thumbnail(inside / ".." / "out.png", 100, strict)
