"""How large the frames of a GIF claim to be. Pillow enlarges the image for them, and makes room as it opens it."""

from __future__ import annotations

from collections.abc import Iterator

EXTENSION, FRAME, TRAILER, TABLE = 0x21, 0x2C, 0x3B, 0x80
"""First byte of an extension, a frame and the end, and the flag of a colour table (GIF89a)."""


def frame_extents(data: bytes) -> Iterator[tuple[int, int]]:
    """Right and bottom edge of each frame, in pixels, as far as the file can be followed; the screen's size first."""
    if not data.startswith(b"GIF8") or len(data) < 13:
        return
    yield _short(data, 6), _short(data, 8)
    at = 13 + _table_bytes(data[10])
    while at + 10 <= len(data) and data[at] != TRAILER:
        if data[at] == FRAME:
            yield _short(data, at + 1) + _short(data, at + 5), _short(data, at + 3) + _short(data, at + 7)
            at = _skip_blocks(data, at + 11 + _table_bytes(data[at + 9]))
        elif data[at] == EXTENSION:
            at = _skip_blocks(data, at + 2)
        else:  # Pillow goes on byte by byte as well
            at += 1


def _short(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 2], "little")


def _table_bytes(flags: int) -> int:
    return 3 << flags % 8 + 1 if flags & TABLE else 0


def _skip_blocks(data: bytes, at: int) -> int:
    """Behind the sub-blocks that begin at `at`."""
    while at < len(data) and data[at]:
        at += 1 + data[at]
    return at + 1
