"""How many items to hand to the encoder at a time, so that it stays busy and progress still shows."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

MIN_CHUNK, MAX_CHUNK = 16, 1024
"""Items per chunk. The smallest still fills a batch of a CPU, the largest still shows progress every few seconds."""

QUICK_S, SLOW_S = 1.0, 5.0
"""A chunk that takes less makes the next one larger, one that takes longer makes it smaller; seconds."""


class ChunkSizer:
    """Chooses how many items to hand over at a time: few for a slow model on a CPU, many for a fast service."""

    def __init__(self, size: int = MIN_CHUNK) -> None:
        self.size = size

    @contextlib.contextmanager
    def measure(self) -> Iterator[None]:
        """Time one chunk, and choose the size of the next."""
        started_s = time.monotonic()
        yield
        self.adapt(time.monotonic() - started_s)

    def adapt(self, took_s: float) -> None:
        """Double the size after a quick chunk, halve it after a slow one."""
        # Only powers of two apart, with a dead zone between: the size settles instead of oscillating.
        if took_s < QUICK_S:
            self.size = min(2 * self.size, MAX_CHUNK)
        elif took_s > SLOW_S:
            self.size = max(self.size // 2, MIN_CHUNK)
