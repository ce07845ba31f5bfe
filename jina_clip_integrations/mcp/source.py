"""A collection that is opened and brought up to date in the background, so that a server answers from its start."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from ..collections.folder import FolderCollection
from ..collections.indexing import IndexProgress
from ..errors import BackendError, InputError, JinaClipError
from .schema import IndexingState

OPENING_WAIT_S = 40.0
"""Longest wait of a call for a collection that is being opened. Hosts give up after a minute."""
CLOSING_WAIT_S = 10.0
"""Longest wait for the batch that is being indexed when the server ends."""

logger = logging.getLogger(__name__)


class CollectionSource:
    """Opens the collection of a folder, and again after a failure, such as a store that another program had open.

    A context manager, which opens and indexes in threads of its own. Thread-safe.

    Args:
        folder: The folder of images.
        open_collection: Opens its collection.
        index: Whether to bring the collection up to date with the folder.
    """

    def __init__(self, folder: Path, open_collection: Callable[[], FolderCollection], *, index: bool = True) -> None:
        self.folder = folder
        self._open_collection = open_collection
        self._index = index
        self._opening = threading.Lock()
        self._collection: FolderCollection | None = None
        self._closed = False
        self._stop = threading.Event()
        self._indexer: threading.Thread | None = None
        self._state = IndexingState(state="waiting" if index else "off")

    def __enter__(self) -> CollectionSource:
        threading.Thread(target=self._open_quietly, name="mcp-open", daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @property
    def indexing(self) -> IndexingState:
        """How far the index is."""
        return self._state

    @property
    def is_available(self) -> bool:
        """Whether the folder is there now; a disk or share may have gone."""
        return self.folder.is_dir()

    def get(self) -> FolderCollection:
        """The collection. Raises `BackendError` if it is still being opened, and what opening it raises."""
        if not self._opening.acquire(timeout=OPENING_WAIT_S):
            raise BackendError("the collection is still being opened; ask again in a moment")
        try:
            if self._closed:
                raise BackendError("the server is ending")
            if self._collection is None:
                self._collection = self._open_collection()
                self._start_indexing(self._collection)
            return self._collection
        finally:
            self._opening.release()

    def close(self) -> None:
        """Stop indexing and close the collection. What was stored stays."""
        self._stop.set()
        if self._indexer is not None:
            self._indexer.join(CLOSING_WAIT_S)
        with self._opening:
            self._closed = True
            if self._collection is not None:
                self._collection.close()
                self._collection = None

    def _open_quietly(self) -> None:
        try:
            self.get()
        except Exception as error:  # the next call tries again, and tells the agent
            logger.warning("%s", error)

    def _start_indexing(self, collection: FolderCollection) -> None:
        if self._index:
            self._indexer = threading.Thread(target=self._run_index, args=(collection,), name="mcp-index", daemon=True)
            self._indexer.start()

    def _run_index(self, collection: FolderCollection) -> None:
        self._state = IndexingState(state="running")
        try:
            report = collection.index(self._note, self._stop)
        except Exception as error:
            self._state = self._state.model_copy(update={"state": "failed", "problem": describe_failure(error)})
            logger.warning("indexing: %s", error, exc_info=not isinstance(error, (JinaClipError, OSError)))
        else:
            ended = "stopped" if self._stop.is_set() else "done"
            self._state = self._state.model_copy(update={"state": ended, "left_out": len(report.left_out)})

    def _note(self, progress: IndexProgress) -> None:
        self._state = IndexingState(state="running", done=progress.done, total=progress.total or 0)


def describe_failure(error: Exception) -> str:
    """What went wrong, for an agent: our own words, and of an unexpected error no more than its class."""
    if isinstance(error, JinaClipError):
        # Without the position that an `InputError` adds: the agent has no list of inputs.
        return " ".join((error.message if isinstance(error, InputError) else str(error)).split())
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"an unexpected {type(error).__name__}; the server's log has more"
