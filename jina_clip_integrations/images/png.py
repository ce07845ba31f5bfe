"""Pixels as PNG, for sending: photographs as small as Pillow makes them, in about half of its time (benchmarks/png.py).

Deflate spends its time on looking for repetitions, of which photographs hold none worth it. What makes their PNG small
is the filter, the difference of every byte from what its neighbours suggest, and Huffman codes for the differences.
Pillow tries all five filters on every row; one filter for all rows does as well.
"""

from __future__ import annotations

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

SIGNATURE = b"\x89PNG\r\n\x1a\n"
COLOUR = 2
"""Colour type of the header: red, green and blue."""

AVERAGE = 3
"""Filter type of a row: less the average of the bytes to the left and above, rounded down."""

FLAT_SHARE = 1 / 3
"""Share of zero differences from which an image counts as drawn: photographs have about a tenth, a page of text two
thirds. Looking for repetitions is then quick, and leaves a fraction of the bytes that runs of one byte alone do."""


def to_png(pixels: NDArray[np.uint8]) -> bytes:
    """`(height, width, 3)` as a PNG file."""
    height, width, _ = pixels.shape
    differences = pixels - _average_of_neighbours(pixels)
    rows = np.empty((height, 1 + 3 * width), np.uint8)
    rows[:, 0] = AVERAGE
    rows[:, 1:] = differences.reshape(height, -1)
    drawn = np.count_nonzero(differences) <= (1 - FLAT_SHARE) * differences.size
    strategy = zlib.Z_DEFAULT_STRATEGY if drawn else zlib.Z_RLE
    packer = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS, zlib.DEF_MEM_LEVEL, strategy)
    header = struct.pack(">IIBBBBB", width, height, 8, COLOUR, 0, 0, 0)
    chunks = (
        _chunk(b"IHDR", header),
        _chunk(b"IDAT", packer.compress(rows.data) + packer.flush()),
        _chunk(b"IEND", b""),
    )
    return SIGNATURE + b"".join(chunks)


def _average_of_neighbours(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """For every byte the average of the one to the left and the one above, rounded down; beyond the edge is zero."""
    left, above = np.zeros_like(pixels), np.zeros_like(pixels)
    left[:, 1:], above[1:] = pixels[:, :-1], pixels[:-1]
    average: NDArray[np.uint8] = (left & above) + ((left ^ above) >> 1)  # without the ninth bit that a sum would need
    return average


def _chunk(name: bytes, data: bytes) -> bytes:
    return b"%b%b%b%b" % (struct.pack(">I", len(data)), name, data, struct.pack(">I", zlib.crc32(name + data)))
