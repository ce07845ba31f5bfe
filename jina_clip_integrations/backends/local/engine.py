"""One model on one device: from token ids and pixels to raw float32 rows."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from transformers.utils import logging

from ...modeling import JinaClipModel
from ...types import Vectors
from .devices import DeviceChoice


class Engine:
    """A loaded model in evaluation mode. One thread at a time computes on it."""

    def __init__(self, folder: Path, choice: DeviceChoice, *, attn_implementation: str, compile: bool) -> None:
        dtype: torch.dtype = getattr(torch, choice.dtype)
        with _no_progress_bar():
            model = JinaClipModel.from_pretrained(folder, dtype=dtype, attn_implementation=attn_implementation)
        self._take(model, choice, compile=compile)

    @classmethod
    def around(cls, model: JinaClipModel, choice: DeviceChoice, *, compile: bool = False) -> Engine:
        """An engine that computes with a model in hand, which it moves to the device and type of `choice`."""
        engine = cls.__new__(cls)
        engine._take(model, choice, compile=compile)
        return engine

    def twin(self) -> Engine:
        """A second engine with the same weights on the same device, for another thread.

        The weights are only ever read, so they are shared. What an engine changes while it computes must not be.
        """
        return copy.copy(self)

    def _take(self, model: JinaClipModel, choice: DeviceChoice, *, compile: bool) -> None:
        self.device = torch.device(choice.device)
        self.dtype: torch.dtype = getattr(torch, choice.dtype)
        self.model = model.to(self.device, self.dtype).eval()
        text = model.config.text_config.settings
        self.embed_dim, self._pad_id = text.hidden_size, text.pad_token_id
        self.patches = model.config.vision_config.grid_size**2 + 1  # of one picture, with CLS
        if compile:
            self.model.text_model = torch.compile(self.model.text_model, dynamic=True)
            self.model.vision_model = torch.compile(self.model.vision_model)

    def embed_ids(self, rows: list[list[int]]) -> Vectors:
        """Token ids of several texts (special tokens included) to raw vectors `(n, embed_dim)` float32."""
        ids = np.full((len(rows), max(map(len, rows))), self._pad_id, dtype=np.int64)
        for row, tokens in zip(ids, rows, strict=True):
            row[: len(tokens)] = tokens
        with torch.inference_mode():
            input_ids = torch.from_numpy(ids).to(self.device)
            return _to_rows(self.model.get_text_features(input_ids=input_ids))

    def embed_pixels(self, pixels: NDArray[np.uint8], *, mean: Vectors, std: Vectors) -> Vectors:
        """Prepared pictures `(n, S, S, 3)` uint8 to raw vectors `(n, embed_dim)` float32."""
        with torch.inference_mode():
            image = torch.from_numpy(pixels).to(self.device).permute(0, 3, 1, 2).float()  # (n, 3, S, S)
            shift, scale = (torch.from_numpy(side).to(self.device).view(1, 3, 1, 1) for side in (mean, std))
            pixel_values = image.div_(255.0).sub_(shift).div_(scale).to(self.dtype)
            return _to_rows(self.model.get_image_features(pixel_values=pixel_values))

    def no_rows(self) -> Vectors:
        """`(0, embed_dim)` float32."""
        return np.empty((0, self.embed_dim), np.float32)


@contextmanager
def _no_progress_bar() -> Iterator[None]:
    """Keep the framework's own bar for weights off the screen: a second one beside ours only confuses."""
    was_on = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if was_on:
            logging.enable_progress_bar()


def _to_rows(features: object) -> Vectors:
    pooled = getattr(features, "pooler_output", features)
    return pooled.float().cpu().numpy()  # type: ignore[no-any-return, attr-defined]  # a tensor either way
