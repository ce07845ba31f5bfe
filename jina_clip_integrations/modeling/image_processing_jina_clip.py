"""From images to `pixel_values`, as `preprocessor_config.json` says: Pillow only, bit for bit as published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from transformers import BatchFeature
from transformers.image_processing_utils import BaseImageProcessor

from ..errors import ConfigurationError, ImageError
from ..images.geometry import IMAGE_MEAN, IMAGE_STD, check_resize, resize_and_crop
from .image_steps import SETTINGS, ImageSteps, split_keywords
from .text_settings import is_number, require_count

CHANNELS = (1, 3, 4)

MAX_SIZE = 8192
"""Largest side of the model's square, in pixels; v2 has 512."""


class ImageSettings(TypedDict, total=False):
    """The settings in a published `preprocessor_config.json`."""

    size: int
    mean: Sequence[float]
    std: Sequence[float]
    resize_mode: str
    interpolation: str
    fill_color: int | Sequence[int]


# Named as in the published files, which is how the auto classes find it; `JinaClipImageProcessor` is our spelling.
class JinaCLIPImageProcessor(BaseImageProcessor):  # type: ignore[misc]  # transformers is untyped here
    """Images to `pixel_values` `(n, 3, size, size)` float32: RGB, bicubic resize, centre crop, normalisation.

    The published preprocessing, step by step: EXIF orientation and transparency are ignored. Images are PIL images
    or uint8 arrays, `(H, W)`, `(H, W, C)` or `(C, H, W)` with C one of 1, 3, 4; opening paths, URLs and bytes is the
    encoder's work.

    Raises:
        ConfigurationError: a setting is unknown.
    """

    model_input_names = ("pixel_values",)
    valid_kwargs = ImageSettings

    def __init__(
        self,
        size: int = 224,
        mean: Sequence[float] = IMAGE_MEAN,
        std: Sequence[float] = IMAGE_STD,
        resize_mode: str = "shortest",
        interpolation: str = "bicubic",
        fill_color: int | Sequence[int] = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        require_count("size", size, most=MAX_SIZE)
        check_colors(mean, std, fill_color)
        check_resize(resize_mode, interpolation)
        self.size = size
        self.mean = list(mean)
        self.std = list(std)
        self.resize_mode = resize_mode
        self.interpolation = interpolation
        self.fill_color = fill_color

    @property
    def image_size(self) -> int:
        """Side of the square that the model sees, in pixels."""
        return self.size

    @property
    def image_mean(self) -> list[float]:
        return self.mean

    @property
    def image_std(self) -> list[float]:
        return self.std

    def to_dict(self) -> dict[str, Any]:
        """The settings as published, `processor_class` included, by which `AutoProcessor` finds the processor."""
        return {**super().to_dict(), "processor_class": "JinaCLIPProcessor"}

    def __call__(self, images: Any, return_tensors: str | None = None, **options: Any) -> BatchFeature:
        """Prepare one image or several; `pixel_values` is an array, or a tensor with `return_tensors="pt"`.

        `options` are the framework's keywords (`do_rescale`, `do_normalize`, `data_format`, …; None = the default) and
        settings for this call alone. Raises `ConfigurationError` for one that is unknown or cannot be honoured.
        """
        return self.preprocess(images, return_tensors=return_tensors, **options)

    def preprocess(self, images: Any, return_tensors: str | None = None, **options: Any) -> BatchFeature:
        """As `__call__`. Raises `ImageError` with the index of an image that cannot be used."""
        steps, settings = split_keywords(options, size=self.size)
        changed = self._with_settings(settings)
        listed = _as_list(images)
        side = changed.size
        shape = (3, side, side) if steps.data_format == "channels_first" else (side, side, 3)
        pixel_values = np.empty((len(listed), *shape), np.float32)
        index = 0
        try:
            for index, image in enumerate(listed):
                pixel_values[index] = changed._values(image, steps)
        except ImageError as error:
            error.at(index)
            raise
        return BatchFeature({"pixel_values": pixel_values}, tensor_type=return_tensors)

    def _with_settings(self, settings: Mapping[str, Any]) -> JinaCLIPImageProcessor:
        if not settings:
            return self
        own = {name: getattr(self, name) for name in SETTINGS}
        return type(self)(**{**own, **settings})

    def _values(self, image: Any, steps: ImageSteps) -> NDArray[np.float32]:
        """One image as float32, after the steps that were asked for."""
        arranged, divisor = steps.arrange(image)
        if steps.do_resize:
            pixels = self.fit(arranged)
        else:
            pixels = np.array(_as_image(arranged).convert("RGB"))
            steps.check_size(pixels, self.size)
        return steps.finish(pixels, divisor, mean=self.mean, std=self.std)

    def fit(self, image: Any) -> NDArray[np.uint8]:
        """One image at the model's size, `(size, size, 3)` uint8, before normalisation."""
        return resize_and_crop(
            _as_image(image),
            self.size,
            mode=self.resize_mode,
            interpolation=self.interpolation,
            fill_color=self.fill_color,
        )


JinaClipImageProcessor = JinaCLIPImageProcessor


def check_colors(mean: Any, std: Any, fill_color: Any) -> None:
    """Raise `ConfigurationError` unless these are three numbers each, positive for `std`, and one or three levels."""
    for name, values in (("mean", mean), ("std", std)):
        listed = list(values) if isinstance(values, list | tuple) else []
        if len(listed) != 3 or not all(is_number(value) and (name == "mean" or value > 0) for value in listed):
            raise ConfigurationError(f"{name}: three numbers expected, not {values!r:.100}")
    levels = [fill_color] * 3 if isinstance(fill_color, int) else fill_color
    if not isinstance(levels, list | tuple) or len(levels) != 3 or not all(level in range(256) for level in levels):
        raise ConfigurationError(f"fill_color: one level or three from 0 to 255 expected, not {fill_color!r:.100}")


def _as_list(images: Any) -> list[Any]:
    if isinstance(images, list | tuple):
        return list(images)
    if getattr(images, "ndim", 0) == 4:
        return list(images)
    return [images]


def _as_image(image: Any) -> Image.Image:
    if isinstance(image, Image.Image):
        return image
    if not hasattr(image, "__array__"):
        hint = ": open the file first, such as with PIL.Image.open" if isinstance(image, str) else ""
        raise ImageError(f"a PIL image or an array expected, not {type(image).__name__}{hint}")
    pixels = np.asarray(image)
    if pixels.dtype != np.uint8:
        raise ImageError(f"an array of uint8 levels (0 to 255) expected, not of {pixels.dtype}")
    if pixels.ndim == 3 and pixels.shape[2] not in CHANNELS and pixels.shape[0] in CHANNELS:
        pixels = pixels.transpose(1, 2, 0)
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] not in CHANNELS) or 0 in pixels.shape:
        raise ImageError(f"a shape (H, W), (H, W, C) or (C, H, W) with C 1, 3 or 4 expected, not {pixels.shape}")
    return Image.fromarray(np.ascontiguousarray(pixels))
