"""The demo gallery: images from Noto Emoji with their names in many languages."""

from __future__ import annotations

import functools
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import PIL.Image

GALLERY_FILE = Path(__file__).parent / "data" / "gallery.zip"
"""`index.json` with a row per image, in order, and one WebP file per row."""


@dataclass(frozen=True)
class GalleryImage:
    """One image of the gallery; two are equal if their ids are."""

    id: str
    """The emoji's code points, lower-case hexadecimal, joined by dashes, without variation selectors."""
    emoji: str = field(compare=False)
    """The emoji as text."""
    names: Mapping[str, str] = field(compare=False, repr=False)
    """Language code to the CLDR short name in that language; read-only."""
    category: str = field(compare=False)
    """Its group in the Unicode order, such as `Animals & Nature`."""
    webp: bytes = field(compare=False, repr=False)
    """The encoded file."""

    def data(self) -> bytes:
        """The encoded image: WebP, square, on white."""
        return self.webp

    def image(self) -> PIL.Image.Image:
        """The decoded image, a new RGB `PIL.Image` on each call."""
        import PIL.Image

        with PIL.Image.open(io.BytesIO(self.webp)) as image:
            decoded: PIL.Image.Image = image.convert("RGB")
        return decoded

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle and copy with a plain dict, because a read-only view of one cannot be pickled."""
        return _rebuild, (self.id, self.emoji, dict(self.names), self.category, self.webp)


Gallery = tuple[GalleryImage, ...]
"""All images, in the Unicode order of their emoji."""


def _rebuild(id: str, emoji: str, names: dict[str, str], category: str, webp: bytes) -> GalleryImage:
    return GalleryImage(id, emoji, MappingProxyType(names), category, webp)


@functools.cache
def gallery() -> Gallery:
    """The image gallery, read once."""
    # One file to install instead of 1,429 small ones.
    with zipfile.ZipFile(GALLERY_FILE) as archive:
        rows = json.loads(archive.read("index.json"))
        return tuple(
            _rebuild(row["id"], row["emoji"], row["names"], row["category"], archive.read(f"{row['id']}.webp"))
            for row in rows
        )
