"""From encoded bytes to RGB pixels, as the published models do it: plain `convert("RGB")` of the first frame.

What that loses, and what may be asked for instead, is in `rendering`.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, BinaryIO

from ..concurrency.locks import ForkSafeLock
from ..errors import ImageError
from .objects import lock_of
from .rendering import Note, Rendering, flatten, ignore_loss, shown_frame
from .tiff import refuse_raw

if TYPE_CHECKING:
    import PIL.Image

ORIENTATION_TAG = 0x0112
"""The EXIF tag that says how the camera was held."""

REFUSED_FORMATS = frozenset({"EPS"})
"""What Pillow decodes by starting another program (PostScript, through Ghostscript): never for an image of a user."""

_TRANSPOSES = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}
_FILTERS_LOCK = ForkSafeLock()  # Python's warning filters are global


_FORMATS_LOCK = ForkSafeLock()  # Pillow's registry of formats is global too
_TRIED_PLUGINS: list[bool] = []


def load_formats() -> None:
    """Have Pillow know all its formats, those of plug-ins too, and HEIC where `pillow-heif` is installed."""
    import PIL.Image

    with _FORMATS_LOCK:
        PIL.Image.init()
        if not _TRIED_PLUGINS:
            _TRIED_PLUGINS.append(True)
            _register_heif()


def _register_heif() -> None:
    import PIL.Image

    if "HEIF" in PIL.Image.OPEN:  # by the program itself, with options of its own
        return
    try:
        import pillow_heif
    except ImportError:
        return
    pillow_heif.register_heif_opener()  # without options, which would hold for the whole program


def readable_formats() -> Collection[str]:
    """Names of the formats that Pillow opens here."""
    import PIL.Image

    load_formats()
    return PIL.Image.OPEN.keys()


def refuse_unusable(image: PIL.Image.Image) -> None:
    """Raise `ImageError` for a caller's image that is closed before it was decoded, or a raw file's thumbnail."""
    refuse_raw(image)
    undecoded = hasattr(image, "fp") and getattr(image, "_im", None) is None
    closed = image.fp is None or getattr(image.fp, "closed", False) if undecoded else False  # type: ignore[attr-defined]
    if closed or type(getattr(image, "_im", None)).__name__ == "DeferredError":
        raise ImageError("it is closed; call its load() before closing it, or pass the path or the bytes")


def as_rgb(
    image: PIL.Image.Image, rendering: Rendering, *, borrowed: bool = False, note: Note = ignore_loss
) -> PIL.Image.Image:
    """`image` in RGB as `rendering` says; `note` is told what was lost.

    An image that is RGB and upright comes back as it is, not as a copy, so the result is for reading only. A `borrowed`
    image belongs to the caller: it is decoded, if that is still to be done, and otherwise left as it was.
    """
    import PIL.Image

    with lock_of(image) if borrowed else nullcontext():
        image.load()
    if not borrowed:  # of an image object the caller has chosen the frame
        image = shown_frame(image, rendering, note)
    transpose = _TRANSPOSES.get(_orientation(image)) if rendering.upright else None
    if transpose is not None:
        image = image.transpose(PIL.Image.Transpose[transpose])
    return flatten(image, rendering, note)


def open_header(stream: BinaryIO) -> PIL.Image.Image:
    """Open a file without decoding it. Raises what Pillow raises, and `ImageError` for a raw file.

    PostScript counts as no image.
    """
    import PIL.Image

    load_formats()
    with silence_pillow():
        image = PIL.Image.open(stream, formats=[name for name in PIL.Image.ID if name not in REFUSED_FORMATS])
    refuse_raw(image)
    return image


def upright_size(image: PIL.Image.Image, *, upright: bool) -> tuple[int, int]:
    """Width and height that `as_rgb` would give, without decoding. Pillow orients TIFF by itself."""
    width, height = image.size
    sideways = upright and image.format != "TIFF" and _orientation(image) >= 5
    return (height, width) if sideways else (width, height)


def _orientation(image: PIL.Image.Image) -> int:
    """EXIF orientation, 1 to 8; 1 where there is none or the EXIF data is broken."""
    try:
        with silence_pillow():
            value = image.getexif().get(ORIENTATION_TAG, 1)
    except Exception:  # broken metadata does not make a broken image
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


@contextmanager
def silence_pillow() -> Iterator[None]:
    """Suppress Pillow's warnings about odd files: limits of size and errors decide about those here."""
    with _FILTERS_LOCK, warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        yield


def failure_reason(error: Exception) -> str:
    """What went wrong with an image, in words that reveal nothing of its content."""
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, IsADirectoryError):
        return "a folder, not an image; pass the files in it"
    if isinstance(error, PermissionError):
        return "may not be read (permission denied)"
    if type(error).__name__ == "DecompressionBombError":
        return "more pixels than Pillow's limit against decompression bombs (PIL.Image.MAX_IMAGE_PIXELS)"
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be read ({error.strerror})"
    return f"broken or truncated ({type(error).__name__}: {_first_line(error)})"


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:120]
