"""What every store that is loaded does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

from ..errors import ConfigurationError
from ..retrieval.fingerprint import VectorFingerprint
from .files import Batch, VectorFile


class Target(Protocol):
    """A collection or table that takes batches."""

    @property
    def where(self) -> str:
        """What messages call it; nothing secret."""

    def prepare(self, file: VectorFile) -> None:
        """Make it for vectors like those of `file`, or check it. Raises `ConfigurationError` for another model's."""

    def next_row(self, file: VectorFile) -> int:
        """The row of `file` from which on it may not be stored yet."""

    def write(self, batches: Iterator[Batch], on_stored: Callable[[int, int], None]) -> None:
        """Store every batch, as a whole or so that a second time replaces the first.

        `on_stored` is told rows that were looked at and, of those, rows that were there before.
        """

    def finish(self) -> None:
        """Make the indexes that were put off. Idempotent."""

    def count(self) -> int:
        """Rows in it."""


def check_same_width(held: int | None, ours: VectorFingerprint, *, where: str) -> None:
    """Raise `ConfigurationError` where a store that says nothing of a model is of another width than our vectors."""
    if held is not None and held != ours.dimensions:
        raise ConfigurationError(f"{where} is for vectors of {held} dimensions, but these have {ours.dimensions}")
