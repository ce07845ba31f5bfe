"""How far an exported model agrees with the original: a few texts and images, computed by both."""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..backends.base import Batch
from ..backends.exported import ExportedBackend
from ..backends.local import LocalBackend
from ..backends.registry import BACKENDS
from ..errors import BackendError
from ..inputs import InputParser

SMALLEST_COSINE: Mapping[str, float] = {"float32": 0.99999, "float16": 0.999, "int8": 0.98}
"""What an export of each type has to reach on every sample; a graph that does not is not kept."""

TEXTS: Sequence[str] = (
    "a",
    "a photograph of a red bicycle leaning against a wall",
    "雨の中で踊る二人",
    "الأفق عند الغروب",
    "Der schnelle braune Fuchs springt über den faulen Hund. " * 12,
)
"""Texts of one token to some hundred, in several scripts."""

IMAGE_SIZES = ((300, 200), (640, 640), (97, 411))
"""Width and height of the sample images."""


def sample_images() -> list[NDArray[np.uint8]]:
    """Images with edges, gradients and noise, the same every time."""
    random = np.random.default_rng(0)
    images = []
    for width, height in IMAGE_SIZES:
        x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
        waves = np.stack([np.sin(9 * x + 3 * y), np.cos(17 * x * y), x - y], axis=-1)
        noise = random.normal(0, 0.15, waves.shape)
        images.append(np.clip((waves + noise) * 90 + 128, 0, 255).astype(np.uint8))
    return images


def measure_agreement(source: str | Path, folder: Path, format: str) -> dict[str, float]:
    """Smallest cosine between the vectors of `source`, in float32 on this machine, and of the export in `folder`."""
    parser = InputParser()
    images: Any = [parser.image(each) for each in sample_images()]
    batches = {
        "text": Batch(modality="text", texts=TEXTS, normalize=False),
        "image": Batch(modality="image", images=images, normalize=False),
    }
    # One after the other, so that one model is in memory at a time.
    with LocalBackend(source, device="cpu", dtype="float32") as original:
        expected = {name: original.embed(batch).vectors for name, batch in batches.items()}
    gc.collect()
    exported: ExportedBackend = BACKENDS[format].load()(folder)
    with exported:
        return {
            name: float(cosines(expected[name], exported.embed(batch).vectors).min()) for name, batch in batches.items()
        }


def cosines(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.float64]:
    """Cosine of each pair of rows; -1 where one of them is not finite."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        values = (a * b).sum(axis=1) / lengths
    return np.where(np.isfinite(values), values, -1.0)


def check_agreement(agreement: Mapping[str, float], dtype: str) -> None:
    """Raise `BackendError` if an export of this type is further from the original than it may be."""
    for modality, cosine in agreement.items():
        if cosine < SMALLEST_COSINE[dtype]:
            raise BackendError(
                f"the exported {modality} graph does not compute the model: the smallest cosine is {cosine:.5f}, "
                f"{dtype} has to reach {SMALLEST_COSINE[dtype]}; nothing was written"
            )
