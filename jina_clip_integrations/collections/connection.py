"""Opening a Qdrant, in a folder or on a server: who else has it open, what is damaged, what its failures mean."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import IO, TYPE_CHECKING

from ..concurrency.locks import lock_file
from ..errors import BackendError, InputError

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

QDRANT_KEY_VARIABLE = "QDRANT_API_KEY"
LOCK_FILE = ".jina-clip.lock"
"""In the folder of an embedded store: locked by the process that has it open."""
ERROR_CHARACTERS = 300
"""Most characters of the store's own message that an error repeats."""


def hold_folder(location: str) -> IO[bytes] | None:
    """The lock on an embedded store's folder, held until it is closed. Raises `BackendError` where another has it."""
    path = Path(location).expanduser()
    if path.is_file():  # `connect` says so
        return None
    path.mkdir(parents=True, exist_ok=True)
    held = lock_file(path / LOCK_FILE)
    if held is None:
        raise _in_use(location)
    return held


def _in_use(location: str) -> BackendError:
    return BackendError(f"the store {location} is in use by another program; wait for it or close it")


def connect(location: str, *, server: bool) -> QdrantClient:
    """A client of a server or of a folder. Raises `InputError` for a file and `BackendError` for a folder in use."""
    from qdrant_client import QdrantClient

    if server:
        return QdrantClient(
            url=location, api_key=os.environ.get(QDRANT_KEY_VARIABLE) or None, check_compatibility=False
        )
    # Said here, since QdrantClient takes every path for a folder.
    path = Path(location).expanduser()
    if path.is_file():
        raise InputError(f"--store {location} is a file; a folder or the URL of a Qdrant server is needed")
    _drop_torn_start(path)
    try:
        # The store's lock does what SQLite's check is for, which would tie the store to the thread that opened it.
        return QdrantClient(path=str(path), force_disable_check_same_thread=True)
    except OSError:
        raise
    except Exception as error:  # of JSON, SQLite, pickle and pydantic, as many as there are ways to damage a file
        # The client has no class of its own for a locked folder; SQLite says it where the client has not come so far.
        if "already accessed" in str(error) or "locked" in str(error):
            raise _in_use(location) from error
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"[:ERROR_CHARACTERS]
        raise BackendError(f"the store {location} cannot be opened ({reason}); delete it and index again") from error


def _drop_torn_start(folder: Path) -> None:
    """Delete the list of collections of a store whose maker was killed before it had written any."""
    # It is the one file that the client does not replace as a whole. Once there is a collection, it does.
    listed = folder / "meta.json"
    if listed.is_file() and not listed.stat().st_size and not any((folder / "collection").glob("*")):
        listed.unlink()


def describe_failure(location: str, error: BaseException) -> str:
    """What a store said when it failed, on one line."""
    return f"the vector store {location} failed: {' '.join(str(error).split())[:ERROR_CHARACTERS]}"


def is_failure_of_store(error: BaseException) -> bool:
    """Whether the client raised this, or the SQLite behind an embedded store: a full disk, a file that may not be
    written.
    """
    return isinstance(error, sqlite3.Error) or type(error).__module__.startswith("qdrant_client")
