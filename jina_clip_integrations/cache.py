"""Caches of vectors: the protocol, a cache in memory, a cache on disk, and the recipe of their keys.

Rows are kept at full width, so one entry serves every `dimensions`.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import sqlite3
import threading
import time
import warnings
import weakref
import zlib
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from .concurrency.locks import ForkSafeLock
from .errors import ConfigurationError
from .types import Modality

CACHE_FORMAT = 1
"""Part of every key; raised when the recipe or the meaning of an entry changes."""
MEMORY_ITEMS = 50_000
"""Entries of a `MemoryCache` by default: about 200 MB of full-width v2 vectors."""
DISK_FILE = "vectors-2.sqlite3"
"""The one file of a `DiskCache` in its folder (SQLite adds `-wal` and `-shm` while it is open). The number is that of
its table's layout: a file of another layout is left alone.
"""
BUSY_TIMEOUT_S = 30.0
"""How long a process waits for another one that is writing."""
FORK_WAIT_S = 1.0
"""How long a fork waits for another thread that is writing; a write takes milliseconds, unless it waits itself."""
_KEYS_PER_QUERY = 512  # SQLite before 3.32 takes 999 parameters at most
_KINDS = (np.dtype("<f4"), np.dtype("u1"))  # by the number in the `kind` column

Entry = NDArray[Any]
"""A full-width float32 vector `(d,)`, or the uint8 digest `(32,)` that an encoded file's pixels have."""


@runtime_checkable
class EmbeddingCache(Protocol):
    """The methods of a cache; `close()` is called only where the encoder made the cache, from a path."""

    def get_many(self, keys: Sequence[str]) -> Mapping[str, Entry]:
        """The entries that exist; a missing or unreadable one is left out."""

    def set_many(self, entries: Mapping[str, Entry]) -> None:
        """Store these entries; a later one under the same key replaces an earlier one."""


def vector_key(*, identity: str, normalize: bool, modality: Modality, task: str | None, digest: str) -> str:
    """The key of a vector: what computes it (model, revision, `max_length`, precision, backend), and from what input.

    `identity` is the backend's `cache_identity`; `digest` is SHA-256 of the text or of the image's RGB pixels, never
    of a path, a size or a `repr`.
    """
    return f"{_scope(identity, normalize, modality, task)}-{digest}"


@functools.lru_cache(maxsize=256)  # the same for all items of a call
def _scope(identity: str, normalize: bool, modality: Modality, task: str | None) -> str:
    parts = json.dumps([CACHE_FORMAT, identity, normalize, modality, task])
    return hashlib.sha256(parts.encode()).hexdigest()[:32]


def alias_key(*, file_digest: str, rendering: str) -> str:
    """The key under which an encoded file's pixel digest is remembered, so that a known file is not decoded again.

    `rendering` is the `key` of how it becomes pixels.
    """
    return f"pixels-{CACHE_FORMAT}-{rendering}-{file_digest}"


def text_digest(text: str) -> str:
    """SHA-256 of a text in UTF-8, in hex."""
    # Any `str` has a digest, so that an invalid one is refused by the check of inputs and not here.
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def text_keys(texts: Iterable[str], *, identity: str, normalize: bool, task: str | None) -> list[str]:
    """`vector_key` of many texts that are computed alike."""
    scope, sha256 = _scope(identity, normalize, "text", task), hashlib.sha256
    return [f"{scope}-{sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()}" for text in texts]


def open_cache(cache: Any) -> EmbeddingCache | None:
    """None, the object itself, or a `DiskCache` for a path. Raises `ConfigurationError`."""
    if cache is None or (isinstance(cache, EmbeddingCache) and not isinstance(cache, type)):
        return cache
    if isinstance(cache, (str, os.PathLike)):
        return DiskCache(cache)
    raise ConfigurationError(
        f"cache must be None, a path or an object with get_many(keys) and set_many(entries), not {cache!r:.60}"
    )


class MemoryCache:
    """Holds the `max_items` most recently used entries of this process. Thread-safe. Copies and pickles start empty."""

    def __init__(self, max_items: int = MEMORY_ITEMS) -> None:
        if max_items < 1:
            raise ConfigurationError(f"max_items must be at least 1, not {max_items}")
        self.max_items = max_items
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self._lock = ForkSafeLock()

    def __repr__(self) -> str:
        return f"MemoryCache(max_items={self.max_items})"

    def __len__(self) -> int:
        return len(self._entries)

    def __reduce__(self) -> tuple[Any, ...]:
        return MemoryCache, (self.max_items,)

    def get_many(self, keys: Sequence[str]) -> dict[str, Entry]:
        """The entries that exist."""
        with self._lock:
            found = {key: self._entries[key] for key in keys if key in self._entries}
            for key in found:
                self._entries.move_to_end(key)
        return found

    def set_many(self, entries: Mapping[str, Entry]) -> None:
        """Store copies of these entries, dropping the least recently used beyond `max_items`."""
        with self._lock:
            for key, entry in entries.items():
                # A copy, since an entry may be a row of the caller's result, or keep a whole batch alive.
                self._entries[key] = np.array(entry)
                self._entries.move_to_end(key)
            while len(self._entries) > self.max_items:
                self._entries.popitem(last=False)

    def close(self) -> None:
        """Nothing to close; the entries stay."""


class DiskCache:
    """Stores entries in the folder `path`, for any number of threads and processes of one machine at once.

    An entry costs about 4.2 kB for v2. The folder grows without bound: delete it, or call `clear()`, when it is too
    large. A crash loses at most the entries being written; a damaged entry counts as missing. SQLite's shared memory
    does not work on network file systems.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).expanduser()
        self._lock = ForkSafeLock()
        self._connection: sqlite3.Connection | None = None
        self._warned = False
        self._uses = 0
        if self.path.exists() and not self.path.is_dir():
            raise ConfigurationError(f"cache {str(self.path)!r} is a file; a cache is a folder, so name another path")
        _DISK_CACHES.add(self)

    def __repr__(self) -> str:
        return f"DiskCache({str(self.path)!r})"

    def __del__(self) -> None:
        connection = self.__dict__.get("_connection")  # missing if the constructor raised
        if connection is not None:
            connection.close()  # or Python 3.13 warns of an unclosed database

    def __len__(self) -> int:
        with self._lock, self._naming_failures():
            return int(self._connect().execute("SELECT count(*) FROM entries").fetchone()[0])

    def __reduce__(self) -> tuple[Any, ...]:
        return DiskCache, (self.path,)

    def get_many(self, keys: Sequence[str]) -> dict[str, Entry]:
        """The entries that exist and are intact."""
        found: dict[str, Entry] = {}
        for some in _slices(keys, _KEYS_PER_QUERY):
            asked, marks = set(some), ",".join("?" * len(some))
            query = f"SELECT key, kind, data, crc FROM entries WHERE hash IN ({marks})"  # noqa: S608
            for key, kind, data, crc in self._rows(query, list(map(_hash, some))):
                # Another key may share the hash, and a damaged page may hold anything.
                if key in asked and kind in (0, 1) and isinstance(data, bytes) and zlib.crc32(data) == crc:
                    found[key] = np.frombuffer(data, _KINDS[kind])
        return found

    def set_many(self, entries: Mapping[str, Entry]) -> None:
        """Store these entries. A full disk or a broken file is a warning, not an error: the vectors are still good."""
        rows = [_as_row(key, entry) for key, entry in entries.items()]
        try:
            with self._lock:
                connection = self._connect()
                with connection:
                    # Not `INSERT OR REPLACE`: the index cannot be unique, since keys may share a hash.
                    connection.executemany("DELETE FROM entries WHERE hash = ? AND key = ?", [row[:2] for row in rows])
                    connection.executemany("INSERT INTO entries VALUES (?, ?, ?, ?, ?)", rows)
        except (sqlite3.Error, OSError) as error:
            self._warn("cannot be written", error)

    def clear(self) -> None:
        """Forget every entry and give the disk space back. Raises `ConfigurationError` if the file cannot be used."""
        with self._lock, self._naming_failures():
            connection = self._connect()
            with connection:
                connection.execute("DELETE FROM entries")
            connection.execute("VACUUM")

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _rows(self, query: str, values: Sequence[int]) -> list[tuple[str, int, bytes, int]]:
        try:
            with self._lock:
                return self._connect().execute(query, values).fetchall()
        except (sqlite3.Error, OSError) as error:
            self._warn("cannot be read", error)
            return []

    def _is_writing(self) -> bool:
        connection = self._connection
        with suppress(sqlite3.Error):  # closed meanwhile
            return connection is not None and connection.in_transaction
        return False

    def _connect(self) -> sqlite3.Connection:
        self._uses += 1
        if self._connection is None:
            self.path.mkdir(parents=True, exist_ok=True)
            self._connection = _open_database(self.path / DISK_FILE)
        return self._connection

    @contextmanager
    def _naming_failures(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise ConfigurationError(f"the cache {str(self.path)!r} cannot be used ({error}); delete it") from error

    def _warn(self, what: str, error: Exception) -> None:
        if not self._warned:
            self._warned = True
            warnings.warn(
                f"the cache {str(self.path)!r} {what} ({error}); going on without it. "
                "Delete the folder if this stays so.",
                RuntimeWarning,
                stacklevel=2,
            )


def _open_database(file: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(file, timeout=BUSY_TIMEOUT_S, check_same_thread=False)  # `_lock` sees to threads
    try:
        connection.execute("PRAGMA page_size = 16384")  # three full-width vectors to a page, none split over two
        connection.execute("PRAGMA journal_mode = WAL")  # processes may read while another one writes
        # With WAL a power failure takes the last entries at most; FULL would wait for the disk at every write.
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA mmap_size = 1073741824")
        # An index of small numbers is read several times as fast as one of keys, of which many begin alike.
        connection.execute(
            "CREATE TABLE IF NOT EXISTS entries (hash INTEGER, key TEXT, kind INTEGER, data BLOB, crc INTEGER)"
        )
        connection.execute("CREATE INDEX IF NOT EXISTS by_hash ON entries (hash)")
        connection.commit()
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _as_row(key: str, entry: Entry) -> tuple[int, str, int, bytes, int]:
    kind = 1 if entry.dtype == np.uint8 else 0
    data = np.ascontiguousarray(entry, _KINDS[kind]).tobytes()
    return _hash(key), key, kind, data, zlib.crc32(data)


def _hash(key: str) -> int:
    """Where to look for a key: its CRC-32, which another key may share."""
    return zlib.crc32(key.encode("utf-8", "surrogatepass"))


def _slices(keys: Iterable[str], size: int) -> Iterator[list[str]]:
    listed = list(keys)
    return (listed[start : start + size] for start in range(0, len(listed), size))


_DISK_CACHES: weakref.WeakSet[DiskCache] = weakref.WeakSet()
_INHERITED: list[sqlite3.Connection] = []
_held = threading.local()  # several threads may fork at a time


def _close_before_fork() -> None:
    """Close every connection, and keep other threads from opening one until the fork is done.

    SQLite keeps the locks of a process in its memory: a child that inherited a connection in the middle of a write
    would find the file locked by itself, for ever.
    """
    # In one order everywhere, so that two threads that fork do not wait for each other.
    _held.caches = []
    for cache in sorted(_DISK_CACHES, key=id):
        if _take(cache):
            _held.caches.append(cache)
            cache._close()


def _take(cache: DiskCache) -> bool:
    """Get the lock of a cache, waiting for as long as others use it; False if one holds it and does nothing."""
    deadline_s = time.monotonic() + BUSY_TIMEOUT_S
    while time.monotonic() < deadline_s:
        uses = cache._uses
        if cache._lock.acquire(FORK_WAIT_S):
            return True
        # A lock is not fair: a thread that writes all the time may have had it again and again.
        if cache._uses == uses and not cache._is_writing():
            return False
    return False


def _release_after_fork() -> None:
    for cache in _held.caches:
        cache._lock.release()
    _held.caches = []


def _leave_connections() -> None:
    """A connection that could not be closed before the fork is left alone: closing it would damage the parent's."""
    for cache in list(_DISK_CACHES):
        if cache._connection is not None:
            _INHERITED.append(cache._connection)
            cache._connection = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_close_before_fork, after_in_parent=_release_after_fork, after_in_child=_leave_connections
    )
