"""Reading the points of a collection, from an embedded store or a server: what searches are built on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from ..types import Modality, Vectors
from .filters import Filters
from .names import encode_name
from .payload import MODALITY, NAME, ROOT


@dataclass(frozen=True)
class Where:
    """Which points are meant."""

    root: Path | None = None
    """Points of this folder only; None = of every folder in the collection."""
    modality: Modality | None = None
    filters: Filters = field(default_factory=Filters)
    name: str | None = None
    """Points of this file only."""

    def exact(self) -> dict[str, str]:
        """Payload fields that have to be equal to these values."""
        given = {
            ROOT: None if self.root is None else encode_name(str(self.root)),
            MODALITY: self.modality,
            NAME: None if self.name is None else encode_name(self.name),
        }
        return {name: value for name, value in given.items() if value is not None}

    def of(self, modality: Modality | None = None, *, name: str | None = None) -> Where:
        """The points of the same folder of a modality or a file, whatever the filters."""
        return replace(self, modality=modality, name=name, filters=Filters())


@dataclass(frozen=True)
class Point:
    """A point that a search found."""

    id: str
    score: float
    payload: dict[str, Any]
    vector: Vectors | None = None
    """`(d,)`, of unit length; None if it was not asked for."""


class PointSource(Protocol):
    """Points of one collection. Thread-safe."""

    def nearest(self, vector: Vectors, where: Where, *, top: int, with_vectors: bool = False) -> list[Point]:
        """The `top` points with the highest cosine to `vector` `(d,)`, best first."""
        ...

    def sample(self, where: Where, size: int) -> Vectors:
        """Vectors `(n, d)` of at most `size` points, taken at random."""
        ...

    def count(self, where: Where) -> int:
        """How many points there are."""
        ...

    def read(self, where: Where, *, with_vectors: bool = False) -> Iterator[tuple[list[dict[str, Any]], Vectors]]:
        """All points, some at a time: payloads, and vectors `(n, d)`, which have no columns if not asked for."""
        ...

    def revision(self) -> object:
        """Something that is equal only as long as nothing changed, as far as can be told."""
        ...
