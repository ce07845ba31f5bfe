"""What a framework's method was given, one or many, and what it gives back: plain lists of Python floats."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..errors import InputError
from ..inputs import one_or_many_images
from ..types import Vectors


def image_list(images: Any, *, single: str) -> list[Any]:
    """The images as a list. Raises `InputError` for one image, naming the method `single` that takes it."""
    listed, alone = one_or_many_images(images)
    if alone:
        raise InputError(f"expected a list of images, got one {type(images).__name__}; use {single}, or [image]")
    return list(listed)


def text_list(texts: Any, *, single: str) -> list[str]:
    """The texts as a list. Raises `InputError` for one text, naming the method `single` that takes it."""
    if isinstance(texts, str | bytes) or not isinstance(texts, Iterable):
        raise InputError(f"expected a list of texts, got one {type(texts).__name__}; use {single}, or [text]")
    return list(texts)


def one_text(text: Any, *, many: str) -> str:
    """`text` if it is one. Raises `InputError` for a list, naming the method `many` that takes it."""
    if not isinstance(text, str):
        raise InputError(f"expected one str, got {type(text).__name__}; use {many} for a list")
    return text


def row(vector: Vectors) -> list[float]:
    """A vector `(d,)` as Python floats."""
    values: list[float] = vector.tolist()
    return values


def rows(vectors: Vectors) -> list[list[float]]:
    """Vectors `(n, d)` as lists of Python floats."""
    listed: list[list[float]] = vectors.tolist()
    return listed
