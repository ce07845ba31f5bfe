"""Embeddings from JSON to arrays: every encoding, and the checks that a vector has to pass."""

from __future__ import annotations

import binascii
import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import pybase64
from numpy.typing import NDArray

from ...errors import InvalidResponseError
from ...settings import PACKED_TYPES
from ...vectors import BINARY_OFFSET, finite_rows, pack_bits


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What a request asked for, and so what its response has to look like."""

    items: int
    """Rows, one per item."""
    dimensions: int | None = None
    """Width that was asked for; None = full."""
    full: int | None = None
    """Full width of the model; None where it is not known."""
    embedding_type: str = "base64"
    """`binary` and `ubinary` want packed bits, the others float32."""
    indexed: bool = True
    """Whether every row has to carry its index."""

    @property
    def widths(self) -> tuple[int, ...]:
        """Widths in dimensions that a response may have; empty for an unknown model."""
        if self.full is None:
            return ()
        # Full width as well, since a server may ignore `dimensions`; the encoder truncates then.
        return (self.full,) if self.dimensions is None else (self.dimensions, self.full)


def decode(embeddings: Sequence[Any], expected: Expected) -> NDArray[Any]:
    """Embeddings in whatever encoding the server chose, checked: width, finite, not all zero.

    Args:
        embeddings: Lists of numbers, or base64.
        expected: What was asked for.

    Returns:
        `(n, width)` float32, or uint8 `(n, ceil(width / 8))` if packed bits were asked for.

    Raises:
        InvalidResponseError: `positions` names the embedding at fault.
    """
    # Whatever was asked for, either form is read: servers do not always send what they are asked for.
    if embeddings and all(isinstance(embedding, str) for embedding in embeddings):  # all at once takes half the time
        with suppress(InvalidResponseError):  # met again below, where the one at fault is known
            floats = _check_floats(_rows_from_base64(embeddings), expected)
            return _to_requested_type(floats, expected) if expected.embedding_type in PACKED_TYPES else floats
    rows = [_decode_one(embedding, place, expected) for place, embedding in enumerate(embeddings)]
    widths = {row.shape[1] for row in rows}
    if len(widths) > 1:
        raise InvalidResponseError(f"the vectors have different widths: {', '.join(map(str, sorted(widths)))}")
    return np.concatenate(rows)


def truncate_bits(rows: NDArray[np.uint8], dimensions: int) -> NDArray[np.uint8]:
    """The first `dimensions` bits of packed rows: `(n, ceil(dimensions / 8))` uint8, unused low bits zero."""
    bits = np.unpackbits(rows, axis=1, count=min(dimensions, rows.shape[1] * 8))
    packed: NDArray[np.uint8] = np.packbits(bits, axis=1)
    return packed


def _decode_one(embedding: Any, place: int, expected: Expected) -> NDArray[Any]:
    """One embedding as `(1, width)`; an error names `place`."""
    try:
        if isinstance(embedding, list):
            values = _from_numbers(embedding)
            if expected.embedding_type in PACKED_TYPES and _looks_packed(values, expected):
                return _check_bits(values, expected.embedding_type)
        elif isinstance(embedding, str):
            values = _rows_from_base64([embedding])
        else:
            raise InvalidResponseError("no embedding")
        return _to_requested_type(_check_floats(values, expected), expected)
    except InvalidResponseError as flaw:
        flaw.positions = (place,)
        raise


def _to_requested_type(rows: NDArray[np.float32], expected: Expected) -> NDArray[Any]:
    return pack_bits(rows) if expected.embedding_type in PACKED_TYPES else rows


def _rows_from_base64(texts: Sequence[str]) -> NDArray[np.float32]:
    """`(n, width)` float32 that may be written to, from rows in standard base64 that are equally long."""
    try:
        # Without `validate` foreign characters would be dropped, and the rest read as other numbers.
        raw = [pybase64.b64decode(text, validate=True) for text in texts]
    except (binascii.Error, ValueError) as error:
        raise InvalidResponseError("an embedding is not standard base64") from error
    size = len(raw[0])
    if size % 4 or any(len(row) != size for row in raw):
        raise InvalidResponseError(f"an embedding of {size} bytes is no row of float32")
    # A bytearray, because arrays over bytes are read-only, and callers may write to their rows.
    return np.frombuffer(bytearray().join(raw), "<f4").reshape(len(raw), size // 4)


def _from_numbers(numbers: list[Any]) -> NDArray[Any]:
    # By their types: numpy makes a 1.0 of a `true` among floats.
    if not set(map(type, numbers)) <= {int, float}:
        raise InvalidResponseError("an embedding is not a flat list of numbers")
    try:
        values = np.array(numbers)
    except OverflowError as error:
        raise InvalidResponseError("an embedding is not a flat list of numbers") from error
    if values.dtype.kind not in "iuf":  # integers of any size are objects
        raise InvalidResponseError("an embedding is not a flat list of numbers")
    return values[None]


def _check_floats(values: NDArray[Any], expected: Expected) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):  # what does not fit float32 becomes infinite and is refused below
        rows = values.astype(np.float32, copy=False)
    width = rows.shape[1]
    if not width or (expected.widths and width not in expected.widths):
        wanted = " or ".join(map(str, dict.fromkeys(expected.widths))) or "at least 1"
        raise InvalidResponseError(f"a vector of {width} dimensions instead of {wanted}")
    if expected.full is None and expected.dimensions is not None and width < expected.dimensions:
        raise InvalidResponseError(f"a vector of {width} dimensions instead of {expected.dimensions}")
    if not finite_rows(rows).all():
        raise InvalidResponseError("a vector with NaN or infinity in it")
    if not rows.any(axis=1).all():  # it has no direction, so nothing can be compared with it
        raise InvalidResponseError("a vector of zeros")
    return rows


def _looks_packed(values: NDArray[Any], expected: Expected) -> bool:
    """Whether these numbers are packed bits; a server without that encoding gives floats, to be packed here."""
    widths = expected.widths or ((expected.dimensions,) if expected.dimensions else ())
    if not widths:  # no width tells them apart, but real embeddings are not all integers
        return bool(np.all(values == np.rint(values)))
    width = values.shape[1]
    return width in {math.ceil(full / 8) for full in widths} and width not in widths


def _check_bits(values: NDArray[Any], embedding_type: str) -> NDArray[np.uint8]:
    # In floats first: the hosted service prints the bytes as 50.0, and uint8 would wrap what is out of range.
    shifted = values.astype(np.float64) + (BINARY_OFFSET if embedding_type == "binary" else 0)
    if not (np.isfinite(shifted).all() and np.all((shifted >= 0) & (shifted <= 255) & (shifted == np.rint(shifted)))):
        raise InvalidResponseError(f"packed bits that are no {embedding_type} bytes")
    return shifted.astype(np.uint8)
