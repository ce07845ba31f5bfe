"""What an interrupted evaluation leaves: vectors and the figures of finished settings, until it is run again."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..types import Item
from .report import measured_from_dict, measured_to_dict
from .runs import Measured, Setting
from .task import RetrievalTask

FOLDER = Path("jina-clip-integrations") / "evaluate"
"""Below the user's folder for caches."""


class PartialRun:
    """A folder per task, model and options, deleted when the run is complete."""

    def __init__(self, task: RetrievalTask, options: Mapping[str, Any]) -> None:
        named = json.dumps([task.digest, _files(task), dict(options)], sort_keys=True, default=str)
        self.folder = cache_home() / FOLDER / hashlib.sha256(named.encode()).hexdigest()[:24]
        self._settings = self.folder / "settings.jsonl"

    @property
    def vectors(self) -> Path:
        """The folder of a cache of vectors."""
        return self.folder / "vectors"

    def finished(self) -> dict[Setting, Measured]:
        """The settings that an earlier run finished; a line that it did not finish is left out."""
        found = {}
        for line in self._settings.read_text("utf-8").splitlines() if self._settings.is_file() else []:
            try:
                one = measured_from_dict(json.loads(line))
            except (ValueError, KeyError, TypeError):  # the last line of a killed run
                continue
            found[one.setting] = one
        return found

    def add(self, one: Measured) -> None:
        """Keep the figures of a setting."""
        # Where nothing can be written, the run goes on without: it only cannot be resumed.
        with contextlib.suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            with self._settings.open("a", encoding="utf-8") as file:
                file.write("\n" + json.dumps(measured_to_dict(one)))  # a new line first: the last may be incomplete

    def discard(self) -> None:
        """Delete the folder. Idempotent."""
        shutil.rmtree(self.folder, ignore_errors=True)


def cache_home() -> Path:
    """The user's folder for caches: `XDG_CACHE_HOME`, or `~/.cache`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def _files(task: RetrievalTask) -> list[tuple[int, int]]:
    """Size and time of every image file, so that the figures of changed images are not taken for theirs."""
    items: list[Item] = [*task.queries, *task.corpus]
    paths = [Path(image) for item in items if isinstance(image := item.get("image"), str)]
    return [(status.st_size, status.st_mtime_ns) for path in paths if path.is_file() for status in [path.stat()]]
