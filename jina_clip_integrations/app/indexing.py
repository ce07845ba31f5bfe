"""Brings the collection up to date in a thread of its own, while the page searches what is there already."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from ..collections.indexing import is_below
from ..collections.watch import Changes, watch_folder
from ..errors import JinaClipError
from ..server.errors import describe_for_log, logger

if TYPE_CHECKING:
    from ..collections.folder import FolderCollection
    from ..collections.indexing import IndexProgress

State: TypeAlias = Literal["idle", "running", "done", "failed"]

MAX_LEFT_OUT = 200
"""Files that could not be indexed and are named on the page, at most; the number of all is said."""


FOLDER_BACK_S = 3.0
"""How often a folder that is gone is looked for while it is followed, in seconds."""


@dataclass(frozen=True)
class Progress:
    """How far a run is, for the page."""

    state: State = "idle"
    done: int = 0
    total: int = 0
    message: str = ""
    """Why it ended, where it failed."""
    left_out: tuple[tuple[str, str], ...] = ()
    """Name of a file and why it cannot be searched, at most `MAX_LEFT_OUT` of them."""
    left_out_count: int = 0
    runs: int = 0
    """Runs that ended so far."""


class IndexingJob:
    """One run at a time, or with `watch` one after another while the folder changes. Thread-safe."""

    def __init__(
        self, collection: FolderCollection, *, watch: bool = False, on_done: Callable[[], None] | None = None
    ) -> None:
        """`on_done` is called after each run that did not fail, in the thread of the run; it raises nothing."""
        self._collection = collection
        self._watch = watch
        self._on_done = on_done
        self._lock = threading.Lock()
        self._stop = threading.Event()
        store = collection.store
        # A store inside the folder would be seen to change with every vector.
        self._exclude = None if store.is_server else Path(store.location).expanduser().resolve()
        self._left_out: dict[str, str] = {}
        self._thread: threading.Thread | None = None
        self._progress = Progress()

    @property
    def progress(self) -> Progress:
        """Where it stands now."""
        with self._lock:
            return self._progress

    def start(self) -> bool:
        """Begin a run, unless one is under way."""
        with self._lock:
            under_way = self._thread is not None and self._thread.is_alive()
            if under_way or self._stop.is_set():
                return False
            self._progress = replace(self._progress, state="running", done=0, total=0, message="")
            self._thread = threading.Thread(target=self._work, name="jina-clip-indexing", daemon=True)
            self._thread.start()
            return True

    def stop(self) -> None:
        """End the run after the files it is working on; they are stored. No other one begins."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _work(self) -> None:
        """One run, or with `watch` one after each change until the stop."""
        if not self._watch:
            self._run(None)
            return
        while not self._stop.is_set():
            self._follow()

    def _follow(self) -> None:
        """A run after each change, until the stop or until the folder is gone, which may come back."""
        try:
            for changes in watch_folder(self._collection.root, exclude=self._exclude, stop=self._stop):
                self._run(changes)
        except JinaClipError as error:
            self._end("failed", message=str(error))
            self._stop.wait(FOLDER_BACK_S)

    def _run(self, only: Changes) -> None:
        with self._lock:
            self._progress = replace(self._progress, state="running", done=0, total=0, message="")
        try:
            report = self._collection.index(self._note, self._stop, only=only)
        except JinaClipError as error:
            self._end("failed", message=str(error))
        except Exception as error:  # the page stays up: what is indexed can be searched
            logger.error("indexing failed: %s", describe_for_log(error))
            self._end("failed", message="Indexing ended with an unexpected error; the terminal shows where")
        else:
            self._keep_left_out(report.left_out, only)
            shown = sorted(self._left_out.items())[:MAX_LEFT_OUT]
            self._end("done", left_out=tuple(shown), left_out_count=len(self._left_out))
            if self._on_done is not None and not self._stop.is_set():
                self._on_done()

    def _keep_left_out(self, left_out: Mapping[str, str], only: Changes) -> None:
        """Of what a run did not look at, what an earlier one found still holds."""
        if only is None:
            self._left_out.clear()
        for name in [name for name in self._left_out if only and (name in only or is_below(name, only))]:
            del self._left_out[name]
        self._left_out.update(left_out)

    def _note(self, progress: IndexProgress) -> None:
        with self._lock:
            self._progress = replace(self._progress, done=progress.done, total=progress.total or 0)

    def _end(self, state: State, **changes: Any) -> None:
        with self._lock:
            self._progress = replace(self._progress, state=state, runs=self._progress.runs + 1, **changes)
