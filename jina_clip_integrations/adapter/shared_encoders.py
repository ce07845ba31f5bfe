"""Encoders by their options, for stores that build an embedding function anew at every call.

Chroma and LanceDB read it back from their configuration with each search, and a model is not to be loaded each time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..concurrency.locks import ForkSafeLock
from .lazy_encoder import LazyEncoder

KEPT = 4
"""Encoders that stay open though no embedding function holds them: models of several tables that are in use at once."""

_lock = ForkSafeLock()
_recent: list[tuple[dict[str, Any], LazyEncoder]] = []


def shared_encoder(key: Mapping[str, Any]) -> LazyEncoder:
    """The encoder that was opened for equal options, or a new one; the one used longest ago is let go of."""
    with _lock:
        found = next((place for place, (known, _) in enumerate(_recent) if known == key), None)
        entry = (dict(key), LazyEncoder()) if found is None else _recent.pop(found)
        _recent.insert(0, entry)
        del _recent[KEPT:]
        return entry[1]
