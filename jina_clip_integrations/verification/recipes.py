"""How texts and images can be computed: rightly, and with each of the usual mistakes.

A mistake is a recipe that differs from the right one in one field. Found by reading public exports, servers and issue
trackers of CLIP models: each of them has been made by somebody.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..images.geometry import IMAGE_MEAN, IMAGE_STD

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of the classifiers that most code for images was written for."""

NORMALIZATIONS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "published": (IMAGE_MEAN, IMAGE_STD),
    "none": ((0.0,) * 3, (1.0,) * 3),
    "half": ((0.5,) * 3, (0.5,) * 3),
    "imagenet": (IMAGENET_MEAN, IMAGENET_STD),
    "levels": ((0.0,) * 3, (1 / 255,) * 3),
}
"""Name to mean and spread; `published` is replaced by the model's own."""


@dataclass(frozen=True)
class TextRecipe:
    """From a text to its vector."""

    instruction: str = "asked"
    """`asked`: where a task is asked for; `never`, `always`, `twice`."""
    max_length: int = 8192
    pooling: str = "mean"
    """`mean` over the tokens, `first`, `last`, or `padded`: the mean with the padding of the batch."""
    adapters: bool = True
    special_tokens: bool = True
    lowercase: bool = False


@dataclass(frozen=True)
class ImageRecipe:
    """From an encoded image to its vector."""

    upright: bool = True
    transparency: str = "dropped"
    """`dropped`, or the colour put under it: `white`, `black`."""
    geometry: str = "crop"
    """`crop`, `squash`, `pad`, or `corner`: the top left part instead of the middle."""
    filter: str = "bicubic"
    """`bicubic`, `bilinear`, `nearest`, `lanczos`, or `sharp`: bicubic over four pixels only, without antialiasing."""
    channels: str = "rgb"
    normalization: str = "published"


Recipe = TextRecipe | ImageRecipe


@dataclass(frozen=True)
class Mistake:
    """One way to be wrong."""

    name: str
    field: str
    value: Any
    advice: str

    def apply(self, recipe: Any) -> Any:
        """The recipe with this mistake."""
        return replace(recipe, **{self.field: self.value})


IMAGE_MISTAKES: Sequence[Mistake] = (
    Mistake("mean and std are missing", "normalization", "none", "subtract `mean` and divide by `std`"),
    Mistake("mean and std of 0.5", "normalization", "half", "take the mean and std of preprocessor_config.json"),
    Mistake("mean and std of ImageNet", "normalization", "imagenet", "take those of preprocessor_config.json"),
    Mistake("levels are not divided by 255", "normalization", "levels", "divide by 255 before mean and std"),
    Mistake("red and blue are swapped", "channels", "bgr", "convert BGR, as OpenCV reads it, to RGB"),
    Mistake("images are squashed", "geometry", "squash", "resize the shorter side and crop the middle square"),
    Mistake("images are padded", "geometry", "pad", "resize the shorter side and crop the middle square"),
    Mistake("the corner is cropped instead of the middle", "geometry", "corner", "crop the middle square"),
    Mistake("EXIF orientation is ignored", "upright", False, "turn images upright before anything else"),
    Mistake("bilinear instead of bicubic", "filter", "bilinear", "resize with Pillow's bicubic filter"),
    Mistake("nearest neighbour instead of bicubic", "filter", "nearest", "resize with Pillow's bicubic filter"),
    Mistake("Lanczos instead of bicubic", "filter", "lanczos", "resize with Pillow's bicubic filter"),
    Mistake("bicubic without antialiasing", "filter", "sharp", "use a filter that widens when it shrinks, as Pillow's"),
    Mistake("white under transparency", "transparency", "white", "drop the alpha channel, as published"),
    Mistake("black under transparency", "transparency", "black", "drop the alpha channel, as published"),
)

TEXT_MISTAKES: Sequence[Mistake] = (
    Mistake("the query instruction is missing", "instruction", "never", "put the task's instruction in front"),
    Mistake("the query instruction comes twice", "instruction", "twice", "add it at one place only"),
    Mistake("documents get the query instruction", "instruction", "always", "add it where the task asks for it"),
    Mistake("pooled by the first token", "pooling", "first", "take the mean over all tokens"),
    Mistake("pooled by the last token", "pooling", "last", "take the mean over all tokens"),
    Mistake("padding takes part in the mean", "pooling", "padded", "mask the padding when pooling"),
    Mistake("the adapter is missing", "adapters", False, "merge lora_A and lora_B of retrieval.query into the weights"),
    Mistake("texts are cut at 512 tokens", "max_length", 512, "allow 8192 tokens"),
    Mistake("texts are cut at 77 tokens", "max_length", 77, "allow 8192 tokens; 77 is what the first CLIP took"),
    Mistake("special tokens are missing", "special_tokens", False, "tokenize with the special tokens"),
    Mistake("texts are lowercased", "lowercase", True, "leave texts as they are"),
)

RIGHT_TEXT, RIGHT_IMAGE = TextRecipe(), ImageRecipe()
