"""Warnings of what images lose on the way to RGB, one of each kind in the life of an encoder."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from ..concurrency.locks import ForkSafeLock
from ..images.encoded import InputImage
from ..images.rendering import LOSSES
from .results import Results


class LossWarnings:
    """Remembers of which kinds the user has been warned. Thread-safe."""

    def __init__(self) -> None:
        self._warned: set[str] = set()
        self._lock = ForkSafeLock()

    def warn(self, items: Sequence[Any], results: Results) -> None:
        """Warn of what images among `items` have lost, in the caller's thread: images are decoded in others."""
        losing = [(row, item) for row, item in enumerate(items) if isinstance(item, InputImage) and item.losses]
        for kind in LOSSES if losing else ():
            affected = [(row, image) for row, image in losing if kind in image.losses]
            if affected and self._is_first(kind):
                row, image = affected[0]
                label = image.losses[kind]
                which = label if results.single else f"input {row + results.offset} ({label})"
                more = f", and {len(affected) - 1} more like it" if len(affected) > 1 else ""
                warnings.warn(f"{which}{more}: {LOSSES[kind]}", UserWarning, stacklevel=5)

    def _is_first(self, kind: str) -> bool:
        with self._lock:
            first = kind not in self._warned
            self._warned.add(kind)
            return first
