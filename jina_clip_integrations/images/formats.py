"""How files begin: the one table of signatures, and what to say of a file that is no image."""

from __future__ import annotations

import base64

SIGNATURES: tuple[tuple[str, dict[int, bytes]], ...] = (
    ("image/png", {0: b"\x89PNG"}),
    ("image/jpeg", {0: b"\xff\xd8\xff"}),
    ("image/gif", {0: b"GIF8"}),
    ("image/webp", {0: b"RIFF", 8: b"WEBP"}),  # RIFF alone may as well be sound (WAV) or video (AVI)
    ("image/bmp", {0: b"BM"}),
    ("image/tiff", {0: b"II*\0"}),
    ("image/tiff", {0: b"MM\0*"}),
    ("image/tiff", {0: b"II+\0"}),  # BigTIFF
    ("image/tiff", {0: b"MM\0+"}),
    ("image/avif", {4: b"ftypavif"}),
    ("image/avif", {4: b"ftypavis"}),
    ("image/heic", {4: b"ftyphei"}),  # heic, heix, heim, heis
    ("image/heif", {4: b"ftypmif1"}),
    ("image/jp2", {0: b"\0\0\0\x0cjP  "}),
    ("image/jp2", {0: b"\xff\x4f\xff\x51"}),  # a bare codestream; Pillow calls it the same
    ("image/x-icon", {0: b"\0\0\1\0"}),
    # Two letters are too few to go by: the header of a portable anymap goes on with white space.
    *(
        ("image/x-portable-anymap", {0: b"P%d%b" % (kind, space)})
        for kind in range(1, 7)
        for space in (b"\n", b" ", b"\r", b"\t")
    ),
)
"""Media type, and the bytes that a file of it has at these offsets."""

HEAD_BYTES = 64
"""As many first bytes as any function here looks at."""


def media_type(data: bytes) -> str | None:
    """Media type of an encoded image by its first bytes, such as `image/png`; None for anything unknown."""
    for name, parts in SIGNATURES:
        if all(data.startswith(magic, offset) for offset, magic in parts.items()):
            return name
    return None


def _base64_start(magic: bytes) -> str:
    """The characters of base64 that `magic` alone decides: six bits each, so the last byte may reach into another."""
    return base64.b64encode(magic).decode("ascii")[: len(magic) * 8 // 6]


BASE64_STARTS = tuple(_base64_start(parts[0]) for _, parts in SIGNATURES if 0 in parts)
"""How base64 of an image begins, as far as its first bytes are fixed."""


def describe_unreadable(head: bytes) -> str:
    """Why Pillow does not know a file that begins like this."""
    start = head.lstrip()[:8].lower()
    if not head:
        return "an empty file"
    if start.startswith((b"<!", b"<html", b"<?xml", b"<svg")):
        return "HTML, XML or SVG, not an image made of pixels"
    if start.startswith(b"%!ps") or head.startswith(b"\xc5\xd0\xd3\xc6"):
        return "PostScript, which would need another program to run; convert it to PNG"
    if head[4:8] == b"ftyp":
        return "HEIF, AVIF or video, which this Pillow does not read; convert it to JPEG or PNG"
    if head.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer instead of the image; run git lfs pull"
    return "not an image in a format that Pillow reads (JPEG, PNG, WebP, GIF, BMP, TIFF, …)"
