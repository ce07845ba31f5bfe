"""Facts of image files: every format that carries EXIF data, and every way in which it can be broken."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from jina_clip_integrations import SourcePolicy
from jina_clip_integrations.collections.facts import ImageFacts, read_facts
from jina_clip_integrations.images.decode import load_formats
from tests.fuzz.image_seeds import FORMATS, seeds_of
from tests.fuzz.mutations import mutant

load_formats()  # writing HEIC takes the plug-in

NOON = datetime(2024, 5, 17, 12, 0, 3, tzinfo=timezone.utc).timestamp()
FULL = {
    "first": {0x010F: "Canon", 0x0110: "Canon EOS 5D"},
    0x8769: {0x9003: "2024:05:17 14:00:03", 0x9011: "+02:00"},
    0x8825: {1: "S", 2: (33.0, 51.0, 30.0), 3: "E", 4: (151.0, 12.0, 0.0)},
}


def make_exif(parts: dict[Any, Any]) -> Image.Exif:
    exif = Image.Exif()
    for tag, value in parts.get("first", {}).items():
        exif[tag] = value
    for directory in (0x8769, 0x8825):
        if parts.get(directory):
            exif.get_ifd(directory).update(parts[directory])
    return exif


Photograph = Callable[..., Path]


@pytest.fixture
def photograph(tmp_path: Path) -> Photograph:
    """`photograph({directory: {tag: value}})` saves an image of 30 x 20 pixels with this EXIF data."""

    def save(parts: dict[Any, Any], name: str = "a.jpg", **options: Any) -> Path:
        path = tmp_path / name
        Image.new("RGB", (30, 20), (200, 40, 60)).save(path, exif=make_exif(parts).tobytes(), **options)
        return path

    return save


def exif(**tags: Any) -> dict[Any, Any]:
    names = {"taken": 0x9003, "digitized": 0x9004, "offset": 0x9011, "fraction": 0x9291}
    return {0x8769: {names[name]: value for name, value in tags.items()}}


def place(latitude: Any, longitude: Any, *, north: Any = "N", east: Any = "E") -> dict[Any, Any]:
    tags = {1: north, 2: latitude, 3: east, 4: longitude}
    return {0x8825: {tag: value for tag, value in tags.items() if value is not None}}


@pytest.mark.parametrize(
    ("name", "format_"),
    [
        ("a.jpg", "jpeg"),
        ("a.png", "png"),
        ("a.webp", "webp"),
        ("a.tiff", "tiff"),
        ("a.avif", "avif"),
        ("a.heic", "heif"),
        ("a.mpo", "jpeg"),
    ],
)
def test_every_format_with_exif_tells_everything(photograph: Photograph, name: str, format_: str) -> None:
    facts = read_facts(photograph(FULL, name))
    assert facts is not None
    assert (facts.width, facts.height, facts.format) == (30, 20, format_)
    assert (facts.taken, facts.camera) == (NOON, "Canon EOS 5D")
    assert (facts.latitude, facts.longitude) == pytest.approx((-33.858333, 151.2))


def test_a_file_without_exif_has_its_size_and_format(tmp_path: Path) -> None:
    for name in ("a.gif", "b.bmp", "c.png", "d.jpg"):
        Image.new("RGB", (7, 5)).save(tmp_path / name)
        facts = read_facts(tmp_path / name)
        assert facts == ImageFacts(7, 5, name[2:].replace("jpg", "jpeg"))


@pytest.mark.parametrize("name", ["a.jpg", "a.webp", "a.tiff", "a.png", "a.heic"])
def test_the_size_is_that_of_the_upright_image(photograph: Photograph, name: str) -> None:
    facts = read_facts(photograph({"first": {0x0112: 6}}, name))
    assert facts is not None
    assert (facts.width, facts.height) == (20, 30)


def test_png_says_it_behind_its_pixels_or_in_a_text(tmp_path: Path) -> None:
    block = make_exif(FULL).tobytes()[6:]
    plain, behind, text = (tmp_path / name for name in ("plain.png", "behind.png", "text.png"))
    Image.fromarray(np.arange(1200, dtype=np.uint8).reshape(20, 20, 3)).save(plain)
    data = plain.read_bytes()
    chunk = struct.pack(">I4s", len(block), b"eXIf") + block + struct.pack(">I", zlib.crc32(b"eXIf" + block))
    behind.write_bytes(data[:-12] + chunk + data[-12:])
    info = PngImagePlugin.PngInfo()
    profile = b"Exif\0\0" + block
    info.add_text("Raw profile type exif", f"\nexif\n{len(profile):8d}\n{profile.hex()}\n", zip=True)
    Image.open(plain).save(text, pnginfo=info)
    for path in (behind, text):
        facts = read_facts(path)
        assert facts is not None
        assert (facts.taken, facts.camera) == (NOON, "Canon EOS 5D")


def test_only_the_header_is_read(photograph: Photograph, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("pixels were decoded")

    paths = [photograph(FULL, name) for name in ("a.jpg", "a.png", "a.webp", "a.tiff")]
    plain = photograph({}, "plain.png")
    monkeypatch.setattr("PIL.Image.Image.load", refuse)
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", refuse)
    assert all(facts is not None and facts.taken == NOON for facts in map(read_facts, paths))
    assert read_facts(plain) == ImageFacts(30, 20, "png")


@pytest.mark.parametrize(
    ("tags", "seconds"),
    [
        (exif(taken="2024:05:17 12:00:03"), 0.0),
        (exif(taken="2024:05:17 12:00:03", fraction="25"), 0.25),
        (exif(taken="2024:05:17 12:00:03", fraction="25 "), 0.25),
        (exif(taken="2024:05:17 07:00:03", offset="-05:00"), 0.0),
        (exif(taken="2024:05:17 17:30:03", offset="+05:30"), 0.0),
        (exif(taken="2024:05:17 12:00:03", offset="+99:00"), 0.0),
        (exif(taken="2024:05:17 12:00:03", offset="   :  "), 0.0),
        (exif(taken="2024-05-17T12:00:03"), 0.0),
        (exif(digitized="2024:05:17 12:00:03"), 0.0),
        (exif(taken="0000:00:00 00:00:00", digitized="2024:05:17 12:00:03"), 0.0),
        (exif(taken="    :  :     :  :  "), None),
        (exif(taken="2024:13:17 12:00:03"), None),
        (exif(taken="yesterday"), None),
        (exif(taken=7), None),
        ({"first": {0x0132: "2024:05:17 12:00:03"}}, None),
    ],
)
def test_when_it_was_taken(photograph: Photograph, tags: dict[Any, Any], seconds: float | None) -> None:
    facts = read_facts(photograph(tags))
    assert facts is not None
    assert facts.taken == (None if seconds is None else pytest.approx(NOON + seconds, abs=1e-3))


def test_a_time_long_ago_is_one(photograph: Photograph) -> None:
    facts = read_facts(photograph(exif(taken="1826:06:04 09:00:00")))
    assert facts is not None
    assert datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=facts.taken) == datetime(
        1826, 6, 4, 9, tzinfo=timezone.utc
    )


@pytest.mark.parametrize(
    ("make", "model", "camera"),
    [
        ("NIKON CORPORATION", "NIKON D90", "NIKON D90"),
        ("Apple", "iPhone 15", "Apple iPhone 15"),
        ("Apple", None, "Apple"),
        (None, "X100", "X100"),
        ("  ", "\0\0", None),
        ("SONY\0rubbish", "  A7 \n III ", "SONY A7 III"),
        ("ZX\x1b[31m", "\u202e9".encode(), "ZX [31m 9"),
        ("Übercam".encode(), "1", "Übercam 1"),
        ("M" * 5000, "1", "M" * 100),
    ],
)
def test_which_camera_took_it(photograph: Photograph, make: Any, model: Any, camera: str | None) -> None:
    given = {tag: value for tag, value in ((0x010F, make), (0x0110, model)) if value is not None}
    facts = read_facts(photograph({"first": given}))
    assert facts is not None
    assert facts.camera == camera


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        (place((48.0, 30.0, 36.0), (2.0, 15.0, 0.0)), (48.51, 2.25)),
        (place((48.0, 30.0, 36.0), (2.0, 15.0, 0.0), north="s", east="W"), (-48.51, -2.25)),
        (place((48.51,), (2.25,)), (48.51, 2.25)),
        (place((48.0, 30.6), (2.0, 15.0)), (48.51, 2.25)),
        (place((0.0, 0.0, 0.0), (9.0, 0.0, 0.0)), (0.0, 9.0)),
        (place((0.0, 0.0, 0.0), (0.0, 0.0, 0.0)), None),
        (place((48.0, 30.0, 36.0), (2.0, 15.0, 0.0), north=None), None),
        (place((48.0, 30.0, 36.0), (2.0, 15.0, 0.0), east="?"), None),
        (place((48.0, 30.0, 36.0), None), None),
        (place((95.0, 0.0, 0.0), (2.0, 0.0, 0.0)), None),
        (place((5.0, 0.0, 0.0), (181.0, 0.0, 0.0)), None),
    ],
)
def test_where_it_was_taken(photograph: Photograph, tags: dict[Any, Any], expected: Any) -> None:
    facts = read_facts(photograph(tags))
    assert facts is not None
    found = (facts.latitude, facts.longitude)
    assert found == ((None, None) if expected is None else pytest.approx(expected))


def test_zero_denominators_are_no_place(photograph: Photograph) -> None:
    path = photograph(FULL)
    data = path.read_bytes()
    # Degrees are written as 33/1; every rational of the latitude gets the denominator 0.
    at = data.index(struct.pack(">II", 33, 1))
    broken = b"".join(data[at + 8 * n : at + 8 * n + 4] + bytes(4) for n in range(3))
    path.write_bytes(data[:at] + broken + data[at + 24 :])
    facts = read_facts(path)
    assert facts is not None
    assert (facts.latitude, facts.longitude, facts.taken) == (None, None, NOON)


def test_broken_exif_is_no_error(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    for block in (b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*" + bytes(4), b"Exif\0\0rubbish" * 9):
        Image.new("RGB", (30, 20)).save(path, exif=block)
        assert read_facts(path) == ImageFacts(30, 20, "jpeg")


def test_directories_that_lead_to_themselves_end(tmp_path: Path) -> None:
    entries = [struct.pack("<HHII", tag, 4, 1, 8) for tag in (0x8769, 0x8825)]
    block = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 2) + b"".join(entries) + struct.pack("<I", 8)
    Image.new("RGB", (30, 20)).save(tmp_path / "a.jpg", exif=block)
    assert read_facts(tmp_path / "a.jpg") == ImageFacts(30, 20, "jpeg")


@pytest.mark.parametrize("content", [b"", b"not an image", b"%!PS-Adobe", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_image_has_no_facts(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    assert read_facts(tmp_path / "a.jpg") is None
    assert read_facts(tmp_path / "gone.jpg") is None
    assert read_facts(tmp_path) is None


def test_the_source_policy_is_kept(photograph: Photograph, tmp_path: Path) -> None:
    path = photograph(FULL)
    (tmp_path / "inside").mkdir()
    assert read_facts(path, sources=SourcePolicy.agent(roots=tmp_path / "inside")) is None
    assert read_facts(path, sources=SourcePolicy(max_pixels=10)) is None
    assert read_facts(path, sources=SourcePolicy.agent(roots=tmp_path)) is not None


@pytest.mark.parametrize("format_", FORMATS)
def test_damaged_files_have_facts_or_none(tmp_path: Path, format_: str, effort: int) -> None:
    path = tmp_path / "mutant"
    for number in range(60 * effort):
        path.write_bytes(mutant(seeds_of(format_), number))
        facts = read_facts(path, sources=SourcePolicy(max_pixels=10**6))
        assert facts is None or facts.width * facts.height <= 10**6


def test_damaged_exif_leaves_the_image_its_size(tmp_path: Path, effort: int) -> None:
    path, found = tmp_path / "a.jpg", set()
    Image.new("RGB", (30, 20)).save(path, exif=make_exif(FULL).tobytes())
    whole = path.read_bytes()
    start, end = whole.index(b"Exif"), whole.index(b"\xff\xdb")
    for number in range(400 * effort):
        random = np.random.default_rng(number)
        data = bytearray(whole)
        for at in random.integers(start + 6, end, 1 + number % 4):
            data[at] = random.choice([0, 255, random.integers(256)])
        path.write_bytes(data)
        facts = read_facts(path)
        assert facts is not None
        assert {facts.width, facts.height} == {30, 20}
        assert facts.latitude is None or (abs(facts.latitude) <= 90 and abs(facts.longitude) <= 180)
        found.add((facts.taken, facts.camera, facts.latitude))
    assert len(found) > 40  # the damage is real


def test_a_payload_has_what_is_known() -> None:
    facts = ImageFacts(3, 2, "png", taken=5.0, latitude=1.0, longitude=2.0)
    place_ = {"lat": 1.0, "lon": 2.0}
    assert facts.to_payload() == {"width": 3, "height": 2, "format": "png", "taken": 5.0, "place": place_}
    assert ImageFacts(3, 2, "png", latitude=1.0).to_payload() == {"width": 3, "height": 2, "format": "png"}
