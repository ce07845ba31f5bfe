"""Images as a backend sees them: nothing is read before it is asked for."""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, BinaryIO, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigurationError, ImageError
from .decode import as_rgb, failure_reason, open_header, readable_formats, refuse_unusable, upright_size
from .formats import HEAD_BYTES, describe_unreadable, media_type
from .gif import frame_extents
from .metadata import without_metadata
from .rendering import PUBLISHED, Rendering
from .tiff import raw_reason, read_numbers

if TYPE_CHECKING:
    import PIL.Image

T = TypeVar("T")

UNREAD = "an image"
"""Label of bytes that nobody has read yet."""


class PixelBudget:
    """How many bytes of decoded images may be held at once. Thread-safe."""

    def __init__(self, limit_bytes: int) -> None:
        self._left = limit_bytes
        self._lock = threading.Lock()

    def take(self, size_bytes: int) -> bool:
        """Reserve that many bytes, or nothing if there is no room."""
        with self._lock:
            fits = size_bytes <= self._left
            self._left -= size_bytes if fits else 0
            return fits

    def give(self, size_bytes: int) -> None:
        """Free what was reserved."""
        with self._lock:
            self._left += size_bytes


class InputImage:
    """Base of both kinds of `backends.base.ImageSource`: remembers the last failure, and names itself in errors."""

    url: str | None = None
    address: str | None = None
    """The URL that it has to be fetched from before anything is known of it, None for an image that is here."""
    failure: ImageError | None = None
    """The last error raised here, so that the caller's index can be found wherever it surfaces."""

    def __init__(self, *, rendering: Rendering, max_pixels: int) -> None:
        self._rendering = rendering
        self._max_pixels = max_pixels
        self.losses: dict[str, str] = {}
        """What of `rendering.LOSSES` its pixels have lost, as far as they were decoded, and its label then."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.label}>"

    @property
    def label(self) -> str:
        """Short name for messages."""
        raise NotImplementedError

    @property
    def is_recolored(self) -> bool:
        """Whether its pixels may differ from what a service would make of its file."""
        return not self._rendering.is_published

    def size(self) -> tuple[int, int]:
        """Width and height in pixels as `open()` gives them. Raises `ImageError`."""
        raise NotImplementedError

    def open(self, *, min_side: int | None = None) -> PIL.Image.Image:
        """The decoded RGB image, as the encoder's rendering says. Raises `ImageError`.

        With `min_side` a JPEG is decoded at the smallest of its full, half, quarter or eighth size of which no side is
        shorter than `min_side` pixels.
        """
        with self._naming_errors():
            return self._decode(min_side)

    def pixel_digest(self, *, hold: PixelBudget | None = None) -> str:
        """SHA-256 of size and RGB pixels, in hex: equal for equal images, however they were given.

        If `hold` has room the decoded image is kept for `open()` until it is released.
        """
        image = self.open()
        digest = hashlib.sha256(b"RGB %d %d\n" % image.size)  # equal bytes may be images of different shapes
        digest.update(image.tobytes())
        if hold is not None:
            self._hold(image, hold)
        return digest.hexdigest()

    def file_digest(self) -> str | None:
        """SHA-256 of the encoded file, in hex; None for pixels that came without one."""
        return None

    def content_digest(self) -> str:
        """What tells its content from another's: the digest of its file, or else of its pixels. Raises `ImageError`."""
        return self.file_digest() or f"pixels-{self.pixel_digest()}"

    def release(self) -> None:
        """Forget bytes that were kept for this job."""

    def _hold(self, image: PIL.Image.Image, budget: PixelBudget) -> None:
        """Keep the decoded image, where it would have to be decoded again."""

    def _decode(self, min_side: int | None) -> PIL.Image.Image:
        raise NotImplementedError

    @contextmanager
    def _naming_errors(self) -> Iterator[None]:
        try:
            yield
        except ImageError as error:
            self.failure = error
            raise
        except (MemoryError, ConfigurationError):  # neither is the image's fault
            raise
        except Exception as error:  # decoders raise anything at all on bad data
            self.failure = ImageError(f"{self.label}: {failure_reason(error)}")
            raise self.failure from error

    def _lose(self, kind: str) -> None:
        self.losses[kind] = self.label

    def _named(self, error: ImageError) -> ImageError:
        """An error of what does not know the image's name."""
        return ImageError(f"{self.label}: {error.message}")

    def _check_size(self, size: tuple[int, int]) -> tuple[int, int]:
        width, height = size
        if width < 1 or height < 1:
            raise ImageError(f"{self.label}: an image of {width} x {height} pixels has nothing to embed")
        if width * height > self._max_pixels:
            raise ImageError(
                f"{self.label}: {width} x {height} pixels are more than the {self._max_pixels:,} that the source "
                "policy allows (max_pixels)"
            )
        return width, height


class EncodedImage(InputImage):
    """An image that exists as an encoded file: a path, a URL, bytes, a data URI, a file object."""

    def __init__(
        self,
        source: Callable[[], BinaryIO],
        *,
        name: str | None = None,
        url: str | None = None,
        address: str | None = None,
        keep: bool = False,
        rendering: Rendering = PUBLISHED,
        max_pixels: int,
    ) -> None:
        """`source` opens the file; with `keep` its bytes are read once and kept until `release()`."""
        super().__init__(rendering=rendering, max_pixels=max_pixels)
        self._source = source
        self._name = name
        self.url = url
        self.address = address
        self._keep = keep
        self._kept: bytes | None = None
        self._lock = threading.Lock()
        self._held: tuple[PIL.Image.Image, PixelBudget] | None = None

    @property
    def label(self) -> str:
        """The path, the URL without its query, or type, size and digest of bytes."""
        if self._name is not None:
            return self._name
        return describe_bytes(self._kept) if self._kept is not None else UNREAD

    def read(self) -> bytes:
        """The encoded file as it was given. Raises `ImageError`."""
        with self._naming_errors(), self._stream() as stream:
            return stream.read()

    def size(self) -> tuple[int, int]:
        """Width and height in pixels as `open()` gives them, from the header alone. Raises `ImageError`."""
        with self._naming_errors():
            return self._with_image(partial(upright_size, upright=self._rendering.upright))

    def examine(self, look: Callable[[PIL.Image.Image], T]) -> T:
        """What `look` makes of the opened image, of which no pixel is decoded yet. Raises `ImageError`."""
        with self._naming_errors():
            return self._with_image(look)

    def file_digest(self) -> str:
        """SHA-256 of the encoded file, in hex. Raises `ImageError`."""
        digest = hashlib.sha256()
        with self._naming_errors(), self._stream() as stream:
            while block := stream.read(2**20):
                digest.update(block)
        return digest.hexdigest()

    def release(self) -> None:
        """Forget bytes and pixels that were kept for this job."""
        self._kept = None
        held, self._held = self._held, None
        if held is not None:
            held[1].give(_pixel_bytes(held[0]))

    def _hold(self, image: PIL.Image.Image, budget: PixelBudget) -> None:
        if budget.take(_pixel_bytes(image)):
            self._held = image, budget

    def _stream(self) -> BinaryIO:
        if not self._keep:
            return self._source()
        with self._lock:  # a source may be a download, which the first of several threads does for all
            if self._kept is None:
                with self._source() as stream:
                    self._kept = stream.read()
            return io.BytesIO(self._kept)

    def _decode(self, min_side: int | None) -> PIL.Image.Image:
        held = self._held
        # What is held has full size; with `min_side` it would give other pixels than without a cache.
        if held is not None and min_side is None:
            return held[0]
        return self._with_image(partial(self._to_rgb, min_side))

    def _to_rgb(self, min_side: int | None, image: PIL.Image.Image) -> PIL.Image.Image:
        if min_side is not None and image.format in ("JPEG", "MPO"):  # of a HEIC it would take a thumbnail
            image.draft(None, (min_side, min_side))
        rgb = as_rgb(image, self._rendering, note=self._lose)
        self._check_size(rgb.size)  # some decoders learn the size only now
        return rgb

    def _with_image(self, use: Callable[[PIL.Image.Image], T]) -> T:
        """What `use` makes of the opened image. Raises what decoders raise."""
        with self._stream() as stream:
            try:
                return self._use(stream, use)
            except (ImageError, MemoryError):
                raise
            except Exception as error:
                return self._use_stripped(stream, use, error)

    def _use_stripped(self, stream: BinaryIO, use: Callable[[PIL.Image.Image], T], error: Exception) -> T:
        """The same for the file without its metadata. Raises `error`, or what it means, if that was not to blame."""
        import PIL

        stream.seek(0)
        data = stream.read()
        stripped = without_metadata(data)
        if stripped is not None:
            try:
                return self._use(io.BytesIO(stripped), use)
            except (ImageError, MemoryError):
                raise
            except Exception:  # the pixels are broken as well
                stripped = None
        if isinstance(error, PIL.UnidentifiedImageError):
            reason = raw_reason(read_numbers(data)) or describe_unreadable(
                data[:HEAD_BYTES], readable=readable_formats()
            )
            raise ImageError(f"{self.label}: {reason}") from error
        raise error

    def _check_claim(self, stream: BinaryIO) -> None:
        """Refuse a GIF whose first frame is too large: Pillow makes room for it before it tells the size."""
        if stream.read(4) == b"GIF8":
            stream.seek(0)
            sizes = list(islice(frame_extents(stream.read()), 2))
            if sizes:
                self._check_size((max(width for width, _ in sizes), max(height for _, height in sizes)))
        stream.seek(0)

    def _use(self, stream: BinaryIO, use: Callable[[PIL.Image.Image], T]) -> T:
        self._check_claim(stream)
        try:
            image = open_header(stream)
        except ImageError as error:
            raise self._named(error) from error
        with image:
            self._check_size(image.size)
            return use(image)


class PixelImage(InputImage):
    """An image that came as pixels: a PIL image or an `(H, W, 3)` uint8 array."""

    def __init__(
        self, pixels: PIL.Image.Image | NDArray[np.uint8], *, rendering: Rendering = PUBLISHED, max_pixels: int
    ) -> None:
        super().__init__(rendering=rendering, max_pixels=max_pixels)
        self._pixels = pixels

    @property
    def label(self) -> str:
        """What it is and how large."""
        if isinstance(self._pixels, np.ndarray):
            return f"array {self._pixels.shape[1]} x {self._pixels.shape[0]}"
        return f"PIL image {self._pixels.width} x {self._pixels.height} {self._pixels.mode}"

    def read(self) -> bytes:
        """The image of `open()` as PNG."""
        buffer = io.BytesIO()
        self.open().save(buffer, format="PNG", compress_level=1)
        return buffer.getvalue()

    def size(self) -> tuple[int, int]:
        """Width and height in pixels as `open()` gives them. Raises `ImageError`."""
        with self._naming_errors():
            if isinstance(self._pixels, np.ndarray):
                return self._check_size((self._pixels.shape[1], self._pixels.shape[0]))
            return self._check_size(upright_size(self._pixels, upright=self._rendering.upright))

    def _decode(self, _min_side: int | None) -> PIL.Image.Image:
        import PIL.Image

        if isinstance(self._pixels, np.ndarray):
            self._check_size((self._pixels.shape[1], self._pixels.shape[0]))
            return PIL.Image.fromarray(np.ascontiguousarray(self._pixels))
        self._check_size(self._pixels.size)
        try:
            refuse_unusable(self._pixels)
        except ImageError as error:
            raise self._named(error) from error
        return as_rgb(self._pixels, self._rendering, borrowed=True, note=self._lose)


def _pixel_bytes(image: PIL.Image.Image) -> int:
    return image.width * image.height * 3


def describe_bytes(data: bytes) -> str:
    """`image/png 12 kB sha256:ab12cd34`: enough to find an image again without showing it."""
    kind = media_type(data) or "unknown data"
    size = f"{len(data):,} B" if len(data) < 1000 else f"{len(data) / 1000:,.0f} kB"
    return f"{kind} {size} sha256:{hashlib.sha256(data).hexdigest()[:8]}"
