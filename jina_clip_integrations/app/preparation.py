"""Gets searches ready in the background: the model is loaded, and the cut-off learned, before somebody searches."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from ..errors import JinaClipError
from ..server.errors import describe_for_log, logger

if TYPE_CHECKING:
    from ..collections.folder import FolderCollection

STOP_S = 5.0
"""How long a stop waits for it, in seconds: a service that does not answer may take minutes to be given up."""


class Preparation:
    """Prepares a collection's searches, in a thread of its own when the app starts. Thread-safe."""

    def __init__(self, collection: FolderCollection) -> None:
        self._collection = collection
        self._thread: threading.Thread | None = None

    @property
    def is_running(self) -> bool:
        """Whether searches still wait for what the start began."""
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Begin, once per app."""
        self._thread = threading.Thread(target=self.run, name="jina-clip-preparing", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Wait for the thread, but not for long."""
        if self._thread is not None:
            self._thread.join(STOP_S)

    def run(self) -> None:
        """Prepare, in this thread. Raises nothing: the search that needs what failed tries again, and says why."""
        try:
            self._collection.prepare_search()
        except JinaClipError:
            pass
        except Exception as error:
            logger.error("searches could not be prepared: %s", describe_for_log(error))
