"""Transparency, more than 8 bits and empty frames: dropped, clipped and shown as published, or as one asks."""

from __future__ import annotations

import io
import tracemalloc
from typing import Any

import numpy as np
import pytest
from PIL import Image

from jina_clip_integrations import ConfigurationError, ImageError
from jina_clip_integrations.images.rendering import (
    EMPTY_FRAME,
    HIGH_BIT_DEPTH,
    MAX_FRAMES,
    TRANSPARENCY,
    Rendering,
    make_rendering,
    parse_colors,
)
from jina_clip_integrations.inputs import InputParser

WHITE = Rendering(background=(255, 255, 255))
SCALE = Rendering(high_bit_depth="scale")


def saved(image: Image.Image, format_: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format_, **options)
    return buffer.getvalue()


def render(given: Any, rendering: Rendering = Rendering()) -> tuple[Any, set[str]]:  # noqa: B008
    image = InputParser(rendering=rendering).image(given)
    return np.asarray(image.open()), set(image.losses)


def logo(mode: str = "RGBA", *, shape: int = 0) -> Image.Image:
    """Black on transparent black: nothing but its alpha tells one shape from another."""
    alpha = np.zeros((8, 8), np.uint8)
    alpha[shape : shape + 3] = 255
    image = Image.merge("RGBA", [*Image.new("RGB", (8, 8)).split(), Image.fromarray(alpha)])
    if mode == "P":
        paletted = Image.fromarray((alpha > 0).astype(np.uint8))
        paletted.putpalette([0, 0, 0, 0, 0, 0])
        paletted.info["transparency"] = 0
        return paletted
    return image.convert(mode)


class TestTransparency:
    @pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
    @pytest.mark.parametrize("encoded", [True, False])
    def test_two_logos_differ_with_a_background_only(self, mode: str, encoded: bool) -> None:
        given = [saved(logo(mode, shape=n)) if encoded else logo(mode, shape=n) for n in (0, 4)]
        (one, losses), (other, _) = map(render, given)
        assert losses == {TRANSPARENCY}
        np.testing.assert_array_equal(one, other)
        (one, losses), (other, _) = (render(image, WHITE) for image in given)
        assert not losses
        assert one[:3].max() == 0
        assert one[3:].min() == 255
        assert not np.array_equal(one, other)

    def test_half_transparent_pixels_are_mixed(self) -> None:
        pixels, _ = render(Image.new("RGBA", (2, 2), (0, 0, 0, 128)), Rendering(background=(200, 100, 0)))
        np.testing.assert_allclose(pixels[0, 0], [100, 50, 0], atol=1)

    @pytest.mark.parametrize("mode", ["RGBa", "La", "PA"])
    def test_rare_modes(self, mode: str) -> None:
        between = logo().convert({"RGBa": "RGBA", "La": "LA", "PA": "P"}[mode]).convert(mode)
        pixels, _ = render(between, WHITE)
        assert pixels.shape == (8, 8, 3)

    @pytest.mark.parametrize(("mode", "declared"), [("RGB", (0, 0, 0)), ("L", 0), ("1", 0)])
    def test_a_declared_colour_is_transparent(self, mode: str, declared: Any) -> None:
        image = Image.new("RGB", (8, 8), (0, 0, 0))
        image.paste((255, 0, 0), (0, 0, 8, 4))
        given = saved(image.convert(mode), transparency=declared)
        assert render(given)[0][7, 7].tolist() == [0, 0, 0]
        assert render(given, WHITE)[0][7, 7].tolist() == [255, 255, 255]

    @pytest.mark.parametrize("nonsense", [(1, 2), "x", b"zz", 3.5])
    def test_a_declaration_that_fits_no_mode_means_nothing(self, nonsense: Any) -> None:
        image = Image.new("L", (4, 4), 9)
        image.info["transparency"] = nonsense
        assert render(image, WHITE)[0].max() == 9

    def test_opaque_images_and_rounded_corners_are_no_loss(self) -> None:
        image = Image.new("RGBA", (100, 100), (9, 9, 9, 255))
        image.putpixel((0, 0), (0, 0, 0, 0))
        assert render(saved(image))[1] == set()


class TestHighBitDepth:
    @pytest.mark.parametrize(
        ("values", "format_", "expected"),
        [
            (np.array([[0, 300], [32896, 65535]], np.uint16), "PNG", [[0, 1], [128, 255]]),
            (np.array([[0, 300], [32896, 65535]], np.uint16), "TIFF", [[0, 1], [128, 255]]),
            (np.array([[0.0, 0.25], [0.5, 1.0]], np.float32), "TIFF", [[0, 64], [128, 255]]),
            (np.array([[0.0, 64.0], [128.0, 255.0]], np.float32), "TIFF", [[0, 64], [128, 255]]),
            (np.array([[-1000, 0], [500, 1000]], np.int32), "TIFF", [[0, 128], [191, 255]]),
            (np.array([[0, 64], [128, 255]], np.int32), "TIFF", [[0, 64], [128, 255]]),
            (np.array([[np.nan, 0.5], [np.inf, 1.0]], np.float32), "TIFF", [[0, 128], [255, 255]]),
        ],
        ids=["16 bits", "16 bits in a TIFF", "unit floats", "floats of 8 bits", "signed", "32 bits of 8", "not finite"],
    )
    def test_is_scaled(self, values: Any, format_: str, expected: Any) -> None:
        for given in (saved(Image.fromarray(values), format_), Image.fromarray(values)):
            pixels, losses = render(given, SCALE)
            assert not losses
            np.testing.assert_allclose(pixels[..., 0], expected, atol=1)
            assert (pixels[..., 0] == pixels[..., 2]).all()

    @pytest.mark.parametrize("mode", ["I;16", "I", "F"])
    def test_the_loss_is_noted(self, mode: str) -> None:
        bright = Image.new("I", (4, 4), 40_000).convert(mode)
        assert render(bright)[1] == {HIGH_BIT_DEPTH}

    def test_values_of_8_bits_lose_nothing(self) -> None:
        assert render(Image.new("F", (4, 4), 200.0))[1] == set()
        assert render(Image.new("F", (4, 4), 0.5))[1] == {HIGH_BIT_DEPTH}

    def test_both_options_together(self) -> None:
        values = np.full((4, 4), 65535, np.uint16)
        values[:2] = 7
        given = saved(Image.fromarray(values), transparency=7)
        pixels, _ = render(given, Rendering(background=(255, 0, 0), high_bit_depth="scale"))
        assert pixels[0, 0].tolist() == [255, 0, 0]
        assert pixels[3, 3].tolist() == [255, 255, 255]


def animation(format_: str, *, empty: int, frames: int) -> bytes:
    """`empty` wholly transparent frames, then black ones with a white block."""
    drawn = [Image.new("RGBA", (16, 16), (0, 0, 0, 0)) for _ in range(frames)]
    for number, frame in enumerate(drawn[empty:]):
        frame.paste((0, 0, 0, 255), (0, 0, 16, 16))
        frame.paste((255, 255, 255, 255), (number, 0, number + 3, 16))
    options = {"lossless": True} if format_ == "WEBP" else {}
    return saved(drawn[0], format_, save_all=True, append_images=drawn[1:], disposal=2, **options)


class TestFrames:
    @pytest.mark.parametrize("format_", ["GIF", "PNG"])
    def test_the_first_that_is_not_empty_with_a_background(self, format_: str) -> None:
        given = animation(format_, empty=2, frames=4)
        pixels, losses = render(given)
        assert EMPTY_FRAME in losses
        assert (pixels == pixels[0, 0]).all()
        pixels, losses = render(given, WHITE)
        assert not losses
        assert pixels[0, 0].tolist() == [255] * 3
        assert pixels[0, 8].tolist() == [0] * 3

    def test_an_animation_of_nothing_is_its_first_frame(self) -> None:
        image = Image.new("L", (8, 8))
        given = saved(image, "GIF", save_all=True, append_images=[image.point(lambda _: 1), image])
        assert render(given, WHITE)[0].max() <= 1

    def test_only_so_many_are_looked_at(self) -> None:
        given = animation("GIF", empty=0, frames=1)
        blank = [Image.new("L", (4, 4), n % 2) for n in range(MAX_FRAMES + 5)]
        late = Image.linear_gradient("L").resize((4, 4))
        given = saved(blank[0], "GIF", save_all=True, append_images=[*blank[1:], late], duration=10)
        pixels, _ = render(given, WHITE)
        assert (pixels == pixels[0, 0]).all()

    def test_a_broken_second_frame_breaks_nothing(self) -> None:
        given = animation("GIF", empty=1, frames=3)
        first = given.index(b"\x21\xf9", given.index(b"\x2c"))
        for cut in range(first, first + 30):
            render(given[:cut], WHITE)

    def test_a_later_frame_that_would_enlarge_the_image_is_not_looked_at(self) -> None:
        given = bytearray(animation("GIF", empty=1, frames=3))
        second = given.index(b"\x2c", given.index(b"\x21\xf9", given.index(b"\x2c")))
        given[second + 5 : second + 9] = b"\xff\xff\xff\xff"
        pixels, _ = render(bytes(given), WHITE)
        assert pixels.shape == (16, 16, 3)
        assert (pixels == 255).all()

    def test_a_first_frame_that_is_too_large_is_refused_before_room_is_made(self) -> None:
        given = bytearray(animation("GIF", empty=0, frames=1))
        at = given.index(b"\x2c")
        given[at + 5 : at + 9] = b"\xff\xff\xff\xff"
        tracemalloc.start()
        with pytest.raises(ImageError, match="max_pixels"):
            render(bytes(given))
        assert tracemalloc.get_traced_memory()[1] < 2**22
        tracemalloc.stop()

    def test_the_frame_of_a_callers_image_is_the_callers_choice(self) -> None:
        image = Image.open(io.BytesIO(animation("GIF", empty=1, frames=3)))
        image.seek(1)
        assert render(image, WHITE)[0][0, 8].tolist() == [0] * 3
        assert image.tell() == 1


class TestOptions:
    @pytest.mark.parametrize(
        "given", ["white", "#fff", "#FFFFFF", "rgb(255,255,255)", (255, 255, 255), [255, 255, 255]]
    )
    def test_colours(self, given: Any) -> None:
        assert make_rendering(background=given) == WHITE

    @pytest.mark.parametrize("given", ["", "whitish", (1, 2), (256, 0, 0), 7, (0.5, "a", 0), object()])
    def test_what_is_no_colour(self, given: Any) -> None:
        with pytest.raises(ConfigurationError, match='background must be a colour such as "white"'):
            make_rendering(background=given)

    def test_depths(self) -> None:
        with pytest.raises(ConfigurationError, match="'clip', 'scale'"):
            make_rendering(high_bit_depth="stretch")

    @pytest.mark.parametrize(
        "rendering", [Rendering(), WHITE, SCALE, Rendering(background=(1, 2, 3), high_bit_depth="scale")]
    )
    def test_colours_are_written_and_read(self, rendering: Rendering) -> None:
        assert make_rendering(**parse_colors(rendering.colors)) == rendering
        assert rendering.is_published is (rendering.colors == "")


def test_a_closed_image_says_so() -> None:
    image = Image.open(io.BytesIO(saved(Image.new("RGB", (4, 4)))))
    image.close()
    with pytest.raises(ImageError, match=r"it is closed; call its load\(\)"):
        render(image)
    loaded = Image.open(io.BytesIO(saved(Image.new("RGB", (4, 4)))))
    loaded.load()
    loaded.close()
    with pytest.raises(ImageError, match="it is closed"):
        render(loaded)
