"""The vector store behind `index` and `search`: Qdrant, embedded in a folder or on a server.

One collection holds a point per image and per passage of a text. A point's payload says which file it came from, the
state of that file (so that unchanged files are skipped) and which model made the vector, so that a store is never
searched with another model's vectors.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import BackendError, ConfigurationError, require_extra
from ..types import Modality, Vectors
from .connection import connect, describe_failure, hold_folder, is_failure_of_store
from .facts import ImageFacts
from .identity import CollectionModel
from .names import decode_name, encode_name
from .payload import (
    FACTS,
    FACTS_VERSION,
    FOLDERS,
    INDEXES,
    MODALITY,
    MODEL,
    MTIME_NS,
    NAME,
    PASSAGE,
    PASSAGES,
    ROOT,
    SHA256,
    SIZE,
    TEXT,
    list_folders,
)
from .points import PointSource
from .scan import SourceFile, Stamp
from .server_points import ServerPoints
from .table import PointTable
from .table_points import TablePoints

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

DEFAULT_COLLECTION = "jina-clip"

POINTS_PER_REQUEST = 256
POINTS_AT_ONCE = 2**31
"""An embedded store looks at every point for every page, so all of them are one page; they are in memory anyway."""
POINTS_PER_READ = 4096
"""Points that are read at a time with their vectors, which come as Python floats: 130 MB at a width of 1,024."""

POINT_IDS = uuid.UUID("6f1a6d9e-2a0b-5c53-9a57-0d4f2f7c1b1e")
"""Namespace of the points' ids (RFC 9562, version 5). Another one would make every store of today unknown."""


@dataclass
class StoredFile:
    """What a store knows of one file."""

    stamp: Stamp
    points: list[str] = field(default_factory=list)
    """Ids of its points."""
    passages: int = 1
    """How many points the file should have."""
    facts: int = 0
    """The version of its facts; 0 where a store of before there were any has none."""

    @property
    def is_complete(self) -> bool:
        """Whether every passage arrived; an interrupted run may have left some out."""
        return len(self.points) == self.passages


@dataclass(frozen=True)
class Entry:
    """One image or passage on its way into the store."""

    file: SourceFile
    stamp: Stamp
    text: str | None = None
    passage: int = 0
    passages: int = 1
    facts: ImageFacts | None = None
    """What an image says of itself."""


class FolderStore:
    """A collection in an embedded Qdrant (`location` is a folder) or on a server (an http(s) URL)."""

    def __init__(self, location: str, *, collection: str = DEFAULT_COLLECTION) -> None:
        require_extra("qdrant_client", extra="qdrant", purpose="A vector store")
        self.location = location
        self.collection = collection
        self.is_server = location.startswith(("http://", "https://"))
        # Taken first: Qdrant's own lock comes only after everything was read, and leaves files open if it fails.
        self._hold = None if self.is_server else hold_folder(location)
        try:
            self._client = connect(location, server=self.is_server)
        except BaseException:
            self._let_go()
            raise
        self._closed = False
        self._is_there = False
        self._table: PointTable | None = None
        self._lock: AbstractContextManager[Any] = nullcontext() if self.is_server else threading.RLock()
        """An embedded store takes one call at a time; a server takes any number."""
        self._table_lock = threading.RLock()
        """A search needs the table only, and so never waits for a write to the disk. Taken inside `_lock`, never
        around it."""

    def __enter__(self) -> FolderStore:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
        if error is not None and is_failure_of_store(error):
            raise self._failure(error) from error

    def close(self) -> None:
        """Let go of the store; an embedded one is locked for other programs until then. Idempotent."""
        with self._lock:
            self._closed = True
            self._client.close()
            self._let_go()

    def _let_go(self) -> None:
        if self._hold is not None:
            self._hold.close()

    @contextmanager
    def _naming_failures(self) -> Iterator[None]:
        """Raise what the store raises as `BackendError`, so that a caller can say what was stored before.

        One thread at a time, where the store is embedded.
        """
        try:
            with self._lock:
                self._check_open()
                yield
        except Exception as error:
            if not is_failure_of_store(error):
                raise
            raise self._failure(error) from error

    def _check_open(self) -> None:
        if self._closed:
            raise BackendError(f"the store {self.location} is closed; open it again")

    def _failure(self, error: BaseException) -> BackendError:
        return BackendError(describe_failure(self.location, error))

    def exists(self) -> bool:
        """Whether the collection is there; it is made with its first vectors."""
        if not self._is_there:
            with self._naming_failures():
                self._is_there = self._client.collection_exists(self.collection)
        return self._is_there

    def model(self) -> CollectionModel | None:
        """The model whose vectors are in here; None while the store is empty."""
        # Any point will do: `prepare` keeps vectors of other models out.
        with self._naming_failures():
            there = self._client.collection_exists(self.collection)
            points = self._client.scroll(self.collection, limit=1, with_payload=True)[0] if there else []
        if not points:
            return None
        record = (points[0].payload or {}).get(MODEL)
        model = CollectionModel.from_payload(record, where=self.location) if isinstance(record, dict) else None
        if model is None:
            raise ConfigurationError(
                f"collection {self.collection!r} in {self.location} was not made by jina-clip index; "
                "choose another with --collection"
            )
        return model

    def prepare(self, model: CollectionModel) -> None:
        """Make the collection for this model's vectors, or refuse one that holds another's (`ConfigurationError`)."""
        from qdrant_client import models

        held = self.model()
        model.check(held, where=self.location)
        if held is not None:
            with self._naming_failures():
                self._create_indexes()  # a collection of an earlier version has fewer
            return
        with self._naming_failures():
            # An empty collection may be of another width, left by a run that was stopped before its first vector.
            if self._client.collection_exists(self.collection):
                self._client.delete_collection(self.collection)
            with self._table_lock:
                self._table = None
            vectors = models.VectorParams(size=model.fingerprint.dimensions, distance=models.Distance.COSINE)
            self._client.create_collection(self.collection, vectors_config=vectors)
            self._create_indexes()

    def _create_indexes(self) -> None:
        from qdrant_client import models

        if not self.is_server:  # an embedded Qdrant ignores payload indexes, with a warning
            return
        there = self._client.get_collection(self.collection).payload_schema
        for name, kind in INDEXES.items():
            if name not in there:
                self._client.create_payload_index(self.collection, name, models.PayloadSchemaType(kind))

    def files(self, root: Path, *, names: Collection[str] | None = None) -> dict[str, StoredFile]:
        """What is stored of the folder `root`: relative name to file.

        With `names` only of these files, and of those below where one is a folder.
        """
        stored: dict[str, StoredFile] = {}
        for point in self._scroll(root, names):
            payload = point.payload
            seen = Stamp(payload[SIZE], payload[MTIME_NS], payload[SHA256])
            new = StoredFile(seen, passages=payload[PASSAGES], facts=payload.get(FACTS) or 0)
            file = stored.setdefault(decode_name(payload[NAME]), new)
            file.points.append(str(point.id))
        return stored

    def put(self, root: Path, entries: Sequence[Entry], vectors: Vectors, model: CollectionModel) -> None:
        """Store one vector per entry; what was there under the same file and passage is replaced."""
        from qdrant_client import models

        points = [
            models.PointStruct(
                id=make_point_id(root, entry), vector=vector.tolist(), payload=_make_payload(root, entry, model)
            )
            for entry, vector in zip(entries, vectors, strict=True)
        ]
        # `wait=True` throughout: an interruption after this line must find the points stored.
        with self._naming_failures():
            self._client.upsert(self.collection, points=points, wait=True)
            payloads = [dict(point.payload or {}) for point in points]
            self._repeat(lambda table: table.put([str(point.id) for point in points], payloads, vectors))

    def touch(self, file: StoredFile, now: Stamp) -> None:
        """Note a new modification time; the content, and so the vectors, stayed the same."""
        payload = {SIZE: now.size, MTIME_NS: now.mtime_ns, SHA256: now.sha256}
        with self._naming_failures():
            self._client.set_payload(self.collection, payload=payload, points=file.points, wait=True)
            self._repeat(lambda table: table.update(file.points, payload))

    def write_facts(self, described: Sequence[tuple[StoredFile, SourceFile, ImageFacts | None]]) -> None:
        """Write the facts of files whose vectors are stored, in place of older ones or none."""
        from qdrant_client import models

        changes = [(stored.points, _facts_payload(file, facts)) for stored, file, facts in described]
        operations = [
            models.SetPayloadOperation(set_payload=models.SetPayload(payload=payload, points=list(points)))
            for points, payload in changes
        ]
        if not operations:
            return
        with self._naming_failures():
            self._client.batch_update_points(self.collection, update_operations=operations, wait=True)
            for points, payload in changes:
                self._repeat(partial(PointTable.update, ids=points, changes=payload))

    def remove(self, points: Iterable[str]) -> None:
        """Delete these points."""
        selected = list(points)
        if selected:
            with self._naming_failures():
                self._client.delete(self.collection, points_selector=selected, wait=True)
                self._repeat(lambda table: table.remove(selected))

    def points(self) -> PointSource:
        """What searches look at."""
        return ServerPoints(self) if self.is_server else TablePoints(self)

    @contextmanager
    def client(self) -> Iterator[QdrantClient]:
        """The Qdrant client, for this thread alone where the store is embedded; failures are `BackendError`."""
        with self._naming_failures():
            yield self._client

    @contextmanager
    def table(self) -> Iterator[PointTable]:
        """The points of an embedded store in memory, for this thread alone; read once, and kept up to date."""
        while True:
            self._check_open()
            with self._table_lock:
                if self._table is not None:
                    yield self._table
                    return
            with self._naming_failures():
                if self._table is None:  # another thread may have read it while this one waited
                    self._table = self._read_table()

    def _repeat(self, change: Callable[[PointTable], None]) -> None:
        """Repeat in the table what was done to the store, if it has been read."""
        with self._table_lock:
            if self._table is not None:
                change(self._table)

    def count(self, modality: Modality) -> int:
        """How many points of a modality there are."""
        with self._naming_failures():
            return int(self._client.count(self.collection, count_filter=_match(MODALITY, modality)).count)

    def _read_table(self) -> PointTable:
        if not self._client.collection_exists(self.collection):
            return PointTable(1)
        width = self._client.get_collection(self.collection).config.params.vectors.size
        table = PointTable(width)
        for points in self._pages(None, POINTS_PER_READ, with_payload=True, with_vectors=True):
            vectors = np.array([point.vector for point in points], np.float32).reshape(-1, width)
            table.put([str(point.id) for point in points], [point.payload for point in points], vectors)
        return table

    def _scroll(self, root: Path, names: Collection[str] | None) -> Iterator[Any]:
        wanted = [NAME, SIZE, MTIME_NS, SHA256, PASSAGE, PASSAGES, FACTS]
        selected = _match(ROOT, encode_name(str(root)))
        if names is not None:
            selected.should = _any_of([encode_name(name) for name in names])
        size = POINTS_PER_REQUEST if self.is_server else POINTS_AT_ONCE
        for points in self._pages(selected, size, with_payload=wanted):
            yield from points

    def _pages(self, selected: Any, size: int, **wanted: Any) -> Iterator[list[Any]]:
        """Points that a filter selects, `size` at a time."""
        offset = None
        while True:
            with self._naming_failures():
                points, offset = self._client.scroll(
                    self.collection, scroll_filter=selected, limit=size, offset=offset, **wanted
                )
            yield points
            if offset is None:
                return


def make_point_id(root: Path, entry: Entry) -> str:
    """The same id for the same passage of the same file in every run."""
    return str(uuid.uuid5(POINT_IDS, f"{encode_name(str(root))}\n{encode_name(entry.file.name)}\n{entry.passage}"))


def _match(field_name: str, value: str) -> Any:
    from qdrant_client import models

    return models.Filter(must=[models.FieldCondition(key=field_name, match=models.MatchValue(value=value))])


def _any_of(names: list[str]) -> list[Any]:
    """Conditions of which one has to hold: a file of one of these names, or in a folder of one."""
    from qdrant_client import models

    return [models.FieldCondition(key=key, match=models.MatchAny(any=names)) for key in (NAME, FOLDERS)]


def _make_payload(root: Path, entry: Entry, model: CollectionModel) -> dict[str, Any]:
    return {
        ROOT: encode_name(str(root)),
        NAME: encode_name(entry.file.name),
        MODALITY: entry.file.modality,
        TEXT: entry.text,
        PASSAGE: entry.passage,
        PASSAGES: entry.passages,
        SIZE: entry.stamp.size,
        MTIME_NS: entry.stamp.mtime_ns,
        SHA256: entry.stamp.sha256,
        MODEL: model.to_payload(),
        **_facts_payload(entry.file, entry.facts),
    }


def _facts_payload(file: SourceFile, facts: ImageFacts | None) -> dict[str, Any]:
    return {
        FOLDERS: [encode_name(folder) for folder in list_folders(file.name)],
        FACTS: FACTS_VERSION,
        **({} if facts is None else facts.to_payload()),
    }
