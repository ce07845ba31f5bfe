"""The keywords of transformers' image processors: which steps of the preprocessing are taken, and with what values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigurationError, ImageError
from ..images.geometry import normalize_pixels
from ..settings import reject_unknown, require_choice

RESCALE_FACTOR = 1 / 255
"""What turns levels into numbers from 0 to 1."""

SETTING_NAMES: Mapping[str, str] = {"image_mean": "mean", "image_std": "std", "resample": "interpolation"}
"""The framework's names of settings that the published files call otherwise."""

SETTINGS = ("size", "mean", "std", "resize_mode", "interpolation", "fill_color")
"""Settings of `preprocessor_config.json`, which a call may change for itself."""

RESAMPLING = {2: "bilinear", 3: "bicubic"}
"""Pillow's numbers of the filters that the models know."""

WITHOUT_EFFECT = ("device", "disable_grouping", "image_seq_length", "return_metadata")
"""Keywords of the framework's own fast processors that change no value here."""

ALWAYS_OFF = ("do_pad", "pad_size", "default_to_square")
"""Steps that this preprocessing does not have."""

LAYOUTS = ("channels_first", "channels_last")


@dataclass(frozen=True, kw_only=True)
class ImageSteps:
    """The steps of one call. The defaults are the published preprocessing."""

    do_convert_rgb: bool = True
    do_resize: bool = True
    do_center_crop: bool = True
    do_rescale: bool = True
    rescale_factor: float = RESCALE_FACTOR
    do_normalize: bool = True
    data_format: str = "channels_first"
    input_data_format: str | None = None

    def __post_init__(self) -> None:
        if not self.do_convert_rgb:
            raise ConfigurationError("do_convert_rgb=False: the models see RGB; leave it out")
        if self.do_resize != self.do_center_crop:
            raise ConfigurationError(
                "do_resize and do_center_crop are one step here, which makes the model's square; turn off both for "
                "images that have its size already"
            )
        require_choice("data_format", self.data_format, LAYOUTS)
        if self.input_data_format is not None:
            require_choice("input_data_format", self.input_data_format, LAYOUTS)

    def check_size(self, pixels: NDArray[Any], size: int) -> None:
        """Raise `ImageError` unless an image that is not resized has the model's size, `(size, size, 3)`."""
        if pixels.shape != (size, size, 3):
            height, width = pixels.shape[:2]
            raise ImageError(f"do_resize=False, and the image is {width} x {height} instead of {size} x {size} pixels")

    def arrange(self, image: Any) -> tuple[Any, float]:
        """An array image with channels last and levels from 0 to 255, anything else as it is; and what divides levels.

        Floats are levels from 0 to 1 that somebody has rescaled already, for which `do_rescale=False` is meant. Raises
        `ImageError`.
        """
        divisor = 1 / self.rescale_factor if self.do_rescale else 1.0
        if not hasattr(image, "ndim"):  # a PIL image
            return image, divisor
        pixels = np.asarray(image)
        if self.input_data_format == "channels_first" and pixels.ndim == 3:
            pixels = pixels.transpose(1, 2, 0)
        if self.do_rescale or pixels.dtype.kind != "f":
            return pixels, divisor
        if not (pixels.size and pixels.min() >= 0 and pixels.max() <= 1):  # refuses NaN too
            raise ImageError("do_rescale=False takes an array of floats from 0 to 1")
        return np.rint(pixels * 255).astype(np.uint8), 255.0

    def finish(
        self, pixels: NDArray[np.uint8], divisor: float, *, mean: Sequence[float], std: Sequence[float]
    ) -> NDArray[np.float32]:
        """`(S, S, 3)` uint8 to float32 in the layout asked for."""
        if not self.do_normalize:
            mean, std = (0.0,) * 3, (1.0,) * 3
        values = normalize_pixels(pixels, mean, std, divisor=divisor)
        return np.moveaxis(values, 0, -1) if self.data_format == "channels_last" else values


STEP_NAMES = tuple(ImageSteps.__dataclass_fields__)

KEYWORDS = (*STEP_NAMES, *SETTINGS, *SETTING_NAMES, *WITHOUT_EFFECT, *ALWAYS_OFF, "crop_size")
"""Every keyword of a call but `return_tensors`."""


def split_keywords(given: Mapping[str, Any], *, size: int) -> tuple[ImageSteps, dict[str, Any]]:
    """The steps that the keywords of a call ask for, and the settings that they change. None means the default.

    Raises `ConfigurationError` for an unknown keyword, and for one that asks for what is not done here.
    """
    reject_unknown(given, KEYWORDS, where="JinaClipImageProcessor")
    asked = {name: value for name, value in given.items() if value is not None and name not in WITHOUT_EFFECT}
    for name in ALWAYS_OFF:
        if asked.pop(name, False):
            raise ConfigurationError(f'{name}: not a step of this preprocessing; resize_mode="longest" pads')
    settings = {SETTING_NAMES.get(name, name): value for name, value in asked.items() if name not in STEP_NAMES}
    if "size" in settings:
        settings["size"] = _side("size", settings["size"])
    if "crop_size" in settings and _side("crop_size", settings.pop("crop_size")) != settings.get("size", size):
        raise ConfigurationError("crop_size must be the size that images are resized to; pass size alone")
    if isinstance(settings.get("interpolation"), int):
        settings["interpolation"] = RESAMPLING.get(int(settings["interpolation"]), str(settings["interpolation"]))
    return ImageSteps(**{name: asked[name] for name in STEP_NAMES if name in asked}), settings


def _side(name: str, given: Any) -> Any:
    """The side of the square that one of the framework's size mappings means; anything else as it is."""
    if not isinstance(given, Mapping):
        return given
    sides = set(given.values())
    if len(sides) != 1 or not set(given) <= {"height", "width", "shortest_edge"}:
        raise ConfigurationError(f"{name}: {dict(given)} is no square; pass one number of pixels")
    return sides.pop()
