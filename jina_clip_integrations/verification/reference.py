"""The model itself, computing probes by any recipe in float32 on the processor."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..backends.local import LocalBackend
from ..catalog import ModelSpec
from ..images.decode import as_rgb
from ..images.geometry import normalize_pixels
from ..images.rendering import Rendering
from ..modeling import JinaClipConfig, JinaClipModel, JinaClipProcessor
from ..modeling.text_tower import mean_pool
from ..types import Vectors
from .recipes import NORMALIZATIONS, ImageRecipe, TextRecipe


class Reference:
    """A checkpoint on this machine: what the answers of a target are held against."""

    def __init__(self, model: str, **options: Any) -> None:
        """`options` are the local backend's that say where files are. Raises what the local backend raises."""
        backend = LocalBackend(model, device="cpu", dtype="float32", **options)
        self.model, self.spec = backend.model, backend.spec
        self.folder: Path = backend.folder
        self._processor = JinaClipProcessor.from_pretrained(self.folder)
        self._tokenizer = self._processor.tokenizer.backend_tokenizer
        self._tokenizer.no_padding()

    @property
    def tasks(self) -> Sequence[str | None]:
        """No task, then each of the model's."""
        return (None, *self.spec.tasks)

    @cached_property
    def _model(self) -> Any:
        return JinaClipModel.from_pretrained(self.folder, dtype=torch.float32).eval()

    @cached_property
    def _without_adapters(self) -> Any:
        config = JinaClipConfig.from_pretrained(self.folder)
        config.text_config.default_lora_task = None
        return JinaClipModel.from_pretrained(self.folder, config=config, dtype=torch.float32).eval()

    @property
    def has_adapters(self) -> bool:
        """Whether there is anything that `adapters=False` would leave out."""
        return self._model.config.text_config.adapter is not None

    def count_tokens(self, text: str) -> int:
        """Tokens of a text, special ones included."""
        self._tokenizer.no_truncation()
        return len(self._tokenizer.encode(text).ids)

    def texts(self, texts: Sequence[str], task: str | None, recipe: TextRecipe) -> Vectors:
        """Raw vectors `(n, d)` float32 of texts, computed by `recipe`."""
        model = self._model if recipe.adapters else self._without_adapters
        pad = model.config.text_config.settings.pad_token_id
        rows = [self._ids(text, task, recipe) for text in texts]
        longest = max(map(len, rows))
        with torch.inference_mode():
            return np.stack([_embed(model.text_model, ids, recipe.pooling, longest, pad) for ids in rows])

    def _ids(self, text: str, task: str | None, recipe: TextRecipe) -> list[int]:
        text = text.lower() if recipe.lowercase else text
        self._tokenizer.enable_truncation(recipe.max_length)
        instructed = self._instruct(text, task, recipe.instruction)
        return list(self._tokenizer.encode(instructed, add_special_tokens=recipe.special_tokens).ids)

    def _instruct(self, text: str, task: str | None, manner: str) -> str:
        only = next(iter(self.spec.tasks.values()), "")
        instruction = self.spec.tasks[task] if task else ""
        return {"asked": instruction, "never": "", "twice": 2 * instruction, "always": instruction or only}[
            manner
        ] + text

    def images(self, data: Sequence[bytes], recipe: ImageRecipe) -> Vectors:
        """Raw vectors `(n, d)` float32 of encoded images, computed by `recipe`."""
        images = self._processor.image_processor
        mean, std = NORMALIZATIONS[recipe.normalization]
        if recipe.normalization == "published":
            mean, std = tuple(images.image_mean), tuple(images.image_std)
        rows = []
        for each in data:
            pixels = prepare(each, self.spec, recipe, images)
            values = torch.from_numpy(normalize_pixels(pixels[None], mean, std))
            with torch.inference_mode():
                rows.append(self._model.vision_model.embed(values)[0].numpy())
        return np.stack(rows)


def _embed(tower: Any, ids: list[int], pooling: str, longest: int, pad: int) -> Vectors:
    """The vector of one text, `(d,)`; padding is there for its own mistake alone."""
    tokens = torch.tensor([ids])
    if pooling == "padded" and len(ids) < longest:
        padded = torch.full((1, longest), pad)
        padded[0, : len(ids)] = tokens[0]
        states = tower(padded).last_hidden_state
        return mean_pool(states, torch.ones_like(padded, dtype=torch.bool))[0].numpy()
    states = tower(tokens).last_hidden_state[0].float()
    pooled = {"first": states[0], "last": states[-1]}.get(pooling, states.mean(dim=0))
    return np.asarray(pooled.numpy(), np.float32)


@lru_cache(maxsize=64)
def _decode(data: bytes, upright: bool, transparency: str) -> Any:
    from PIL import Image

    image = Image.open(io.BytesIO(data))
    under = {"white": (255, 255, 255), "black": (0, 0, 0)}.get(transparency)
    return as_rgb(image, Rendering(upright=upright, background=under), borrowed=True)


def prepare(data: bytes, spec: ModelSpec, recipe: ImageRecipe, images: Any) -> NDArray[np.uint8]:
    """`(S, S, 3)` uint8 by the recipe, before normalisation."""
    image = _decode(data, recipe.upright, recipe.transparency)
    if recipe.geometry == "crop" and recipe.filter == "bicubic":
        pixels = images.fit(image)  # the published way, through the code that everything else uses
    else:
        pixels = _fit(image, spec.image_size, recipe.geometry, recipe.filter)
    return pixels if recipe.channels == "rgb" else np.ascontiguousarray(pixels[..., ::-1])


def _fit(image: Any, size: int, geometry: str, filter: str) -> NDArray[np.uint8]:
    width, height = image.size
    if geometry == "squash":
        return np.asarray(_resize(image, size, size, filter))
    scale = size / (max(width, height) if geometry == "pad" else min(width, height))
    wide, high = max(1, int(width * scale + 1e-6)), max(1, int(height * scale + 1e-6))
    resized = _resize(image, wide, high, filter)
    left, top = (0, 0) if geometry == "corner" else (round((wide - size) / 2), round((high - size) / 2))
    return np.asarray(resized.crop((left, top, left + size, top + size)))  # beyond the edges it is black


def _resize(image: Any, width: int, height: int, filter: str) -> Any:
    from PIL import Image

    if filter != "sharp":
        return image.resize((width, height), Image.Resampling[filter.upper()])
    # Four neighbours of each point and no more: what OpenCV and PyTorch do by default.
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float()
    small = torch.nn.functional.interpolate(pixels, (height, width), mode="bicubic", align_corners=False)
    return Image.fromarray(small[0].permute(1, 2, 0).round().clamp(0, 255).byte().numpy())
