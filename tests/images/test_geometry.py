"""The image geometry: sizes, crops, padding, extreme ratios, modes that Pillow treats in its own way."""

from __future__ import annotations

import io
import tracemalloc

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from jina_clip_integrations.errors import ConfigurationError, ImageError
from jina_clip_integrations.images import geometry as images
from jina_clip_integrations.images.geometry import IMAGE_MEAN, IMAGE_STD, normalize_pixels, resize_and_crop


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    levels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(levels)


def gradient(width: int, height: int) -> Image.Image:
    """Red grows from left to right, green from top to bottom, over the whole range."""
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Image.fromarray(np.dstack([x, y, np.zeros_like(x)]).round().astype(np.uint8))


@pytest.mark.parametrize(
    ("size", "resized", "offset"),
    [
        ((100, 61), (45, 28), (8, 0)),
        ((61, 100), (28, 45), (0, 8)),
        ((50, 50), (28, 28), (0, 0)),
        ((31, 28), (31, 28), (2, 0)),
    ],
)
def test_published_geometry(size: tuple[int, int], resized: tuple[int, int], offset: tuple[int, int]) -> None:
    """Shorter side to 28, the longer one rounded down, offsets rounded half to even (8.5 to 8, 1.5 to 2)."""
    image = noise(*size)
    whole = image.resize((resized[0], size[1]), Image.Resampling.BICUBIC).resize(resized, Image.Resampling.BICUBIC)
    expected = np.asarray(whole)[offset[1] : offset[1] + 28, offset[0] : offset[0] + 28]
    assert np.array_equal(resize_and_crop(image, 28), expected)


def test_the_right_size_is_not_resampled() -> None:
    image = noise(28, 28)
    actual = resize_and_crop(image, 28)
    assert np.array_equal(actual, np.asarray(image))
    assert actual.dtype == np.uint8
    actual[:] = 0  # an array of its own
    assert np.asarray(image).any()


def test_squash_and_longest() -> None:
    image = gradient(60, 20)
    squashed = resize_and_crop(image, 30, mode="squash")
    assert squashed.shape == (30, 30, 3)
    assert squashed[15, 0, 0] < 5
    assert squashed[15, -1, 0] > 250
    padded = resize_and_crop(image, 30, mode="longest", fill_color=(1, 2, 3))
    assert (padded[:10] == [1, 2, 3]).all()
    assert (padded[20:] == [1, 2, 3]).all()
    assert padded[15, -1, 0] > 250
    assert (resize_and_crop(image, 30, mode="longest", fill_color=9)[0] == 9).all()


def test_other_settings() -> None:
    image = noise(50, 40)
    assert not np.array_equal(resize_and_crop(image, 20, interpolation="bilinear"), resize_and_crop(image, 20))
    with pytest.raises(ConfigurationError, match=r"resize_mode.*'shortest'"):
        resize_and_crop(image, 20, mode="crop")
    with pytest.raises(ConfigurationError, match=r"interpolation.*bicubic"):
        resize_and_crop(image, 20, interpolation="lanczos")


def test_cropping_first_changes_next_to_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)

    def both(image: Image.Image, size: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        monkeypatch.setattr(images, "CROP_FIRST_RATIO", 10**9)
        whole = resize_and_crop(image, size)
        monkeypatch.setattr(images, "CROP_FIRST_RATIO", 0)
        return whole, resize_and_crop(image, size)

    for seed in range(60):
        short, ratio = int(rng.integers(1, 40)), float(rng.uniform(1, 90))
        sides = (short, int(short * ratio)) if seed % 2 else (int(short * ratio), short)
        whole, part = both(noise(*sides, seed), int(rng.integers(4, 90)))
        assert np.abs(whole.astype(int) - part.astype(int)).max() <= 2


@pytest.mark.parametrize("size", [(10, 100_000), (100_000, 10), (1, 50_000), (50_000, 1)])
def test_extreme_ratios_need_little_memory(size: tuple[int, int]) -> None:
    image = Image.new("RGB", size, (10, 20, 30))
    tracemalloc.start()
    try:
        square = resize_and_crop(image, 512)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert square.shape == (512, 512, 3)
    assert (square == [10, 20, 30]).all()
    assert peak < 50e6


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "I", "F", "I;16"])
def test_every_mode(mode: str) -> None:
    assert resize_and_crop(Image.new(mode, (40, 30)), 16).shape == (16, 16, 3)


def test_transparency_is_dropped_without_a_warning() -> None:
    image = gradient(40, 40).quantize(16)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", transparency=bytes(range(16)))
    with Image.open(buffer) as opened:
        assert isinstance(opened.info["transparency"], bytes)
        assert np.array_equal(resize_and_crop(opened, 20), resize_and_crop(image, 20))
        assert "transparency" in opened.info, "the caller's image is left as it is"


@pytest.mark.parametrize("mode", ["shortest", "longest", "squash"])
def test_an_rgb_image_is_neither_copied_nor_converted(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    image = noise(50, 40)
    expected = resize_and_crop(image.copy(), 20, mode=mode)

    def refuse(*args: object, **options: object) -> None:
        raise AssertionError("the pixels of the whole image were copied")

    monkeypatch.setattr(Image.Image, "copy", refuse)
    monkeypatch.setattr(Image.Image, "convert", refuse)
    assert np.array_equal(resize_and_crop(image, 20, mode=mode), expected)


@pytest.mark.parametrize("mode", ["shortest", "longest", "squash"])
@pytest.mark.parametrize("size", [(20, 20), (50, 40)], ids=["as large as asked for", "larger"])
def test_the_callers_image_is_not_modified(size: tuple[int, int], mode: str) -> None:
    image = noise(*size)
    before, info = image.tobytes(), dict(image.info)
    resize_and_crop(image, 20, mode=mode)[:] = 0
    assert (image.tobytes(), image.mode, image.info) == (before, "RGB", info)


def test_animated_images_give_the_first_frame() -> None:
    buffer = io.BytesIO()
    frames = [Image.new("RGB", (20, 20), color) for color in ("red", "blue")]
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    with Image.open(buffer) as opened:
        assert opened.n_frames == 2
        assert (resize_and_crop(opened, 10) == [255, 0, 0]).all()


def test_images_that_cannot_be_decoded() -> None:
    buffer = io.BytesIO()
    noise(64, 64).save(buffer, "PNG")
    with Image.open(io.BytesIO(buffer.getvalue()[:2000])) as cut, pytest.raises(ImageError, match="cannot be decoded"):
        resize_and_crop(cut, 10)
    with pytest.raises(ImageError, match="no pixels"):
        resize_and_crop(Image.new("RGB", (0, 5)), 10)


def test_normalisation() -> None:
    pixels = np.stack([np.zeros((4, 4, 3), np.uint8), np.full((4, 4, 3), 255, np.uint8)])
    normal = normalize_pixels(pixels)
    assert normal.shape == (2, 3, 4, 4)
    assert normal.dtype == np.float32
    assert normal.flags.c_contiguous
    mean, std = np.array(IMAGE_MEAN), np.array(IMAGE_STD)
    assert np.allclose(normal[0, :, 0, 0], -mean / std, atol=1e-6)
    assert np.allclose(normal[1, :, 0, 0], (1 - mean) / std, atol=1e-6)
    assert normalize_pixels(pixels[0], (0.5,) * 3, (0.5,) * 3).min() == -1.0
