"""The rows of one call: allocated when the first vector shows its width, filled in any order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import BackendError
from ..vectors import truncate_and_normalize

BLOCK = 256
"""Rows that are finished at a time: few enough to stay in the processor's cache from the first pass to the last."""


class Table:
    """`(n, d)` rows in the caller's order. float32 rows are cut and normalised on their way in; packed bits are not."""

    def __init__(self, items: int, *, dimensions: int | None, normalize: bool, width: int | None) -> None:
        self.items = items
        self._dimensions = dimensions
        self._normalize = normalize
        self._width = width
        self._rows: NDArray[Any] | None = None

    def put(self, rows: Sequence[int], vectors: NDArray[Any]) -> None:
        """Store `vectors` `(k, w)` as these rows, finished."""
        for start in range(0, len(vectors), BLOCK):
            self._put(rows[start : start + BLOCK], vectors[start : start + BLOCK])

    def _put(self, rows: Sequence[int], vectors: NDArray[Any]) -> None:
        if vectors.dtype != np.uint8:
            vectors = truncate_and_normalize(vectors, dimensions=self._dimensions, normalized=self._normalize)
        if self._rows is None:
            self._rows = _empty(self.items, vectors.shape[1], vectors.dtype)
        if vectors.shape[1] != self._rows.shape[1] or vectors.dtype != self._rows.dtype:
            raise BackendError(
                f"the backend changed from {self._rows.shape[1]} {self._rows.dtype} values a vector to "
                f"{vectors.shape[1]} {vectors.dtype} within one call"
            )
        self._rows[rows if isinstance(rows, range) else list(rows)] = vectors

    def repeat(self, source: int, row: int) -> None:
        """Copy a finished row."""
        if self._rows is not None:
            self._rows[row] = self._rows[source]

    def array(self) -> NDArray[Any]:
        """All rows `(n, d)`, NaN (0 for packed bits) where nothing was stored."""
        if self._rows is None:
            return _empty(self.items, self._dimensions or self._width or 0, np.float32)
        return self._rows


def _empty(items: int, width: int, dtype: Any) -> NDArray[Any]:
    if dtype == np.uint8:
        return np.zeros((items, width), np.uint8)
    return np.full((items, width), np.nan, np.float32)
