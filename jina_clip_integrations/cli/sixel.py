"""Images as sixels, the graphics of DEC's terminals (VT330/VT340 Programmer Reference Manual, chapter 14).

What packages there are for this have not been kept up for years, or bring a framework for terminals along.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import PIL.Image

BAND = 6
"""Rows of pixels in one row of sixels."""
FIRST = 63
"""Code of the character for no pixel at all; the six bits of a column are added to it."""
SHORTEST_REPEAT = 4
"""Runs shorter than this take no more characters as they are."""


def to_sixel(image: PIL.Image.Image, *, colors: int = 256) -> str:
    """The sequence that draws an RGB image at the cursor, with at most `colors` (2 to 256) of its own."""
    import PIL.Image

    reduced = image.quantize(min(max(colors, 2), 256), dither=PIL.Image.Dither.FLOYDSTEINBERG)
    pixels = np.asarray(reduced)
    palette = np.array(reduced.getpalette(), np.int64).reshape(-1, 3)
    height, width = pixels.shape
    # 1: pixels that no band sets keep the background. The raster attributes tell the size before the pixels come.
    start = f'\x1bP0;1;0q"1;1;{width};{height}'
    registers = "".join(_define(number, palette[number]) for number in np.unique(pixels))
    bands = "-".join(_band(pixels[top : top + BAND]) for top in range(0, height, BAND))
    return f"{start}{registers}{bands}\x1b\\"


def _define(number: int, rgb: NDArray[np.int64]) -> str:
    """A register's colour, in per cent of red, green and blue."""
    red, green, blue = (round(int(value) * 100 / 255) for value in rgb)
    return f"#{number};2;{red};{green};{blue}"


def _band(rows: NDArray[np.uint8]) -> str:
    """Up to six rows of pixels: one pass over the columns per colour, each from the left again."""
    weights = (1 << np.arange(len(rows)))[:, None]
    passes = ((number, ((rows == number) * weights).sum(axis=0)) for number in np.unique(rows))
    return "$".join(f"#{number}{''.join(_runs(bits))}" for number, bits in passes)


def _runs(bits: NDArray[np.int64]) -> Iterator[str]:
    """The characters of one pass, equal ones behind each other as a count; nothing for empty columns at its end."""
    edges = np.flatnonzero(np.diff(bits)) + 1
    starts = np.concatenate([[0], edges])
    lengths = np.diff(np.concatenate([starts, [len(bits)]]))
    for position, (start, length) in enumerate(zip(starts.tolist(), lengths.tolist(), strict=True)):
        if position == len(starts) - 1 and not bits[start]:
            return
        character = chr(FIRST + int(bits[start]))
        yield f"!{length}{character}" if length >= SHORTEST_REPEAT else character * length
