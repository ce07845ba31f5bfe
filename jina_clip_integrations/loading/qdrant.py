"""Vectors into Qdrant: a server by several requests at a time, an embedded one by one after the other."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import PurePath
from types import TracebackType
from typing import Any

from ..collections import payload as names
from ..collections.connection import connect, describe_failure, hold_folder, is_failure_of_store
from ..collections.identity import CollectionModel
from ..concurrency.retry import retry_wait
from ..credentials import public_url
from ..errors import BackendError, require_extra
from ..retrieval.fingerprint import VectorFingerprint
from ..settings import RetryPolicy
from .files import Batch, VectorFile
from .records import KIND, ROW, SOURCE, make_metadata, make_node
from .target import check_same_width

CONTENT, METADATA = "page_content", "metadata"
"""Fields of the payload that LangChain's `QdrantVectorStore` reads."""

POINTS_PER_REQUEST = 256
IDS_PER_REQUEST = 1024
ATTEMPTS = 4
"""Of a request to a server that is away or fails; with doubled waits between."""

INDEXING_THRESHOLD_KB = 10_000
"""Qdrant's own default of `indexing_threshold`, in kB of vectors of a segment."""

INDEXED = (names.MODALITY, f"{METADATA}.{KIND}", SOURCE)
"""Fields of the payload that a server keeps an index of."""


class QdrantTarget:
    """A collection of a Qdrant, in which a row is a point with the row's id.

    Points are written so that a second time changes nothing, and ids that are there from the same file are not sent
    again; so nothing has to be remembered beside them.
    """

    def __init__(self, location: str, *, collection: str, parallel: int = 1) -> None:
        require_extra("qdrant_client", extra="qdrant", purpose="A Qdrant")
        self._collection = collection
        self._is_server = location.startswith(("http://", "https://"))
        self._parallel = parallel
        self._place = public_url(location) if self._is_server else location
        self._hold = None if self._is_server else hold_folder(location)
        try:
            self._client = connect(location, server=self._is_server)
        except BaseException:
            self._let_go()
            raise
        self._had_points = True
        self._model: dict[str, Any] = {}

    def __enter__(self) -> QdrantTarget:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._client.close()
        self._let_go()

    def _let_go(self) -> None:
        if self._hold is not None:
            self._hold.close()

    @property
    def where(self) -> str:
        """The collection and its place."""
        return f"collection {self._collection!r} in {self._place}"

    def prepare(self, file: VectorFile) -> None:
        """Make the collection, with its indexing put off, or check the fingerprint of the one that is there."""
        ours = file.fingerprint
        self._model = CollectionModel(ours, file.info.model).to_payload()
        with self._naming_failures():
            if not self._client.collection_exists(self._collection):
                self._create(ours)
            self._check(ours)

    def _create(self, ours: VectorFingerprint) -> None:
        from qdrant_client import models

        vectors = models.VectorParams(size=ours.dimensions, distance=models.Distance.COSINE)
        self._client.create_collection(
            self._collection,
            vectors_config=vectors,
            metadata=ours.to_metadata(),
            optimizers_config=models.OptimizersConfigDiff(indexing_threshold=0),
        )

    def _check(self, ours: VectorFingerprint) -> None:
        config = self._client.get_collection(self._collection).config
        points, _ = self._client.scroll(self._collection, limit=1, with_payload=[names.MODEL])
        self._had_points = bool(points)
        # A server of before 1.16 keeps no metadata, and `jina-clip index` writes the model into every point.
        held = config.metadata or ((points[0].payload or {}).get(names.MODEL) if points else None)
        if points or held:
            ours.check(held, where=self.where)
        check_same_width(getattr(config.params.vectors, "size", None), ours, where=self.where)

    def next_row(self, file: VectorFile) -> int:
        """Always 0: batches arrive in any order, so `write` asks for ids instead."""
        del file
        return 0

    def write(self, batches: Iterator[Batch], on_stored: Callable[[int, int], None]) -> None:
        """Send what is not there yet: to a server several requests at a time, batch by batch."""
        with self._naming_failures(), ThreadPoolExecutor(self._parallel) as pool:
            try:
                for batch in batches:
                    new = self._drop_stored(batch)
                    self._send_all(new.last_of_each_id(), pool)
                    on_stored(len(new), len(batch) - len(new))
            except BaseException:
                pool.shutdown(cancel_futures=True)  # so that an interruption does not wait for the whole batch
                raise

    def _send_all(self, batch: Batch, pool: Executor) -> None:
        """Store a batch that has one row of an id at most, so that requests may overtake each other."""
        starts = range(0, len(batch), POINTS_PER_REQUEST)
        parts = [batch.take(range(start, min(start + POINTS_PER_REQUEST, len(batch)))) for start in starts]
        # The embedded client is not thread-safe.
        list((pool.map if self._is_server else map)(self._send, parts))

    def _send(self, batch: Batch, attempt: int = 1) -> None:
        try:
            self._client.upsert(self._collection, points=self._make_points(batch), wait=True)
        except Exception as error:
            if attempt == ATTEMPTS or not self._is_server or not may_pass(error):
                raise
        else:
            return
        time.sleep(retry_wait(RetryPolicy(), "", attempt, None, 0))
        self._send(batch, attempt + 1)

    def _drop_stored(self, batch: Batch) -> Batch:
        """The batch without rows that an earlier run of the same file stored."""
        if not self._had_points:
            return batch
        held: dict[str, Any] = {}
        for start in range(0, len(batch), IDS_PER_REQUEST):
            some = list(batch.ids[start : start + IDS_PER_REQUEST])
            found = self._client.retrieve(self._collection, some, with_payload=[SOURCE, ROW], with_vectors=False)
            held |= {str(point.id): point.payload or {} for point in found}

        def is_stored(position: int) -> bool:
            # With ids of the user's, a point may be an older state of the row, or a later row of the same id.
            of = held.get(batch.ids[position], {})
            return bool(of.get(SOURCE) == batch.file.source and of.get(ROW, -1) >= batch.rows[position])

        new = [position for position in range(len(batch)) if not is_stored(position)]
        return batch if len(new) == len(batch) else batch.take(new)

    def _make_points(self, batch: Batch) -> Any:
        from qdrant_client import models

        return models.Batch(ids=list(batch.ids), vectors=batch.vectors.tolist(), payloads=list(self._payloads(batch)))

    def _payloads(self, batch: Batch) -> Iterator[dict[str, Any]]:
        rows = zip(batch.ids, batch.kinds, batch.inputs, batch.rows, make_metadata(batch), strict=True)
        for id, kind, given, row, metadata in rows:
            is_image = kind == "image"
            yield {
                CONTENT: given,
                METADATA: metadata,
                # What `jina-clip search` shows of a hit; there is no folder that the row belongs to.
                names.ROOT: "",
                names.NAME: given if is_image else f"{PurePath(batch.file.name).name} row {row}",
                names.MODALITY: kind,
                names.TEXT: None if is_image else given,
                names.PASSAGE: 0,
                names.PASSAGES: 1,
                # Nothing is known of a file; equal inputs count as equal files.
                names.SIZE: 0,
                names.MTIME_NS: 0,
                names.SHA256: hashlib.sha256(given.encode()).hexdigest(),
                names.MODEL: self._model,
                SOURCE: batch.file.source,
                ROW: row,
                **make_node(id, given, metadata),
            }

    def finish(self) -> None:
        """Let a server build its indexes, which it does in the background; an embedded one has none."""
        from qdrant_client import models

        if not self._is_server:
            return
        with self._naming_failures():
            for name in INDEXED:
                self._client.create_payload_index(self._collection, name, models.PayloadSchemaType.KEYWORD)
            if self._client.get_collection(self._collection).config.optimizer_config.indexing_threshold == 0:
                threshold = models.OptimizersConfigDiff(indexing_threshold=INDEXING_THRESHOLD_KB)
                self._client.update_collection(self._collection, optimizers_config=threshold)

    def count(self) -> int:
        """Points in the collection."""
        with self._naming_failures():
            return int(self._client.count(self._collection, exact=True).count)

    @contextmanager
    def _naming_failures(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if not is_failure_of_store(error):
                raise
            raise BackendError(describe_failure(self._place, error)) from error


def may_pass(error: Exception) -> bool:
    """Whether a server that raised this may do better in a moment: it is away, overloaded or failing."""
    from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

    if isinstance(error, UnexpectedResponse):
        return error.status_code in (408, 429) or (error.status_code or 0) >= 500
    return isinstance(error, ResponseHandlingException)
