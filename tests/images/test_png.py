"""PNG files of our own making, read by Pillow."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from jina_clip_integrations.images.png import to_png


def read(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


@settings(max_examples=80, deadline=None)
@given(height=st.integers(1, 20), width=st.integers(1, 20), seed=st.integers(0, 2**32 - 1), levels=st.integers(1, 256))
def test_every_pixel_comes_back(height: int, width: int, seed: int, levels: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, levels, (height, width, 3)).astype(np.uint8)
    image = read(to_png(pixels))
    assert (image.format, image.mode) == ("PNG", "RGB")
    np.testing.assert_array_equal(np.asarray(image), pixels)


def test_a_view_of_a_larger_image() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 9, 3), np.uint8)[::-1, 2:7]
    np.testing.assert_array_equal(np.asarray(read(to_png(pixels))), pixels)


def test_smaller_than_the_pixels_where_there_is_something_to_gain() -> None:
    steps = np.linspace(0, 255, 256).astype(np.uint8)
    smooth = np.stack([np.add.outer(steps // 2, steps // 2)] * 3, axis=-1)
    assert len(to_png(smooth)) < smooth.size / 5


def test_checked_by_its_checksums() -> None:
    data = bytearray(to_png(np.zeros((4, 4, 3), np.uint8)))
    data[-20] ^= 1
    with pytest.raises((OSError, SyntaxError)):
        read(bytes(data))


def test_a_drawing_is_about_as_small_as_pillow_makes_it() -> None:
    page = Image.new("RGB", (256, 256), "white")
    for line in range(20):
        ImageDraw.Draw(page).text((5, 12 * line), f"{line} the quick brown fox jumps over the lazy dog", "black")
    buffer = io.BytesIO()
    page.save(buffer, "PNG", compress_level=1)
    data = to_png(np.asarray(page))
    assert len(data) < 1.2 * len(buffer.getvalue())
    np.testing.assert_array_equal(np.asarray(read(data)), np.asarray(page))
