"""Images to search with: kept by content, bounded, refused before they are decoded."""

from __future__ import annotations

import io

import PIL.Image
import pytest

from jina_clip_integrations.app.uploads import PREVIEW_PIXELS, Uploads, make_preview
from jina_clip_integrations.errors import ImageError
from jina_clip_integrations.server.errors import RequestError


def png(shade: int, size: tuple[int, int] = (600, 300)) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.new("RGB", size, (shade, shade, shade)).save(buffer, "PNG")
    return buffer.getvalue()


def test_the_same_file_has_the_same_id() -> None:
    uploads = Uploads(1 << 20)
    assert uploads.add(png(1)) == uploads.add(png(1)) != uploads.add(png(2))


def test_the_preview_is_small_and_the_file_is_whole() -> None:
    uploads = Uploads(1 << 20)
    upload = uploads.get(uploads.add(png(1)))
    assert upload.content == png(1)
    assert PIL.Image.open(io.BytesIO(upload.preview)).size == (PREVIEW_PIXELS, PREVIEW_PIXELS // 2)


def test_the_one_not_used_longest_goes_first() -> None:
    first, second, third = png(1), png(2), png(3)
    uploads = Uploads(int((len(first) + len(make_preview(first))) * 2.5))
    keys = [uploads.add(first), uploads.add(second)]
    uploads.get(keys[0])
    uploads.add(third)
    assert uploads.get(keys[0]).content == first
    with pytest.raises(RequestError) as gone:
        uploads.get(keys[1])
    assert gone.value.status == 404


def test_one_that_is_larger_than_all_room_is_kept_alone() -> None:
    uploads = Uploads(1)
    assert uploads.get(uploads.add(png(1))).content == png(1)


def test_what_is_no_image_is_not_kept() -> None:
    with pytest.raises(ImageError):
        Uploads(1000).add(b"text")
