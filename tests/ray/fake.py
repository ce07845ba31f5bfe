"""A backend that workers of the cluster make for themselves: vectors by content, and a record of what was computed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.fakes import BlockingBackend, image_vector, text_vector, unit


def make_fake(log: Path | None = None, pause_s: float = 0.0, gate: Path | None = None) -> Callable[[], BlockingBackend]:
    """What makes the backend: each batch takes `pause_s`, and its texts go to the file `log`.

    With `gate` a batch waits until `log` has fewer lines than `gate` has bytes.
    """

    def make() -> BlockingBackend:
        backend = BlockingBackend()

        def record(batch: Any) -> None:
            while gate is not None and log is not None and log.read_bytes().count(b"\n") >= gate.stat().st_size:
                time.sleep(0.02)
            time.sleep(pause_s)
            if log is not None and batch.modality == "text":
                lines = "".join(f"{os.getpid()} {text}\n" for text in batch.texts)
                with log.open("a") as file:  # at once: lines of several processes do not mix
                    file.write(lines)

        backend.before = record
        return backend

    return make


def expected_text(text: str, task: str | None = None) -> Any:
    """The row of a text."""
    return unit(text_vector(text, task))


def expected_image(source: Any) -> Any:
    """The row of an image, by its `open()`."""
    return unit(image_vector(source))


def make_slow() -> BlockingBackend:
    """The backend of a job that is interrupted: a command line names it as `tests.ray.fake:make_slow`."""
    return make_fake(pause_s=0.1)()
