"""Items that have a text and an image at once: embedded one by one, and put together again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..types import Item, Vectors
from ..vectors import normalize


def split_items(items: Sequence[Item]) -> tuple[list[Item], NDArray[np.int64]]:
    """Items of one modality each, as `encoder.encode` takes them, and for each the position of the item it is of."""
    parts = [({key: item[key]}, number) for number, item in enumerate(items) for key in item]
    return [part for part, _ in parts], np.array([number for _, number in parts], np.int64)


def join_rows(rows: Vectors, owners: NDArray[np.int64], count: int) -> Vectors:
    """Rows of the parts `(p, d)` as rows of the items `(count, d)`: of a text and an image the normalised sum."""
    if len(rows) == count:
        return rows
    joined = np.zeros((count, rows.shape[1]), np.float32)
    np.add.at(joined, owners, rows)
    return normalize(joined)
