"""The digest of an image's content, by which a changed image under an unchanged path is noticed."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from ..encoder.chunks import ON_ERROR
from ..errors import InputError
from ..images.encoded import InputImage
from ..settings import require_choice
from ..types import OnError

DIGEST_KEY = "image_digest"
"""Metadata entry with the digest of a document's or node's image."""

T = TypeVar("T")


def content_digest(image: InputImage) -> str:
    """SHA-256 of the encoded file, or of the pixels that came without one. Raises `ImageError`."""
    image.size()  # anything has a digest; only an image has a size
    return image.content_digest()


def digest_each(values: Iterable[T], add: Callable[[T], T], on_error: OnError) -> Iterator[T]:
    """`add` of every value. With `skip` what cannot be read is left out, with a warning that names it.

    Raises `InputError` with the index of the value otherwise.
    """
    require_choice("on_error", on_error, ON_ERROR)
    for index, value in enumerate(values):
        try:
            digested = add(value)
        except InputError as error:  # noqa: PERF203
            if on_error == "raise":
                raise error.at(index) from None
            warnings.warn(f"input {index} is left out: {error.message}", UserWarning, stacklevel=3)
        else:
            yield digested
