"""`PointSource` of a Qdrant server: its own search and filters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..types import Vectors
from ..vectors import normalize
from .payload import CAMERA
from .points import Point, Where

if TYPE_CHECKING:
    from .store import FolderStore

READ_AT_A_TIME = 1000
"""Points in one answer of the server."""

MAX_CAMERAS = 1000
"""Most names of cameras that the server is asked for."""


class ServerPoints:
    """Asks a server. Thread-safe, as its client is."""

    def __init__(self, store: FolderStore) -> None:
        self._store = store

    def nearest(self, vector: Vectors, where: Where, *, top: int, with_vectors: bool = False) -> list[Point]:
        """The points nearest to a vector, best first."""
        with self._store.client() as client:
            response = client.query_points(
                self._store.collection,
                query=vector.tolist(),
                query_filter=self._filter(where),
                limit=top,
                with_payload=True,
                with_vectors=with_vectors,
            )
        return [
            Point(str(one.id), float(one.score), one.payload or {}, _row(one.vector) if with_vectors else None)
            for one in response.points
        ]

    def sample(self, where: Where, size: int) -> Vectors:
        """Vectors of points taken at random."""
        from qdrant_client import models

        with self._store.client() as client:
            response = client.query_points(
                self._store.collection,
                query=models.SampleQuery(sample=models.Sample.RANDOM),
                query_filter=self._filter(where),
                limit=size,
                with_vectors=True,
                with_payload=False,
            )
        return _rows([point.vector for point in response.points])

    def count(self, where: Where) -> int:
        """How many points there are."""
        with self._store.client() as client:
            return int(client.count(self._store.collection, count_filter=self._filter(where), exact=True).count)

    def read(self, where: Where, *, with_vectors: bool = False) -> Iterator[tuple[list[dict[str, Any]], Vectors]]:
        """Payloads and vectors, some at a time."""
        offset = None
        while True:
            with self._store.client() as client:
                points, offset = client.scroll(
                    self._store.collection,
                    scroll_filter=self._filter(where),
                    limit=READ_AT_A_TIME,
                    offset=offset,
                    with_payload=True,
                    with_vectors=with_vectors,
                )
            rows = _rows([point.vector for point in points]) if with_vectors else np.empty((len(points), 0), np.float32)
            yield [point.payload or {} for point in points], rows
            if offset is None:
                return

    def revision(self) -> object:
        """Equal as long as there are as many points as before."""
        # Others write to a server too; a change that leaves the number of points as it is hardly moves the scores.
        return self.count(Where())

    def _filter(self, where: Where) -> Any:
        cameras = [] if where.filters.camera is None else where.filters.matching_cameras(self._cameras())
        return make_filter(where, cameras)

    def _cameras(self) -> list[str]:
        with self._store.client() as client:
            found = client.facet(self._store.collection, key=CAMERA, limit=MAX_CAMERAS, exact=False)
        return [str(one.value) for one in found.hits]


def make_filter(where: Where, cameras: Sequence[str] = ()) -> Any:
    """Qdrant's filter for these points; `cameras` are the names that a filter on the camera means."""
    from qdrant_client import models

    exact = [
        models.FieldCondition(key=name, match=models.MatchValue(value=value)) for name, value in where.exact().items()
    ]
    return models.Filter(must=[*exact, *where.filters.to_qdrant(cameras)])


def _rows(vectors: list[Any]) -> Vectors:
    return normalize(np.array(vectors, np.float32)) if vectors else np.empty((0, 0), np.float32)


def _row(vector: Any) -> Vectors:
    row: Vectors = _rows([vector])[0]
    return row
