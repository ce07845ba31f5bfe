"""Handing many items to the encoder, in chunks that keep it busy and still show progress."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..types import Vectors
from .output import Output

if TYPE_CHECKING:
    from ..encoder import JinaClipEncoder

SMALLEST_CHUNK = 16
LARGEST_CHUNK = 1024
QUICK_S, SLOW_S = 1.0, 5.0
"""A chunk that takes less makes the next one larger, one that takes longer makes it smaller; seconds."""


class Pace:
    """How many items to hand over at a time: few for a slow model on a CPU, many for a service with room."""

    def __init__(self, size: int = SMALLEST_CHUNK) -> None:
        self.size = size

    @contextlib.contextmanager
    def timed(self) -> Iterator[None]:
        """Measure one chunk, and choose the size of the next."""
        started_s = time.monotonic()
        yield
        self.adapt(time.monotonic() - started_s)

    def adapt(self, took_s: float) -> None:
        """Double the size after a quick chunk, halve it after a slow one."""
        if took_s < QUICK_S:
            self.size = min(2 * self.size, LARGEST_CHUNK)
        elif took_s > SLOW_S:
            self.size = max(self.size // 2, SMALLEST_CHUNK)


def encode_all(encoder: JinaClipEncoder, items: Sequence[dict[str, Any]], out: Output, label: str) -> Vectors:
    """Vectors of all items, `(n, d)` float32, in their order, with progress on stderr."""
    rows: list[Vectors] = []
    pace = Pace()
    with out.progress(len(items), label) as bar:
        while bar.done < len(items):
            with pace.timed():
                rows.append(encoder.encode(items[bar.done : bar.done + pace.size]))
            bar.advance(len(rows[-1]))
    return np.concatenate(rows) if rows else np.empty((0, encoder.dimensions or 0), np.float32)
