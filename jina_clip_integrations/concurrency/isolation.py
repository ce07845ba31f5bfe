"""Finding the one bad item of a batch that failed as a whole: the batch is tried again in halves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def halve(items: Sequence[T]) -> tuple[Sequence[T], Sequence[T]]:
    """The first half, with the odd one, and the rest, in order.

    Of n items k bad ones are found with at most about 2 k log2(n) tries, and every good one is still computed.
    """
    middle = (len(items) + 1) // 2
    return items[:middle], items[middle:]
