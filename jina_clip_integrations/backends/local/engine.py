"""One model on one device: from token ids and pixels to raw float32 rows."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.utils import logging

from ...modeling import JinaClipModel
from ...modeling.aligned import align
from ...modeling.attention import varlen_attention
from ...modeling.packed import pack
from ...types import Vectors
from .allocator import keep_freed_memory
from .devices import DeviceChoice


class Engine:
    """A loaded model in evaluation mode. Not thread-safe: one thread at a time computes with it."""

    def __init__(
        self,
        folder: Path,
        choice: DeviceChoice,
        *,
        attn_implementation: str,
        compile: bool,
        image_size: int | None = None,
    ) -> None:
        """`image_size` is that of images, in pixels, where it is not the model's own."""
        dtype: torch.dtype = getattr(torch, choice.dtype)
        with _no_progress_bar():
            model = JinaClipModel.from_pretrained(folder, dtype=dtype, attn_implementation=attn_implementation)
        if image_size is not None:
            model.vision_model = model.vision_model.resized(image_size)
        self._set_up(model, choice, compile=compile)

    @classmethod
    def from_model(cls, model: JinaClipModel, choice: DeviceChoice, *, compile: bool = False) -> Engine:
        """An engine that computes with a model in hand, which it takes over: moves, converts and packs it."""
        engine = cls.__new__(cls)
        engine._set_up(model, choice, compile=compile)
        return engine

    def replica(self) -> Engine:
        """A second engine with the same weights on the same device, for another thread.

        The weights are only ever read, so they are shared. State that changes while an engine computes must not be
        added to it, since a shallow copy would share that as well.
        """
        return copy.copy(self)

    def _set_up(self, model: JinaClipModel, choice: DeviceChoice, *, compile: bool) -> None:
        self.device = torch.device(choice.device)
        self.dtype: torch.dtype = getattr(torch, choice.dtype)
        self.model = model.to(self.device, self.dtype).eval()
        text = model.config.text_config.settings
        self.embed_dim, self._pad_id = text.hidden_size, text.pad_token_id
        self.patches = model.vision_model.grid**2 + 1  # of one image, with CLS
        # Only the padded forward pass is compiled: packed rows loop over lengths, each set of which is another graph.
        # So does ALiBi (v1), whose rows go in blocks by length; the text tower of v1 is never compiled.
        compiles_texts = compile and not text.is_alibi
        self.pads = compiles_texts or not self._attends_without_padding(text.is_alibi)
        self._embed_padded: Callable[..., BaseModelOutputWithPooling] = model.text_model
        self._embed_images: Callable[[Tensor], Tensor] = model.vision_model.embed
        if self.device.type == "cpu":
            keep_freed_memory()
        if self.device.type == "cuda":
            align(model)
        elif not compiles_texts:
            pack(model.text_model if compile else model)  # a compiler cannot see into packed weights
        if compiles_texts:
            self._embed_padded = torch.compile(model.text_model, dynamic=True)
        if compile:
            # The first number of images gets a graph of its own, all others share one (and a single image has its own).
            self._embed_images = torch.compile(model.vision_model.embed)

    def _attends_without_padding(self, is_alibi: bool) -> bool:
        """Whether attention keeps packed texts apart: text by text on a CPU, elsewhere by a kernel for packed rows."""
        if self.device.type == "cpu":
            return True
        like, slopes = torch.empty(0, dtype=self.dtype, device=self.device), torch.empty(0) if is_alibi else None
        implementation = self.model.config.text_config._attn_implementation
        return varlen_attention(like, slopes=slopes, implementation=implementation) is not None

    def embed_ids(self, rows: list[list[int]]) -> Vectors:
        """Token ids of several texts (special tokens included) to raw vectors `(n, embed_dim)` float32."""
        if self.pads or any(self._pad_id in row for row in rows):  # a text may spell the padding token
            return self._embed_padded_rows(rows)
        ids = np.fromiter(chain.from_iterable(rows), dtype=np.int64)
        with torch.inference_mode():
            vectors = self.model.text_model.embed_packed(self._to_device(ids), [len(row) for row in rows])
            return _to_rows(vectors)

    def _embed_padded_rows(self, rows: list[list[int]]) -> Vectors:
        ids = np.full((len(rows), max(map(len, rows))), self._pad_id, dtype=np.int64)
        for row, tokens in zip(ids, rows, strict=True):
            row[: len(tokens)] = tokens
        with torch.inference_mode():
            return _to_rows(self._embed_padded(self._to_device(ids)).pooler_output)

    def embed_pixels(self, pixels: NDArray[np.uint8], *, mean: Vectors, std: Vectors) -> Vectors:
        """Preprocessed images `(n, S, S, 3)` uint8 to raw vectors `(n, embed_dim)` float32."""
        with torch.inference_mode():
            # Bytes are moved, a quarter of the floats, and normalised on the device.
            image = self._to_device(pixels).permute(0, 3, 1, 2).float()  # (n, 3, S, S)
            shift, scale = (torch.from_numpy(side).to(self.device).view(1, 3, 1, 1) for side in (mean, std))
            pixel_values = image.div_(255.0).sub_(shift).div_(scale).to(self.dtype)
            return _to_rows(self._embed_images(pixel_values))

    def _to_device(self, array: NDArray[Any]) -> Tensor:
        """The array as a tensor on the engine's device."""
        tensor = torch.from_numpy(array)
        if self.device.type == "cuda":  # from pinned memory the copy runs beside the computation
            return tensor.pin_memory().to(self.device, non_blocking=True)
        return tensor.to(self.device)

    def no_rows(self) -> Vectors:
        """`(0, embed_dim)` float32."""
        return np.empty((0, self.embed_dim), np.float32)


@contextmanager
def _no_progress_bar() -> Iterator[None]:
    """Keep transformers' own bar for weights off the screen, where it would stand beside ours."""
    was_on = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if was_on:
            logging.enable_progress_bar()


def _to_rows(vectors: Tensor) -> Vectors:
    return vectors.float().cpu().numpy()
