"""Types of numbers that vectors are stored in, and the search that a store makes of each.

| type | stored | first search | ordered anew by float32 queries times |
| --- | --- | --- | --- |
| `float32`, `float16` | the numbers | inner product | |
| `int8` | codes by calibrated ranges | int8 times int8 | |
| `int8, rescored` | the same | the same | the same codes |
| `binary` | signs | bits that differ | |
| `binary, rescored` | the same | the same | the same signs |
| `binary, float16 kept` | signs, and float16 rows that a store may leave on disk | the same | the float16 rows |
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigurationError
from ..retrieval.quantization import Int8Ranges, pack_bits, unpack_signs
from ..types import Vectors
from .search import TIE, Answers, Found, rescore, search

WHOLE_TIE = 0.5
"""Tolerance of ties among whole numbers: only equal ones tie."""

CALIBRATION_ROWS = 20_000
"""Vectors that the ranges of int8 are taken from, evenly spread over the corpus."""

OVERSAMPLING = 4
"""A rescored search looks at this many times the wanted number first (Qdrant's and sentence-transformers' example)."""


class Storage(Protocol):
    """A corpus in one type of numbers."""

    def search(self, queries: Vectors, k: int, answers: Answers) -> Found:
        """The best `k` documents of float32 queries `(n, d)`."""


@dataclass(frozen=True)
class StorageType:
    """A type of numbers, and whether what it finds is ordered anew."""

    name: str
    """`float32`, `float16`, `int8` or `binary`."""
    rescored: Rescored = ""

    def __str__(self) -> str:
        return f"{self.name}, {self.rescored}" if self.rescored else self.name

    def bytes_per_vector(self, dimensions: int) -> int:
        """What the first search reads of a vector of so many dimensions: what has to be in memory."""
        return -(-dimensions * BITS[self.name] // 8)

    def kept_bytes(self, dimensions: int) -> int:
        """What is kept besides, to order the best anew."""
        return 2 * dimensions if self.rescored == KEPT else 0

    def store(self, corpus: Vectors, *, sample: Vectors | None = None, oversampling: int = OVERSAMPLING) -> Storage:
        """Put unit vectors `(m, d)` into this type; `sample` are the vectors to calibrate on instead of these."""
        if self.name == "int8":
            ranges = Int8Ranges.fit(_spread(corpus if sample is None else sample))
            return Int8Storage(corpus, ranges, oversampling if self.rescored else 0)
        if self.name == "binary":
            kept = corpus.astype(np.float16) if self.rescored == KEPT else None
            return BinaryStorage(corpus, oversampling if self.rescored else 0, kept)
        return FloatStorage(corpus.astype(self.name, copy=False))


Rescored = Literal["", "rescored", "float16 kept"]
"""By what the best are ordered anew: nothing; float32 queries times the stored codes; times float16 rows."""

CODES: Rescored = "rescored"
KEPT: Rescored = "float16 kept"

BITS = {"float32": 32, "float16": 16, "int8": 8, "binary": 1}


def storage_types(names: Sequence[str]) -> list[StorageType]:
    """The types of these names, those of coarse numbers also rescored. Raises `ConfigurationError`."""
    found = []
    for name in dict.fromkeys(names):
        if name not in BITS:
            raise ConfigurationError(f"{name!r} is no storage type; there are {', '.join(BITS)}")
        found.append(StorageType(name))
        if name in ("int8", "binary"):
            found.append(StorageType(name, CODES))
        # int8 loses too little for rows beside it to gain anything.
        if name == "binary":
            found.append(StorageType(name, KEPT))
    return found


class FloatStorage:
    """float32, or float16 with half of its bits."""

    def __init__(self, rows: NDArray[np.floating]) -> None:
        self.rows = rows

    def search(self, queries: Vectors, k: int, answers: Answers) -> Found:
        """The inner product of float32 queries with the stored numbers, read as float32."""
        return search(queries, self._decode, len(self.rows), k, answers)

    def _decode(self, start: int, stop: int) -> Vectors:
        return self.rows[start:stop].astype(np.float32, copy=False)


class Int8Storage:
    """Codes by calibrated ranges; with `oversampling`, so many times the wanted number are ordered anew."""

    def __init__(self, corpus: Vectors, ranges: Int8Ranges, oversampling: int) -> None:
        self.ranges, self.codes = ranges, ranges.quantize(corpus)
        self._oversampling = oversampling

    def search(self, queries: Vectors, k: int, answers: Answers) -> Found:
        """int8 times int8; then, if rescored, float32 queries times the codes of the best."""
        # Whole numbers below 2**24 for up to 1,024 dimensions, which float32 multiplies and adds exactly.
        asked = self.ranges.quantize_queries(queries).astype(np.float32)
        wanted = k * max(self._oversampling, 1)
        found = search(asked, self._decode, len(self.codes), wanted, answers, tie=WHOLE_TIE)
        if not self._oversampling:
            return found
        return rescore(queries, found, lambda rows: self.ranges.dequantize(self.codes[rows]), k, answers)

    def _decode(self, start: int, stop: int) -> Vectors:
        return self.codes[start:stop].astype(np.float32)


class BinaryStorage:
    """Signs, packed eight to a byte; with `oversampling`, so many times the wanted number are ordered anew."""

    def __init__(self, corpus: Vectors, oversampling: int, kept: NDArray[np.float16] | None) -> None:
        self.bits, self.dimensions = pack_bits(corpus), corpus.shape[1]
        self._oversampling, self._kept = oversampling, kept

    def search(self, queries: Vectors, k: int, answers: Answers) -> Found:
        """Bits that agree minus bits that differ; then, if rescored, float32 queries times finer rows of the best."""
        asked = unpack_signs(pack_bits(queries), self.dimensions)
        wanted = k * max(self._oversampling, 1)
        found = search(asked, self._decode, len(self.bits), wanted, answers, tie=WHOLE_TIE)
        if not self._oversampling:
            return found
        # A row of signs is longer than a unit vector, and so are differences by rounding.
        tie = TIE * (self.dimensions**0.5 if self._kept is None else 1)
        return rescore(queries, found, self._finer_rows, k, answers, tie=tie)

    def _decode(self, start: int, stop: int) -> Vectors:
        return unpack_signs(self.bits[start:stop], self.dimensions)

    def _finer_rows(self, positions: NDArray[np.int64]) -> Vectors:
        if self._kept is not None:
            return self._kept[positions].astype(np.float32)
        return unpack_signs(self.bits[positions], self.dimensions)


def _spread(rows: Vectors) -> Vectors:
    return rows[:: max(len(rows) // CALIBRATION_ROWS, 1)]
