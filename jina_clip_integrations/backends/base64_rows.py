"""Base64 to rows of float32, many rows at once: half the time of the standard library's decoder, row by row."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
PADDING, NONE = 64, 255
"""What stands for `=`, and for a character that is not of the alphabet."""

VALUES = bytes(
    ALPHABET.find(code) if code in ALPHABET else PADDING if code == ord("=") else NONE for code in range(256)
)
"""The 6 bits of every character."""

AT_ONCE = 2**17
"""Characters at a time, so that what is made of them on the way stays in the processor's cache."""


def decode_rows(texts: Sequence[str]) -> NDArray[np.float32]:
    """`(n, width)` from n texts in standard base64 with padding. Raises `ValueError` unless all are alike and valid."""
    length = len(texts[0])
    padding = length - len(texts[0].rstrip("="))
    size = length // 4 * 3 - padding
    if length % 4 or padding > 2 or size < 4 or size % 4 or any(len(text) != length for text in texts):
        raise ValueError("no rows of float32 of one width")
    rows = np.empty((len(texts), size), np.uint8)
    step = max(1, AT_ONCE // length)
    for start in range(0, len(texts), step):
        characters = bytearray("".join(texts[start : start + step]), "ascii")
        sextets = np.frombuffer(characters.translate(VALUES), np.uint8).reshape(-1, length)
        end = sextets[:, length - padding :]
        if (end != PADDING).any() or sextets[:, : length - padding].max() >= PADDING:
            raise ValueError("not standard base64")
        end[:] = 0
        rows[start : start + step] = _bytes(sextets)[:, :size]
    return rows.view("<f4")


def _bytes(sextets: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Four times 6 bits as three times 8: `(n, 4 k)` to `(n, 3 k)`."""
    four = sextets.view("<u4")  # (n, k), the first in the lowest byte
    pairs = four & 0x003F003F
    pairs <<= 6
    pairs |= (four >> 8) & 0x003F003F  # two times 12 bits, the first in the lower half
    whole = pairs & 0xFFF
    whole <<= 12
    whole |= pairs >> 16  # 24 bits, the first in the highest byte
    lowest_first = whole.astype("<u4", copy=False).view(np.uint8).reshape(*whole.shape, 4)
    data = np.empty((*whole.shape, 3), np.uint8)
    for place in range(3):
        data[:, :, place] = lowest_first[:, :, 2 - place]
    return data.reshape(len(data), -1)
