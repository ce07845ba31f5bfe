"""Following a folder: which of its files changed, told once they are whole, for an index run of these alone."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ..errors import InputError, require_extra
from .scan import file_modality

Changes = frozenset[str] | None
"""Names of files and folders relative to the folder that changed or went, to be passed to `Indexer.run` as `only`; None
= anything may have."""

SETTLE_S = 1.0
"""A file that did not change for so long is whole: programs write in pieces, and cameras slowly."""
LONGEST_S = 60.0
"""A file that goes on changing is told nevertheless after so long."""
EVERYTHING_EVERY_S = 300.0
"""How often everything is looked at: network drives tell nothing, and systems drop what they cannot keep up with."""
WAKE_S = 0.25
"""How long one wait for changes takes at the most."""
POLL_S = 2.0
"""How often files are looked at where the system cannot follow more folders."""


def watch_folder(
    root: Path,
    *,
    exclude: Path | None = None,
    stop: threading.Event | None = None,
    settle_s: float = SETTLE_S,
    everything_every_s: float = EVERYTHING_EVERY_S,
) -> Iterator[Changes]:
    """Changes below `root`, some at a time, until `stop` is set; the first is None as soon as nothing can be missed.

    Hidden files and the folder `exclude` are left out, and files that cannot be embedded.

    Raises:
        ImportError: the extra `app` is missing.
        InputError: the folder is gone.
    """
    require_extra("watchfiles", extra="app", purpose="Following a folder")
    stop = stop or threading.Event()
    pending = Pending(root, settle_s)
    polling = False
    while not stop.is_set():
        identity, due_s = _identify(root), 0.0
        try:
            for changed in _wait(root, stop, polling=polling):
                if _identify(root) != identity:
                    break  # another folder of the same name, as after a drive was mounted again
                pending.add(name for name in _names(root, changed, exclude) if _matters(root, name))
                if time.monotonic() >= due_s:
                    due_s = time.monotonic() + everything_every_s
                    yield None
                elif ready := pending.take():
                    yield ready
        except OSError as error:
            _check_limit(error, root)
            polling = True
        except RuntimeError as error:
            # What watchfiles raises at a name that is not UTF-8. Everything is looked at again.
            if not _is_of_watchfiles(error):
                raise


def _wait(root: Path, stop: threading.Event, *, polling: bool) -> Iterator[set[str]]:
    """Paths that changed, some at a time; an empty set now and then."""
    from watchfiles import watch

    found = watch(
        root,
        watch_filter=None,
        debounce=400,
        stop_event=stop,
        rust_timeout=int(1000 * WAKE_S),
        yield_on_timeout=True,
        force_polling=polling or None,  # None leaves it to the environment
        poll_delay_ms=int(1000 * POLL_S),
        ignore_permission_denied=True,
    )
    return ({path for _, path in changes} for changes in found)


def _is_of_watchfiles(error: RuntimeError) -> bool:
    return type(error).__module__.partition(".")[0] in ("watchfiles", "_rust_notify")


def _check_limit(error: OSError, root: Path) -> None:
    """Raise `InputError` for a folder that is gone, and `error` unless the system can follow no more folders."""
    _identify(root)
    if error.errno not in (errno.ENOSPC, errno.EMFILE) and "limit reached" not in str(error):
        raise error


def _identify(root: Path) -> tuple[int, int]:
    """What tells a folder from another of the same name. Raises `InputError` if it is gone."""
    try:
        found = root.stat()
    except OSError as error:
        raise InputError(f"the folder {root} is gone ({error.strerror}); what is stored of it is kept") from error
    return found.st_dev, found.st_ino


def _names(root: Path, paths: Iterable[str], exclude: Path | None) -> Iterator[str]:
    for text in paths:
        path = Path(text)
        if path == root or not path.is_relative_to(root) or (exclude is not None and path.is_relative_to(exclude)):
            continue
        yield path.relative_to(root).as_posix()


def _matters(root: Path, name: str) -> bool:
    """Whether a change of this name can change what is stored."""
    inside = PurePosixPath(name)
    if any(part.startswith(".") for part in inside.parts):
        return False
    # What is gone may have been a folder, whatever it was called.
    return file_modality(inside.name) is not None or not (root / name).is_file()


@dataclass
class _Change:
    """A name that changed and is waited for."""

    seen: tuple[int, int] | None
    """Size and time of the file when it was last looked at; None if it was gone."""
    quiet_since_s: float
    first_s: float


class Pending:
    """Changes that are held back until their files are whole."""

    def __init__(self, root: Path, settle_s: float) -> None:
        self._root = root
        self._settle_s = settle_s
        self._changes: dict[str, _Change] = {}

    def add(self, names: Iterable[str]) -> None:
        """Wait for these names to settle, anew if they are waited for already."""
        now_s = time.monotonic()
        for name in names:
            known = self._changes.get(name)
            first_s = now_s if known is None else known.first_s
            self._changes[name] = _Change(self._look(name), now_s, first_s)

    def take(self) -> frozenset[str]:
        """The names that have settled; they are waited for no longer."""
        now_s = time.monotonic()
        for name, change in self._changes.items():
            seen = self._look(name)
            if seen != change.seen:
                change.seen, change.quiet_since_s = seen, now_s
        ready = frozenset(name for name, change in self._changes.items() if self._is_ready(change, now_s))
        for name in ready:
            del self._changes[name]
        return ready

    def _is_ready(self, change: _Change, now_s: float) -> bool:
        return now_s - change.quiet_since_s >= self._settle_s or now_s - change.first_s >= LONGEST_S

    def _look(self, name: str) -> tuple[int, int] | None:
        try:
            found = (self._root / name).stat()
        except OSError:
            return None
        return found.st_size, found.st_mtime_ns
