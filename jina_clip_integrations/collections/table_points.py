"""`PointSource` of an embedded store: its table in memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..types import Vectors
from .filters import Mask
from .points import Point, Where
from .table import PointTable

if TYPE_CHECKING:
    from .store import FolderStore

SEED = 20_240
"""Of the random sample, so that the same collection has the same cut-off every time."""


class TablePoints:
    """Reads the table of a store. Thread-safe."""

    def __init__(self, store: FolderStore) -> None:
        self._store = store

    def nearest(self, vector: Vectors, where: Where, *, top: int, with_vectors: bool = False) -> list[Point]:
        """The points nearest to a vector, best first."""
        with self._store.table() as table:
            rows = np.flatnonzero(select(table, where))
            if not len(rows):
                return []
            # A product of all rows is faster than picking a few of them first, unless they are very few.
            few = len(rows) < len(table) // 4
            scores = table.matrix[rows] @ vector if few else (table.matrix @ vector)[rows]
            found = best(scores, top)
            return [
                Point(
                    table.ids[rows[one]],
                    float(scores[one]),
                    table.payloads[rows[one]],
                    table.matrix[rows[one]].copy() if with_vectors else None,
                )
                for one in found
            ]

    def sample(self, where: Where, size: int) -> Vectors:
        """Vectors of points taken at random, the same ones every time."""
        with self._store.table() as table:
            rows = np.flatnonzero(select(table, where))
            if len(rows) > size:
                rows = np.sort(np.random.default_rng(SEED).choice(rows, size, replace=False))
            return table.matrix[rows]

    def count(self, where: Where) -> int:
        """How many points there are."""
        with self._store.table() as table:
            return int(select(table, where).sum())

    def read(self, where: Where, *, with_vectors: bool = False) -> Iterator[tuple[list[dict[str, Any]], Vectors]]:
        """Payloads and vectors, all at once."""
        with self._store.table() as table:
            rows = np.flatnonzero(select(table, where))
            payloads = [table.payloads[row] for row in rows]
            vectors = table.matrix[rows] if with_vectors else np.empty((len(rows), 0), np.float32)
        yield payloads, vectors

    def revision(self) -> object:
        """Equal as long as nothing changed."""
        with self._store.table() as table:
            return table.revision


def select(table: PointTable, where: Where) -> Mask:
    """Which points of `table` are meant: `(n,)`."""
    selected = where.filters.mask(table)
    for name, value in where.exact().items():
        selected &= (table.words(name) == value).astype(np.bool_)
    return selected


def best(scores: NDArray[np.float32], top: int) -> NDArray[np.intp]:
    """Positions of the `top` highest scores, best first; of equal ones the earlier."""
    if top < len(scores):
        edge = np.partition(scores, len(scores) - top)[len(scores) - top]
        found = np.flatnonzero(scores >= edge)
    else:
        found = np.arange(len(scores))
    result: NDArray[np.intp] = found[np.argsort(-scores[found], kind="stable")][:top]
    return result
