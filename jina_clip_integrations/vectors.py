"""Arithmetic on rows of vectors: truncation, normalisation, packed bits, similarity. NumPy only."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .types import Vectors

NORM_FLOOR = 1e-12
"""Smallest divisor of a normalisation, as in the published models (`torch.nn.functional.normalize`)."""

BINARY_OFFSET = 128
"""`binary` of Jina's API is the byte of its `ubinary` minus this; it is no two's-complement view of the same byte."""

UNIT_TOLERANCE = 1e-6
"""A row whose squared length is this close to 1 counts as normalised and is left alone, bit for bit."""


def normalize(vectors: Vectors) -> Vectors:
    """L2-normalised rows, `(n, d)` float32. Rows that already are stay bit-identical; NaN rows stay NaN."""
    # Summed in float64, so that `UNIT_TOLERANCE` measures the rows and not the rounding of the sum.
    squares = np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64)
    off = ~(np.abs(squares - 1.0) <= UNIT_TOLERANCE)
    if not off.any():  # most backends normalise; then nothing is copied
        return vectors
    # One pass over the rows: dividing by exactly 1 leaves a row as it is.
    divisors = np.where(off, np.maximum(np.sqrt(squares), NORM_FLOOR), 1.0)
    return np.divide(vectors, divisors[:, None], out=np.empty(vectors.shape, np.float32), casting="same_kind")


def truncate_and_normalize(vectors: Vectors, *, dimensions: int | None, normalized: bool) -> Vectors:
    """The first `dimensions` values of every row (None = all), then normalised if `normalized`: `(n, d)` float32."""
    rows = np.asarray(vectors, dtype=np.float32)
    if dimensions is not None and dimensions < rows.shape[1]:
        rows = rows[:, :dimensions]
    # Contiguous, or a truncated row would keep the memory of the full one.
    return np.ascontiguousarray(normalize(rows) if normalized else rows)


def finite_rows(vectors: NDArray[Any]) -> NDArray[np.bool_]:
    """Which rows of `(n, d)` hold nothing but finite numbers: `(n,)`."""
    return np.asarray(np.isfinite(vectors).all(axis=1))


def usable_rows(vectors: NDArray[Any]) -> NDArray[np.bool_]:
    """Which rows of `(n, d)` are finite and have a direction, so that they can be normalised and compared: `(n,)`.

    Packed bits, uint8, always can.
    """
    if vectors.dtype == np.uint8:
        return np.ones(len(vectors), np.bool_)
    # One pass over the rows settles the usual case: NaN and infinity show in the sum of squares.
    squares = np.einsum("nd,nd->n", vectors, vectors)
    usable = np.asarray((squares > NORM_FLOOR) & (squares < np.inf))
    for row in np.flatnonzero(~usable):  # squares of float32 overflow and vanish earlier than the values do
        usable[row] = np.linalg.norm(vectors[row].astype(np.float64)) > NORM_FLOOR and np.isfinite(vectors[row]).all()
    return usable


def to_list(vector: Vectors) -> list[float]:
    """A vector `(d,)` as Python floats, which unlike NumPy's are JSON."""
    values: list[float] = vector.tolist()
    return values


def to_lists(vectors: Vectors) -> list[list[float]]:
    """Vectors `(n, d)` as lists of Python floats."""
    rows: list[list[float]] = vectors.tolist()
    return rows


def similarity(left: ArrayLike, right: ArrayLike) -> NDArray[np.float32]:
    """Cosine of every row of `left` `(n, d)` with every row of `right` `(m, d)`: `(n, m)` float32."""
    a, b = (normalize(np.atleast_2d(np.asarray(side, dtype=np.float32))) for side in (left, right))
    cosines: NDArray[np.float32] = a @ b.T
    return cosines


def pack_bits(vectors: Vectors) -> NDArray[np.uint8]:
    """One bit per dimension (value > 0), first dimension in the highest bit: `(n, ceil(d / 8))` uint8."""
    return np.packbits(np.asarray(vectors) > 0, axis=1)
