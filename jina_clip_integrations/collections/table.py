"""The points of an embedded store in memory: one matrix and the columns that filters ask for.

Qdrant's embedded mode looks at every payload in Python for every query: 0.2 s for 10,000 points with the simplest
filter. A store that one process has to itself can be read once instead, and every search is a matrix product.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..types import Vectors
from ..vectors import normalize
from .names import decode_name
from .payload import MTIME_NS, NAME, PLACE, TAKEN

Payload = dict[str, Any]
Column = TypeVar("Column", bound=NDArray[Any])

FIRST_ROWS = 256


class PointTable:
    """Ids, payloads and normalised vectors of all points. Not thread-safe: the store's lock protects it."""

    def __init__(self, dimensions: int) -> None:
        self.ids: list[str] = []
        self.payloads: list[Payload] = []
        self.revision = 0
        """Grows with every change."""
        self._rows: dict[str, int] = {}
        self._matrix = np.empty((FIRST_ROWS, dimensions), np.float32)
        self._columns: dict[tuple[str, str], Any] = {}

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def matrix(self) -> Vectors:
        """The vectors `(n, d)`, one row per id; valid until the next change."""
        return self._matrix[: len(self.ids)]

    def put(self, ids: Sequence[str], payloads: Iterable[Payload], vectors: Vectors) -> None:
        """Add points, or replace those of the same id."""
        for id_, payload, vector in zip(ids, payloads, normalize(np.asarray(vectors, np.float32)), strict=True):
            row = self._rows.get(id_)
            if row is None:
                row = self._add_row(id_)
            self.payloads[row] = payload
            self._matrix[row] = vector
        self._changed()

    def update(self, ids: Iterable[str], changes: Mapping[str, Any]) -> None:
        """Change fields of the payload of these points."""
        for id_ in ids:
            row = self._rows.get(id_)
            if row is not None:
                self.payloads[row] = {**self.payloads[row], **changes}
        self._changed()

    def remove(self, ids: Iterable[str]) -> None:
        """Drop these points; the last one takes the place of each."""
        for id_ in ids:
            row = self._rows.pop(id_, None)
            if row is None:
                continue
            last = len(self.ids) - 1
            if row != last:
                self.ids[row], self.payloads[row] = self.ids[last], self.payloads[last]
                self._matrix[row] = self._matrix[last]
                self._rows[self.ids[row]] = row
            self.ids.pop()
            self.payloads.pop()
        self._changed()

    def numbers(self, name: str) -> NDArray[np.float64]:
        """A field as float64, NaN where it is missing."""

        def make() -> NDArray[np.float64]:
            return np.array([_number(payload.get(name)) for payload in self.payloads], np.float64)

        return self._column("numbers", name, make)

    def words(self, name: str) -> NDArray[np.object_]:
        """A field of text, the empty string where it is missing."""

        def make() -> NDArray[np.object_]:
            return np.array([payload.get(name) or "" for payload in self.payloads], np.object_)

        return self._column("words", name, make)

    def times(self) -> NDArray[np.float64]:
        """When each file was taken, or where that is not known last changed, in seconds since 1970."""

        def make() -> NDArray[np.float64]:
            taken = self.numbers(TAKEN)
            return np.where(np.isnan(taken), self.numbers(MTIME_NS) / 1e9, taken)

        return self._column("times", "", make)

    def places(self) -> NDArray[np.float64]:
        """Latitude and longitude `(n, 2)` in degrees, NaN where they are missing."""

        def make() -> NDArray[np.float64]:
            found = [payload.get(PLACE) or {} for payload in self.payloads]
            rows = [(_number(place.get("lat")), _number(place.get("lon"))) for place in found]
            return np.array(rows, np.float64).reshape(-1, 2)

        return self._column("places", PLACE, make)

    def below(self, folder: str) -> NDArray[np.bool_]:
        """Which files lie in a folder, at any depth: by name, so that older points count too."""
        start = f"{folder}/"
        return np.array([decode_name(str(name)).startswith(start) for name in self.words(NAME)], np.bool_)

    def distinct(self, name: str) -> set[str]:
        """The texts that a field has."""
        return {str(word) for word in self.words(name)} - {""}

    def _add_row(self, id_: str) -> int:
        row = len(self.ids)
        if row == len(self._matrix):
            grown = np.empty((2 * row, self._matrix.shape[1]), np.float32)
            grown[:row] = self._matrix
            self._matrix = grown
        self.ids.append(id_)
        self.payloads.append({})
        self._rows[id_] = row
        return row

    def _changed(self) -> None:
        self.revision += 1
        self._columns.clear()

    def _column(self, kind: str, name: str, make: Callable[[], Column]) -> Column:
        key = kind, name
        if key not in self._columns:
            self._columns[key] = make()
        column: Column = self._columns[key]
        return column


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else np.nan
