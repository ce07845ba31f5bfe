"""The table of signatures, against files that Pillow writes."""

from __future__ import annotations

import base64
import io
import wave

import pytest
from PIL import Image, features

from jina_clip_integrations import ImageError
from jina_clip_integrations.images.formats import (
    BASE64_STARTS,
    UNREAD_FORMATS,
    describe_unreadable,
    media_type,
    unreadable_reason,
)
from jina_clip_integrations.inputs import InputParser

WRITTEN = ["PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "PPM", "ICO"]
WRITTEN += [name for name, feature in (("AVIF", "avif"), ("JPEG2000", "jpg_2000")) if features.check(feature)]


def image_file(format_: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16), "red").save(buffer, format_)
    return buffer.getvalue()


def wav_file() -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(1)
        sound.setframerate(8000)
        sound.writeframes(bytes(100))
    return buffer.getvalue()


@pytest.mark.parametrize("format_", WRITTEN)
def test_the_media_type_is_pillows(format_: str) -> None:
    assert media_type(image_file(format_)) == Image.MIME[format_]


@pytest.mark.parametrize("byte_order", ["II", "MM"])
def test_both_byte_orders_of_tiff(byte_order: str) -> None:
    order = "little" if byte_order == "II" else "big"
    for version in (42, 43):
        assert media_type(byte_order.encode() + version.to_bytes(2, order)) == "image/tiff"


@pytest.mark.parametrize(
    "data",
    [b"", b"RIFF", b"RIFF\x24\0\0\0AVI LIST", b"P6", b"P1: a heading", b"\0\0\0\x18ftypisom", b"some words"],
    ids=["nothing", "RIFF alone", "AVI", "two letters", "a heading", "MP4", "words"],
)
def test_what_is_no_image_has_no_media_type(data: bytes) -> None:
    assert media_type(data) is None


def test_sound_is_not_taken_for_webp() -> None:
    assert wav_file().startswith(b"RIFF")
    assert media_type(wav_file()) is None
    image = InputParser().image(wav_file())
    with pytest.raises(ImageError, match="not an image in a format"):
        image.open()
    assert image.label.startswith("unknown data ")


@pytest.mark.parametrize("format_", [name for name in WRITTEN if name != "AVIF"])
def test_base64_of_an_image_begins_as_the_table_says(format_: str) -> None:
    assert base64.b64encode(image_file(format_)).decode().startswith(BASE64_STARTS)


@pytest.mark.parametrize(
    ("head", "said"),
    [
        (b"", "an empty file"),
        (b"  <!DOCTYPE html>", "HTML"),
        (b"<svg xmlns=", "SVG"),
        (b"%!PS-Adobe-3.0 EPSF-3.0", "PostScript"),
        (b"\xc5\xd0\xd3\xc6", "PostScript"),
        (b"\0\0\0\x18ftypisom", "video"),
        (b"version https://git-lfs.github.com/spec/v1", "git lfs pull"),
        (b"RIFF\x24\0\0\0WAVEfmt ", "not an image in a format"),
    ],
    ids=["nothing", "HTML", "SVG", "PostScript", "DOS EPS", "MP4", "Git LFS", "WAV"],
)
def test_what_a_file_is_that_pillow_does_not_know(head: bytes, said: str) -> None:
    assert said in describe_unreadable(head)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("scan.pdf", "a PDF: render its pages"),
        (".HEIC", "jina-clip-integrations[heif]"),
        ("IMG_1.avif", "Pillow 11.3"),
        ("a.b.jxl", "pillow-jxl-plugin"),
        ("DSC_0001.NEF", "develop it"),
        ("logo.svg", "render it to PNG"),
        ("slides.pptx", "slides to images"),
        ("clip.MP4", "extract frames"),
        ("scan.djvu", "convert its pages"),
        ("poster.eps", "convert it to PNG"),
    ],
)
def test_what_looks_like_an_image_or_a_document_has_a_reason_and_a_remedy(name: str, said: str) -> None:
    assert said in str(unreadable_reason(name))


@pytest.mark.parametrize(
    "name", ["photo.jpg", "notes.txt", "Makefile", ".gitignore", "server.key", "id_rsa.pub", "a.py", ""]
)
def test_other_files_have_none(name: str) -> None:
    assert unreadable_reason(name) is None


def test_no_extension_stands_for_two_kinds() -> None:
    listed = [name for unread in UNREAD_FORMATS for name in unread.extensions.split()]
    assert len(listed) == len(set(listed))


def test_what_can_be_read_has_no_reason() -> None:
    assert unreadable_reason("x.heic", readable={"HEIF"}) is None
    assert unreadable_reason("x.pdf", readable={"HEIF"}) is not None


def test_the_content_is_believed_more_than_the_name() -> None:
    assert "a PDF" in str(unreadable_reason("photo.jpg", b"%PDF-1.7"))
    assert "raw file" in str(unreadable_reason("photo.jpg", b"II*\0\x10\0\0\0CR\2\0"))
    assert "measuring" in str(unreadable_reason("photo.jpg", bytes(128) + b"DICM"))


def test_a_broken_file_of_a_known_format_is_called_broken() -> None:
    assert describe_unreadable(b"\x89PNG\r\n\x1a\n") == "broken or truncated (begins like image/png)"
    assert describe_unreadable(b"\0\0\0\x18ftypheic", readable={"HEIF"}).startswith("broken or truncated")
