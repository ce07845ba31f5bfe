"""Checks of what backends and caches return, since both may be users' code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import BackendError, InputError
from .items import Setup, UniqueItem

_FLOAT32 = np.dtype(np.float32)


def check_vectors(vectors: Any, count: int, setup: Setup) -> NDArray[Any]:
    """A backend's vectors as `(count, w)` float32 or packed uint8. Raises `BackendError` for another shape or width."""
    rows = np.asarray(vectors)
    if rows.ndim != 2 or len(rows) != count:
        raise BackendError(f"the backend gave an array of shape {rows.shape} for {count} inputs")
    # Truncated as requested, or full: a backend may leave the truncation to the encoder.
    wanted = setup.requested or setup.width
    if rows.dtype == np.uint8:
        widths = {wanted and -(-wanted // 8)}
    else:
        rows = rows.astype(np.float32, copy=False)
        widths = {wanted, setup.width}
    if rows.shape[1] not in widths and setup.width is not None:
        raise BackendError(f"the backend gave vectors of {rows.shape[1]} values instead of {wanted}")
    return rows


def explain_unusable(row: NDArray[Any]) -> str:
    """What is wrong with a backend's row that `usable_rows` has left out."""
    if np.isfinite(row).all():
        return "the backend gave a vector of zeros, which has no direction,"
    return "the backend gave NaN or infinity"


def pick(items: Sequence[UniqueItem], positions: Sequence[int]) -> list[UniqueItem]:
    """The items of a result. Raises `BackendError` for one that is named twice or is done already."""
    # A row under the wrong item is the one mistake that nobody would notice later.
    picked = {int(position): items[position] for position in positions if 0 <= position < len(items)}
    if len(picked) != len(positions) or any(item.done for item in picked.values()):
        raise BackendError(f"the backend answered a position twice, or one that is not among the {len(items)} inputs")
    return list(picked.values())


def position_of(error: InputError, items: Sequence[UniqueItem]) -> int | None:
    """Which item a backend's input error is about: the one it names, or the image whose reading failed."""
    if error.index is not None:
        return error.index if 0 <= error.index < len(items) else None
    # An image remembers its own failure, and a backend that reads it lets that through or raises another from it.
    chain = {id(error), id(error.__cause__), id(error.__context__)}
    failures = (getattr(item.value, "failure", None) for item in items)
    return next((n for n, failure in enumerate(failures) if failure is not None and id(failure) in chain), None)


def as_entry(found: Any, width: int | None) -> NDArray[np.float32] | None:
    """A cache's entry as a float32 row; None for anything but a full-width vector, which then counts as missing."""
    if type(found) is np.ndarray and found.dtype is _FLOAT32 and found.shape == (width,):
        return found  # the usual case, at a fraction of the checks' cost
    entry = np.asarray(found)
    if entry.dtype.kind != "f" or entry.ndim != 1 or (width is not None and len(entry) != width):
        return None
    return entry if entry.dtype == np.float32 else entry.astype(np.float32)
