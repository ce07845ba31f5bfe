"""Sixels, read back by a decoder that knows nothing of the encoder."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from PIL import Image

from jina_clip_integrations.cli.sixel import to_sixel


def decode(sequence: str) -> np.ndarray:
    """The pixels `(height, width, 3)` in per cent, NaN where none was set (VT330/VT340 manual, chapter 14)."""
    found = re.fullmatch(r'\x1bP0;1;0q"1;1;(\d+);(\d+)(.*)\x1b\\', sequence, re.DOTALL)
    assert found is not None
    width, height = int(found[1]), int(found[2])
    pixels = np.full((height + 6, width, 3), np.nan)
    colors: dict[int, tuple[int, ...]] = {}
    row = column = current = 0
    for token in re.finditer(r"#(\d+);2;(\d+);(\d+);(\d+)|#(\d+)|!(\d+)([?-~])|([?-~])|(\$)|(-)", found[3]):
        register, red, green, blue, chosen, count, repeated, single, back, down = token.groups()
        if register is not None:
            colors[int(register)] = (int(red), int(green), int(blue))
        elif chosen is not None:
            current = int(chosen)
        elif back or down:
            row, column = row + (6 if down else 0), 0
        else:
            bits = ord(repeated or single) - 63
            end = column + int(count or 1)
            for bit in range(6):
                if bits >> bit & 1:
                    pixels[row + bit, column:end] = colors[current]
            column = end
    assert "".join(token.group() for token in re.finditer(r"[^\x00-\x1f]", found[3])) == found[3]
    assert np.isnan(pixels[height:]).all()
    return pixels[:height]


def noise(width: int, height: int, colors: int) -> Image.Image:
    random = np.random.default_rng(width * height)
    palette = random.integers(0, 256, (colors, 3))
    return Image.fromarray(palette[random.integers(0, colors, (height, width))].astype(np.uint8))


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (6, 6), (33, 13), (160, 120)])
@pytest.mark.parametrize("colors", [1, 2, 16])
def test_few_colours_come_back_as_they_were(size: tuple[int, int], colors: int) -> None:
    image = noise(*size, colors)
    np.testing.assert_allclose(decode(to_sixel(image)), np.asarray(image) / 2.55, atol=0.51)


def test_many_colours_come_back_nearly() -> None:
    ramp = np.linspace(0, 255, 64)
    red, green = np.meshgrid(ramp, ramp)
    image = Image.fromarray(np.stack([red, green, 255 - red], axis=-1).astype(np.uint8))
    error = np.abs(decode(to_sixel(image)) - np.asarray(image) / 2.55)
    assert error.mean() < 4


@pytest.mark.parametrize(("asked", "most"), [(2, 2), (16, 16), (999, 256), (0, 2)])
def test_no_more_colours_than_the_terminal_has(asked: int, most: int) -> None:
    sequence = to_sixel(noise(60, 60, 256), colors=asked)
    assert 1 < len(re.findall(r"#\d+;2;", sequence)) <= most


def test_equal_columns_are_counted() -> None:
    sequence = to_sixel(Image.new("RGB", (100, 12), (255, 0, 0)))
    assert sequence.count("!100~") == 2
    assert len(sequence) < 80


def test_it_is_nothing_but_a_sequence_of_printable_characters(paint: Any) -> None:
    sequence = to_sixel(noise(50, 50, 99))
    assert re.fullmatch(r"\x1bP[ -~]*\x1b\\", sequence)
