"""An image in the form in which chat models take it."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any, cast

from ..backends.base import ImageSource
from ..images.encoded import InputImage
from ..images.sources import SourcePolicy
from ..inputs import InputParser

CHAT_TYPES = ("image/png", "image/jpeg", "image/webp", "image/gif")
"""Image types that chat models take; others are sent as PNG."""


@dataclass(frozen=True)
class ChatImage:
    """Either an address that the model's provider fetches, or the encoded image and its type."""

    url: str | None = None
    data: bytes | None = None
    mime_type: str | None = None


def chat_image(image: Any, sources: SourcePolicy | None) -> ChatImage:
    """The image for a chat model. An http(s) URL stays a URL, anything else is read.

    Without `sources` no local file is read, because what a store holds may have been written by a stranger.

    Raises:
        ImageError: it cannot be read, or `sources` does not allow it.
    """
    policy = sources or SourcePolicy.agent()
    if isinstance(image, str) and image.lower().startswith(("http://", "https://")):
        policy.check_url(image)
        return ChatImage(url=image)
    return read_chat_image(InputParser(sources=policy).image(image))


def read_chat_image(image: InputImage) -> ChatImage:
    """The image's file, or a PNG of it where chat models do not take its type. Raises `ImageError`."""
    import PIL.Image

    # Decoded even if the file is sent as it is: only then is it known to be an image, and one small enough.
    upright = image.open()
    data = cast(ImageSource, image).read()
    with PIL.Image.open(io.BytesIO(data)) as stored:
        mime_type = stored.get_format_mimetype()
    if mime_type not in CHAT_TYPES:
        buffer = io.BytesIO()
        upright.save(buffer, format="PNG")
        data, mime_type = buffer.getvalue(), "image/png"
    return ChatImage(data=data, mime_type=mime_type)
