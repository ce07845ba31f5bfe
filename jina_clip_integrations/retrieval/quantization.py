"""Smaller vectors for a store: int8 codes by calibrated ranges, and packed bits.

    ranges = Int8Ranges.fit(sample)                 # of vectors that are typical of the collection
    codes = ranges.quantize(vectors)                # (n, d) int8 for the store; a quarter of float32
    asked = ranges.quantize_queries(queries)        # (n, d) int8; the inner product with `codes` ranks
    bits = pack_bits(vectors)                       # (n, ceil(d / 8)) uint8; a thirty-second of float32

The codes are those of `sentence_transformers.util.quantization`, without its packages; a value outside of the ranges
becomes the nearest code. The bits are in the order of Jina's API, of NumPy and of FAISS.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InputError
from ..types import Vectors
from ..vectors import pack_bits

__all__ = ["CODES", "Int8Ranges", "hamming_distances", "pack_bits", "unpack_signs"]

CODES = 255
"""Steps between the lowest and the highest code."""

LOWEST_CODE, HIGHEST_CODE = -128, 127

MIN_STEP = 1e-12
"""The step of a dimension whose values are all the same, instead of 0."""


@dataclass(frozen=True, eq=False)
class Int8Ranges:
    """The lowest and highest value of every dimension, which become the codes -128 and 127."""

    low: NDArray[np.float32]
    """`(d,)`"""
    high: NDArray[np.float32]
    """`(d,)`"""

    @classmethod
    def fit(cls, sample: ArrayLike) -> Int8Ranges:
        """Take the ranges of a sample `(n, d)`, of some thousands better than of some dozens.

        Raises `InputError` if it is empty or not finite.
        """
        rows = np.asarray(sample, np.float32)
        if rows.ndim != 2 or not len(rows):
            raise InputError(f"a calibration needs vectors of the shape (n, d), not {rows.shape}")
        if not np.isfinite(rows).all():
            raise InputError("the sample holds NaN or infinite values; leave those rows out")
        return cls(rows.min(axis=0), rows.max(axis=0))

    @property
    def steps(self) -> NDArray[np.float32]:
        """What one code is worth in every dimension, `(d,)`."""
        steps: Vectors = np.maximum((self.high - self.low) / np.float32(CODES), np.float32(MIN_STEP))
        return steps

    def quantize(self, vectors: ArrayLike) -> NDArray[np.int8]:
        """Codes `(n, d)` of vectors `(n, d)`. Raises `InputError` for another width."""
        rows = self._check(vectors)
        # Rounded down, as sentence-transformers does, so that codes of both can lie in one store.
        codes = np.clip(np.floor((rows - self.low) / self.steps), 0, CODES) + np.float32(LOWEST_CODE)
        kept: NDArray[np.int8] = codes.astype(np.int8)
        return kept

    def dequantize(self, codes: ArrayLike) -> Vectors:
        """Vectors `(n, d)` float32 back from codes: each the middle of the values that have its code."""
        rows = np.asarray(codes, np.float32)
        middle: Vectors = (rows - np.float32(LOWEST_CODE) + np.float32(0.5)) * self.steps + self.low
        return middle

    def scale_queries(self, queries: ArrayLike) -> Vectors:
        """Queries `(n, d)` float32 whose inner products with codes rank as those with `dequantize(codes)` do.

        The ranges have another width in every dimension, so codes alone weigh dimensions wrongly; the queries can make
        up for it, because a constant per query does not change its ranking.
        """
        return self._check(queries) * self.steps

    def quantize_queries(self, queries: ArrayLike) -> NDArray[np.int8]:
        """Queries `(n, d)` as int8, for stores that multiply int8 by int8 (inner product, not cosine)."""
        scaled = self.scale_queries(queries)
        largest = np.maximum(np.abs(scaled).max(axis=1, keepdims=True, initial=0.0), np.float32(1e-30))
        codes: NDArray[np.int8] = np.rint(scaled / largest * HIGHEST_CODE).astype(np.int8)
        return codes

    def to_dict(self) -> dict[str, list[float]]:
        """JSON-safe, to be kept with the store: without its ranges a code means nothing."""
        return {"low": self.low.tolist(), "high": self.high.tolist()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Sequence[float]]) -> Int8Ranges:
        """What `to_dict` wrote."""
        return cls(np.asarray(data["low"], np.float32), np.asarray(data["high"], np.float32))

    def _check(self, vectors: ArrayLike) -> NDArray[np.float32]:
        rows = np.asarray(vectors, np.float32)
        if rows.ndim != 2 or rows.shape[1] != len(self.low):
            raise InputError(f"vectors of the shape {rows.shape}; the ranges are of {len(self.low)} dimensions")
        return rows


def unpack_signs(bits: NDArray[np.uint8], dimensions: int) -> Vectors:
    """Packed bits `(n, ceil(d / 8))` as +1 and -1, `(n, dimensions)` float32."""
    ones = np.unpackbits(bits, axis=1, count=dimensions).astype(np.float32)
    return 2 * ones - 1


def hamming_distances(left: NDArray[np.uint8], right: NDArray[np.uint8]) -> NDArray[np.int32]:
    """How many bits differ between every row of `left` `(n, b)` and every row of `right` `(m, b)`: `(n, m)`."""
    counts: Any = np.stack([_ONES[row ^ right].sum(axis=1, dtype=np.int32) for row in left])
    return np.asarray(counts, np.int32)


_ONES = np.array([value.bit_count() for value in range(256)], np.uint8)
