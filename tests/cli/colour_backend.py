"""A backend whose vectors follow from content: an image's mean colour, and the colours that a text names.

Words and images of the same colour meet, as with a real model, and two different texts never get the same vector.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from jina_clip_integrations.backends.base import Batch, BatchResult, ImageSource, Usage
from jina_clip_integrations.catalog import ModelSpec
from jina_clip_integrations.errors import InputError, JinaClipError

COLOURS = {
    "red": (220, 20, 20),
    "green": (20, 170, 40),
    "blue": (30, 60, 220),
    "yellow": (240, 220, 30),
    "black": (10, 10, 10),
    "white": (250, 250, 250),
}
WIDTH = 16
SPEC = ModelSpec(name="colours", embed_dim=WIDTH, matryoshka_dimensions=(8, WIDTH), image_size=32)


class ColourBackend:
    """`calls` counts items; `fail_after` raises once so many items were seen, as an interruption or an outage."""

    model = "colours"
    dimensions = WIDTH
    spec = SPEC
    batch_size = 4
    cache_identity = "colours"
    options = ("--backend", "colour_backend:shared")

    def __init__(self) -> None:
        self.calls: list[int] = []
        self.fail_after: tuple[int, BaseException] | None = None

    @property
    def embedded(self) -> int:
        return sum(self.calls)

    def embed(self, batch: Batch) -> BatchResult:
        if self.fail_after is not None and self.embedded >= self.fail_after[0]:
            raise self.fail_after[1]
        errors: dict[int, JinaClipError] = {}
        rows: dict[int, np.ndarray] = {}
        for position in range(len(batch)):
            self._embed_one(batch, position, rows, errors)
        self.calls.append(len(batch))
        vectors = np.stack(list(rows.values())) if rows else np.empty((0, WIDTH), np.float32)
        return BatchResult(
            vectors, positions=list(rows), errors=errors, usage=Usage(total_tokens=len(batch), requests=1)
        )

    def _embed_one(
        self, batch: Batch, position: int, rows: dict[int, np.ndarray], errors: dict[int, JinaClipError]
    ) -> None:
        try:
            if batch.modality == "text":
                rows[position] = text_vector(batch.texts[position])
            else:
                rows[position] = image_vector(batch.images[position])
        except InputError as error:
            if not batch.isolate_errors:
                raise error.at(position) from None
            errors[position] = error


def text_vector(text: str) -> np.ndarray:
    named = [rgb for word, rgb in COLOURS.items() if word in text.lower()]
    return _vector(np.mean(named, axis=0) if named else (128, 128, 128), text.encode(), modality=(1, 0))


def image_vector(image: ImageSource) -> np.ndarray:
    pixels = np.asarray(image.open().convert("RGB"), np.float32)
    return _vector(pixels.mean(axis=(0, 1)), pixels.tobytes(), modality=(0, 1))


def _vector(rgb: Sequence[float] | np.ndarray, content: bytes, *, modality: tuple[int, int]) -> np.ndarray:
    colour = (np.asarray(rgb, np.float32) - 128) / 128
    noise = np.frombuffer(hashlib.sha256(content).digest(), np.uint8)[: WIDTH - 5].astype(np.float32) / 255 - 0.5
    return np.concatenate([colour, np.float32(modality) * 0.4, noise * 0.05]).astype(np.float32)
