"""What becomes of transparency, of more than 8 bits and of empty first frames on the way to RGB.

The published preprocessing drops the first, clips the second and takes the third as it is, so that different images get
equal pixels. That stays the default, for equal vectors; `Rendering` says otherwise, and `note` tells what was lost.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice, takewhile
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigurationError
from ..settings import require_choice
from .gif import frame_extents

if TYPE_CHECKING:
    import PIL.Image

Color = tuple[int, int, int]
"""Red, green and blue, 0 to 255."""

HIGH_BIT_DEPTHS = ("clip", "scale")

TRANSPARENCY = "transparency"
HIGH_BIT_DEPTH = "high bit depth"
EMPTY_FRAME = "empty first frame"

LOSSES = {
    TRANSPARENCY: "its transparent pixels show whatever colour lies under them, often black, as in the published "
    'preprocessing; background="white" puts a colour of your choice under them',
    HIGH_BIT_DEPTH: "its values beyond 0 to 255 become white or black, as in the published preprocessing; "
    'high_bit_depth="scale" scales them to 8 bits',
    EMPTY_FRAME: "its first frame is empty, and the published preprocessing looks at no other; "
    'background="white" takes the first frame that shows something',
}
"""What is lost by default, and the option that keeps it."""

TRANSPARENT_SHARE = 0.01
"""Share of transparent pixels from which their loss is worth a warning: more than the rounded corners of a window."""

MAX_FRAMES, MAX_FRAME_PIXELS = 64, 200_000_000
"""Frames, and pixels of frames, that are looked at for one that is not empty."""

Note = Callable[[str], None]
"""Told each key of `LOSSES` that applies."""


@dataclass(frozen=True, kw_only=True)
class Rendering:
    """How an image becomes RGB pixels."""

    upright: bool = True
    """Whether it is turned by its EXIF orientation."""
    background: Color | None = None
    """What is put under transparent pixels; None = their transparency is dropped."""
    high_bit_depth: str = "clip"
    """What becomes of grey values beyond 8 bits: `clip` or `scale`."""

    @property
    def is_published(self) -> bool:
        """Whether colours are those of the published preprocessing."""
        return self.background is None and self.high_bit_depth == "clip"

    @property
    def key(self) -> str:
        """What tells its pixels from those of another rendering, for cache keys."""
        return ("upright" if self.upright else "stored") + ("" if self.is_published else f"-{self.colors}")

    @property
    def colors(self) -> str:
        """The part that two collections must share to be compared; empty for the published preprocessing."""
        under = "" if self.background is None else "#{:02x}{:02x}{:02x}".format(*self.background)
        return " ".join(filter(None, (under, "scale" if self.high_bit_depth == "scale" else "")))


PUBLISHED = Rendering()
"""The default: the colours of the published preprocessing, upright."""


def make_rendering(*, exif_orientation: bool = True, background: Any = None, high_bit_depth: str = "clip") -> Rendering:
    """The rendering that these options of the encoder ask for. Raises `ConfigurationError`."""
    require_choice("high_bit_depth", high_bit_depth, HIGH_BIT_DEPTHS)
    return Rendering(upright=exif_orientation, background=_parse_color(background), high_bit_depth=high_bit_depth)


def parse_colors(colors: str) -> dict[str, str]:
    """The options that `Rendering.colors` describes."""
    words = colors.split()
    options = {"high_bit_depth": "scale"} if "scale" in words else {}
    return options | {"background": words[0]} if colors.startswith("#") else options


def ignore_loss(_: str) -> None:
    """A `Note` for nobody."""


def _parse_color(given: Any) -> Color | None:
    """The colour that the option `background` names. Raises `ConfigurationError`."""
    if given is None:
        return None
    if isinstance(given, str):
        from PIL import ImageColor

        try:
            return ImageColor.getrgb(given)[:3]
        except ValueError as error:
            raise ConfigurationError(_NO_COLOR.format(given)) from error
    try:
        red, green, blue = map(int, given)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(_NO_COLOR.format(given)) from error
    if not all(0 <= level <= 255 for level in (red, green, blue)):
        raise ConfigurationError(_NO_COLOR.format(given))
    return red, green, blue


_NO_COLOR = 'background must be a colour such as "white", "#ffffff" or (255, 255, 255), or None, not {!r:.60}'


def shown_frame(image: PIL.Image.Image, rendering: Rendering, note: Note) -> PIL.Image.Image:
    """`image`, loaded, at its first frame; with a background at the first that is not empty."""
    if not _starts_empty(image):
        return image
    if rendering.background is None:
        note(EMPTY_FRAME)
    first = image.copy()
    for number in range(1, _frames_to_try(image) if rendering.background is not None else 0):
        if not _go_to(image, number):
            break
        if not _is_empty(image):
            return image
    return first


def _frames_to_try(image: Any) -> int:
    """Frames that may be looked at; none of a GIF from the first that would enlarge the image."""
    frames: int = min(MAX_FRAMES, MAX_FRAME_PIXELS // (image.width * image.height))
    if image.format != "GIF":
        return frames
    stream = image.fp or image._fp  # where Pillow keeps the file for the frames to come
    position = stream.tell()
    stream.seek(0)
    extents = list(islice(frame_extents(stream.read()), 1, frames + 1))
    stream.seek(position)
    return sum(1 for _ in takewhile(lambda edge: edge[0] <= image.width and edge[1] <= image.height, extents))


def _starts_empty(image: Any) -> bool:
    """Whether it is an animation whose first frame is of one colour throughout, or wholly transparent."""
    # To know whether there is a second frame a GIF has to read on, others have said it already.
    if image.format not in ("GIF", "PNG", "WEBP", "AVIF") or (image.format != "GIF" and not image.is_animated):
        return False
    if not _is_empty(image):
        return False
    try:
        return bool(image.is_animated)
    except Exception:  # what follows the first frame is broken, which does not make this one so
        return False


def _is_empty(image: PIL.Image.Image) -> bool:
    bands: Any = image.getextrema()
    bands = bands if isinstance(bands[0], tuple) else (bands,)
    invisible = image.mode in ("RGBA", "LA") and bands[-1][1] == 0
    return invisible or all(low == high for low, high in bands)


def _go_to(image: PIL.Image.Image, number: int) -> bool:
    try:
        image.seek(number)
        image.load()
    except Exception:  # the end, or a broken frame
        return False
    return True


def flatten(image: PIL.Image.Image, rendering: Rendering, note: Note) -> PIL.Image.Image:
    """A loaded image as RGB; one that is RGB and opaque as it is, not as a copy."""
    # A palette or grey level may be declared transparent beside the pixels.
    declared = image.info.get("transparency")
    if image.mode in _DEEP_MODES:
        image = _to_8_bits(image, rendering, note)
    elif image.mode in _ALPHA_MODES or declared is not None:
        image = _drop_alpha(image, rendering, note)
    # `convert` would copy an RGB image: 36 MB for 12 megapixels.
    return image if image.mode == "RGB" else image.convert("RGB")


_ALPHA_MODES = ("RGBA", "LA", "PA", "RGBa", "La")
_DEEP_MODES = ("I;16", "I;16L", "I;16B", "I", "F")
_STRIP_ROWS = 256
"""Rows that are scaled at a time, so that no second array of floats is as large as the image."""


def _drop_alpha(image: PIL.Image.Image, rendering: Rendering, note: Note) -> PIL.Image.Image:
    """Put the background under an image, or drop its transparency."""
    import PIL.Image

    plain = _without_declaration(image)
    try:
        full = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
    except (ValueError, TypeError, OSError):  # the entry does not fit the mode, so it means nothing
        return plain
    alpha = full.getchannel("A")
    if rendering.background is None:
        if sum(alpha.histogram()[:128]) >= TRANSPARENT_SHARE * image.width * image.height:
            note(TRANSPARENCY)
        return plain
    canvas = PIL.Image.new("RGB", full.size, rendering.background)
    canvas.paste(full.convert("RGB"), mask=alpha)
    return canvas


def _without_declaration(image: PIL.Image.Image) -> PIL.Image.Image:
    # The conversion drops it, as it should, but would warn, and fails where the entry does not fit the mode.
    if "transparency" not in image.info or image.mode == "RGB":
        return image
    copied = image.copy()  # it may be the caller's
    del copied.info["transparency"]
    return copied


def _to_8_bits(image: PIL.Image.Image, rendering: Rendering, note: Note) -> PIL.Image.Image:
    """Grey of 16 or 32 bits or of floats: scaled to `L`, or as it is for the conversion that clips it."""
    import PIL.Image

    plain, transparent = _without_declaration(image), image.info.get("transparency")
    values = np.asarray(image)
    low, high = _range(values)
    if rendering.high_bit_depth != "scale":
        if low < 0 or high > 255 or (image.mode == "F" and 0 < high <= 1):
            note(HIGH_BIT_DEPTH)
        return plain
    scaled = PIL.Image.fromarray(_scale(values, *_span(values, low, high)))
    if rendering.background is not None and isinstance(transparent, int):
        mask = PIL.Image.fromarray(values == transparent)
        scaled = scaled.convert("RGB")
        scaled.paste(rendering.background, mask=mask)
    return scaled


def _range(values: NDArray[Any]) -> tuple[float, float]:
    """Least and largest finite value; 0 and 0 where there is none."""
    if values.dtype.kind == "f":
        finite = values[np.isfinite(values)]
        return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    return float(values.min()), float(values.max())


def _span(values: NDArray[Any], low: float, high: float) -> tuple[float, float]:
    """The values that become black and white: those of the kind of pixel, as far as it can be told."""
    if values.dtype.kind == "u" and values.dtype.itemsize == 2:
        return 0, 65_535
    if low >= 0 and high <= 1 and values.dtype.kind == "f":
        return 0, 1
    if low >= 0 and high <= 65_535:
        return 0, 255 if high <= 255 else 65_535
    return low, max(high, low + 1e-9)  # measurements in a unit of their own


def _scale(values: NDArray[Any], black: float, white: float) -> NDArray[np.uint8]:
    scaled = np.empty(values.shape, np.uint8)
    for top in range(0, len(values), _STRIP_ROWS):
        strip = np.nan_to_num(values[top : top + _STRIP_ROWS].astype(np.float64), nan=black)
        levels = (np.clip(strip, black, white) - black) * (255 / (white - black))
        scaled[top : top + _STRIP_ROWS] = levels.round().astype(np.uint8)
    return scaled
