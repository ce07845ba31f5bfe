"""What the fake backend's vectors must come out as, worked out without the package."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.fakes import image_vector, text_vector, unit


class Opened:
    """An image as the fake backend sees it."""

    def __init__(self, path: str) -> None:
        self.path = path

    def open(self) -> Image.Image:
        return Image.open(self.path).convert("RGB")


def bytes_of(path: str) -> bytes:
    """The file as it is."""
    return Path(path).read_bytes()


def of_texts(texts: Sequence[str], task: str | None = None) -> np.ndarray[Any, Any]:
    """The rows of these texts, `(n, d)` of unit length."""
    return unit(np.stack([text_vector(text, task) for text in texts]))


def of_images(paths: Sequence[str]) -> np.ndarray[Any, Any]:
    """The rows of the images in these files, `(n, d)` of unit length."""
    return unit(np.stack([image_vector(Opened(path)) for path in paths]))


def assert_same(vectors: Any, expected: np.ndarray[Any, Any]) -> None:
    """The same numbers, as exactly lists and floats: NumPy scalars break JSON."""
    assert type(vectors) is list
    for vector in vectors:
        assert type(vector) is list
        assert {type(value) for value in vector} == {float}
    np.testing.assert_allclose(vectors, expected, atol=1e-6)
