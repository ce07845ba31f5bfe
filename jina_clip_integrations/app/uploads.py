"""Images that were dropped, pasted or chosen to search with, kept in memory so that an address can name them."""

from __future__ import annotations

import hashlib
import io
import threading
from collections import OrderedDict
from dataclasses import dataclass

from ..images.encoded import EncodedImage
from ..images.sources import MAX_PIXELS
from ..server.errors import RequestError

PREVIEW_PIXELS = 256
PREVIEW_TYPE = "image/webp"
ID_CHARACTERS = 32


@dataclass(frozen=True)
class Upload:
    """One image: the file as it came, and a small one to show."""

    content: bytes
    preview: bytes


class Uploads:
    """The images of this process, at most `limit_bytes` of them. Thread-safe."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._kept: OrderedDict[str, Upload] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def add(self, content: bytes) -> str:
        """Keep an image and return its id, the same one for the same file. Raises `ImageError` for what is none."""
        upload = Upload(content, make_preview(content))
        # Derived from the content, so that an address stays good when the image is dropped in again after a restart.
        key = hashlib.sha256(content).hexdigest()[:ID_CHARACTERS]
        with self._lock:
            if key not in self._kept:
                self._kept[key] = upload
                self._bytes += _size(upload)
            self._kept.move_to_end(key)
            while self._bytes > self._limit_bytes and len(self._kept) > 1:
                self._bytes -= _size(self._kept.popitem(last=False)[1])
        return key

    def get(self, key: str) -> Upload:
        """An image by its id. Raises `RequestError` 404 for one that is not here any more."""
        with self._lock:
            upload = self._kept.get(key)
            if upload is None:
                raise RequestError(404, "UPLOAD_GONE", "The image to search with is no longer here; drop it in again")
            self._kept.move_to_end(key)
            return upload


def make_preview(content: bytes) -> bytes:
    """A WebP of at most `PREVIEW_PIXELS` a side. Raises `ImageError`."""
    # The header is looked at first, so that an image of 300 megapixels is refused before it is decoded.
    image = EncodedImage(lambda: io.BytesIO(content), max_pixels=MAX_PIXELS).open(min_side=PREVIEW_PIXELS).copy()
    image.thumbnail((PREVIEW_PIXELS, PREVIEW_PIXELS))
    buffer = io.BytesIO()
    image.save(buffer, format="WEBP", quality=80)
    return buffer.getvalue()


def _size(upload: Upload) -> int:
    return len(upload.content) + len(upload.preview)
