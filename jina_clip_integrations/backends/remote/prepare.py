"""Encoding items: images shrunk to the one tile that the model sees, texts quoted as JSON, costs estimated."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

import numpy as np
import orjson

from ...catalog import JINA_CLIP_V2, ModelSpec
from ...errors import ImageError
from ...images.formats import media_type
from ...images.geometry import resize_and_crop
from ...images.png import to_png
from ...inputs import check_unicode
from ...tokens import image_tokens, max_text_tokens, text_tokens
from ..base import ImageSource
from .dialects import PLACEHOLDER, Dialect
from .requests import EncodedItem

if TYPE_CHECKING:
    from PIL import Image

GEOMETRY = {True: "shortest", "crop": "shortest", "squash": "squash", "pad": "longest"}
"""`resize_images` to the name of the geometry in `images`."""

UNKNOWN_MEDIA_TYPE = "application/octet-stream"
"""Media type of bytes without a known signature (RFC 2046, section 4.5.1)."""


class ItemEncoder:
    """Encodes the items of one backend. Thread-safe."""

    def __init__(
        self,
        *,
        dialect: Dialect,
        spec: ModelSpec | None,
        resize_images: bool | str,
        max_image_bytes: int,
        measure_urls: bool = False,
    ) -> None:
        """`measure_urls` fetches an image that the service will fetch, to know beforehand what it costs."""
        self._dialect = dialect
        self._spec = spec
        self._pricing = spec or JINA_CLIP_V2
        """The model by which costs are estimated."""
        self._resize_images = resize_images
        self._max_image_bytes = max_image_bytes
        self._measure_urls = measure_urls
        # The form is taken apart once: there are many texts, and filling it in would cost more than quoting them.
        self._text_start, self._text_end = (part.encode() for part in dialect.text.split(PLACEHOLDER))
        self._instructions: dict[str | None, tuple[str, str]] = {None: ("", "")}

    def text(self, position: int, text: str, task: str | None) -> EncodedItem:
        """A text with its instruction, if the server adds none. Raises `InputError` for broken Unicode."""
        sent, counted = self._instructions.get(task) or self._learn_instruction(task)
        value = self._dialect.guard(sent + text) if self._dialect.guesses_strings else sent + text
        try:
            quoted = orjson.dumps(value)
        except TypeError:  # what orjson raises for half of a surrogate pair
            check_unicode(text)
            raise
        whole, pricing = counted + text, self._pricing
        tokens = text_tokens(whole, pricing)
        return EncodedItem(
            position,
            self._text_start + quoted + self._text_end,
            tokens,
            not text.strip(),
            tokens >= pricing.max_length,
            max_text_tokens(whole, pricing),
        )

    def _learn_instruction(self, task: str | None) -> tuple[str, str]:
        """What is sent in front of a text of `task`, and what is counted: a server that adds it bills it too."""
        counted = self._pricing.tasks.get(task, "") if task is not None else ""
        self._instructions[task] = self._dialect.instruct("", task, self._spec), counted
        return self._instructions[task]

    def image(self, position: int, image: ImageSource) -> EncodedItem:
        """An image, by URL or as base64. Raises `ImageError`."""
        if not self._resize_images and image.url is not None:
            item = self._dialect.url_item(image.url)
            if item is not None:  # otherwise this server cannot fetch
                size = image.size() if self._measure_urls else (1, 1)
                return EncodedItem(position, item.encode(), image_tokens(size, self._pricing))
        data, size = self._file(image)
        # The API's figure may be meant of the file or of its base64; the latter is the safe reading.
        encoded = base64.b64encode(data).decode("ascii")
        if len(encoded) > self._max_image_bytes:
            raise ImageError(
                f"{image.label}: {len(encoded):,} bytes of base64 are more than the {self._max_image_bytes:,} that "
                "the service takes (max_image_bytes); leave resize_images on"
            )
        item = self._dialect.image_item(encoded, media_type(data) or UNKNOWN_MEDIA_TYPE)
        return EncodedItem(position, item.encode(), image_tokens(size, self._pricing))

    def _file(self, source: ImageSource) -> tuple[bytes, tuple[int, int]]:
        """The file to send and its size in pixels. For an unknown model, whose geometry is unknown, as it is."""
        if self._resize_images and self._spec is not None:
            image = shrink(source.open(), self._spec.image_size, self._resize_images)
            return as_png(image), image.size
        if getattr(source, "is_recolored", False):  # the service would make other pixels of the file
            image = source.open()
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
    """`image` as PNG: a lossy format would change the vector."""
    return to_png(np.asarray(image))
