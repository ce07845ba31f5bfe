"""Encoding many items with progress, one chunk at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..types import Vectors
from .output import Output

if TYPE_CHECKING:
    from ..encoder import JinaClipEncoder

ITEMS_AT_A_TIME = 128
"""What one call to the encoder gets: enough to keep a device or the service's connections busy."""


def encode_all(encoder: JinaClipEncoder, items: Sequence[dict[str, Any]], out: Output, label: str) -> Vectors:
    """Vectors of all items, `(n, d)` float32, in their order, with progress on stderr."""
    rows: list[Vectors] = []
    with out.progress(len(items), label) as bar:
        for start in range(0, len(items), ITEMS_AT_A_TIME):
            rows.append(encoder.encode(items[start : start + ITEMS_AT_A_TIME]))
            bar.advance(len(rows[-1]))
    return np.concatenate(rows) if rows else np.empty((0, encoder.dimensions or 0), np.float32)
