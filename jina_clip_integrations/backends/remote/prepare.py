"""Preparing items to travel: images shrunk to the one tile that the model sees, texts quoted, costs estimated."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...catalog import JINA_CLIP_V2, ModelSpec
from ...errors import ImageError, InputError
from ...images.formats import media_type
from ...images.geometry import resize_and_crop
from ...images.png import to_png
from ...tokens import image_tokens, max_text_tokens, text_tokens
from ..base import ImageSource
from .dialects import Dialect
from .requests import EncodedItem

if TYPE_CHECKING:
    from PIL import Image

GEOMETRY = {True: "shortest", "crop": "shortest", "squash": "squash", "pad": "longest"}
"""`resize_images` to the name of the geometry in `images`."""

UNKNOWN_MEDIA_TYPE = "application/octet-stream"
"""What bytes are called that no signature is known of (RFC 2046, section 4.5.1)."""


@dataclass(frozen=True, kw_only=True)
class ItemEncoder:
    """How items of one backend are made ready."""

    dialect: Dialect
    spec: ModelSpec | None
    resize_images: bool | str
    max_image_bytes: int
    measure_urls: bool = False
    """Whether to fetch an image that the service will fetch, to know beforehand what it costs."""

    @property
    def ruler(self) -> ModelSpec:
        """The model by which costs are estimated."""
        return self.spec or JINA_CLIP_V2

    def text(self, position: int, text: str, task: str | None) -> EncodedItem:
        """A text with its instruction, if the server adds none. Raises `InputError` for broken Unicode."""
        try:
            item = self.dialect.text_item(self.dialect.instruct(text, task, self.spec)).encode()
        except UnicodeEncodeError as error:
            raise InputError("the text holds an unpaired surrogate and is no valid Unicode; decode it again") from error
        instruction = self.ruler.tasks.get(task, "") if task is not None else ""
        whole, ruler = instruction + text, self.ruler
        tokens, most = text_tokens(whole, ruler), max_text_tokens(whole, ruler)
        return EncodedItem(position, item, tokens, not text.strip(), tokens >= ruler.max_length, most)

    def image(self, position: int, image: ImageSource) -> EncodedItem:
        """An image, by URL or as base64. Raises `ImageError`."""
        if not self.resize_images and image.url is not None:
            item = self.dialect.url_item(image.url)
            if item is not None:
                size = image.size() if self.measure_urls else (1, 1)
                return EncodedItem(position, item.encode(), image_tokens(size, self.ruler))
        data, size = self._file(image)
        encoded = base64.b64encode(data).decode("ascii")
        if len(encoded) > self.max_image_bytes:
            raise ImageError(
                f"{image.label}: {len(encoded):,} bytes of base64 are more than the {self.max_image_bytes:,} that "
                "the service takes (max_image_bytes); leave resize_images on"
            )
        item = self.dialect.image_item(encoded, media_type(data) or UNKNOWN_MEDIA_TYPE)
        return EncodedItem(position, item.encode(), image_tokens(size, self.ruler))

    def _file(self, source: ImageSource) -> tuple[bytes, tuple[int, int]]:
        """The file to send and its size in pixels. Without a known model there is no geometry: as it is."""
        if self.resize_images and self.spec is not None:
            image = shrink(source.open(), self.spec.image_size, self.resize_images)
            return as_png(image), image.size
        data = source.read()
        if not data:
            raise ImageError(f"{source.label}: no bytes")
        return data, _size_of(data, source)


def _size_of(data: bytes, source: ImageSource) -> tuple[int, int]:
    """Width and height by the bytes at hand, so that nothing is fetched twice. Raises `ImageError`."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data)) as image:
            size: tuple[int, int] = image.size
            return size
    except Exception:  # the source knows better what is wrong with it
        return source.size()


def shrink(image: Image.Image, size: int, mode: bool | str) -> Image.Image:
    """An RGB image as one tile: the model's own square, so that the server has nothing left to resample.

    An image that fits a tile already is never enlarged: with the published geometry it goes as it is.
    """
    from PIL import Image

    geometry = GEOMETRY[mode]
    if max(image.size) <= size:
        if geometry == "shortest":
            return image
        size = max(image.size)
    return Image.fromarray(resize_and_crop(image, size, mode=geometry))


def as_png(image: Image.Image) -> bytes:
    """`image` without loss."""
    return to_png(np.asarray(image))
