"""What a store holds after a load, read with its own client."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np

Held = dict[str, tuple[str, str, np.ndarray]]
"""Id to kind, input and vector."""


@dataclass
class Store:
    """A place of one kind of store."""

    place: str

    @property
    def into(self) -> str:
        """What `--into` takes."""
        raise NotImplementedError

    def rows(self) -> list[tuple[str, dict[str, Any], str, np.ndarray]]:
        """Id, metadata, input and vector of every row, also of doubled ones."""
        raise NotImplementedError

    def held(self) -> Held:
        rows = self.rows()
        found = {id: (metadata["kind"], given, vector) for id, metadata, given, vector in rows}
        assert len(found) == len(rows), "an id is there twice"
        return found


class Qdrant(Store):
    @property
    def into(self) -> str:
        return self.place

    def rows(self):
        from qdrant_client import QdrantClient

        with closing(QdrantClient(path=self.place)) as client:
            points, _ = client.scroll("jina-clip", limit=100_000, with_vectors=True)
        return [
            (str(point.id), point.payload["metadata"], point.payload["page_content"], np.float32(point.vector))
            for point in points
        ]


class Lance(Store):
    @property
    def into(self) -> str:
        return f"lancedb:{self.place}"

    def rows(self):
        import lancedb

        table = lancedb.connect(self.place).open_table("jina_clip").to_arrow()
        return [(row["id"], row["metadata"], row["text"], np.float32(row["vector"])) for row in table.to_pylist()]


class Postgres(Store):
    @property
    def into(self) -> str:
        return self.place

    def rows(self):
        import psycopg

        with psycopg.connect(self.place) as connection:
            query = "SELECT node_id, metadata_, text, embedding::text FROM data_jina_clip"
            found = connection.execute(query).fetchall()
        return [(id, facts, text, np.float32(vector.strip("[]").split(","))) for id, facts, text, vector in found]


STORES: dict[str, type[Store]] = {"qdrant": Qdrant, "lancedb": Lance, "postgres": Postgres}
