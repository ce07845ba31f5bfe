"""What is verified: a server, the hosted API, an exported model or a checkpoint folder, each as a backend."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backends.base import Batch, collect
from ..backends.registry import create_backend, default_backend
from ..backends.remote.dialects import Dialect, find_dialect
from ..catalog import ModelSpec
from ..errors import BackendError
from ..inputs import InputParser
from ..types import Vectors

HOSTED = "api"
"""The target that is Jina's own service."""


class Target:
    """A backend that is asked for raw rows, as it gives them."""

    def __init__(self, place: str, *, model: str, dialect: str = "jina", **options: Any) -> None:
        """`place` is an http(s) address, `api`, or a folder; `model` is what a server calls the model."""
        self.place = place
        self.is_server = place == HOSTED or place.startswith(("http://", "https://"))
        if self.is_server:
            address = {} if place == HOSTED else {"base_url": place, "dialect": dialect}
            # As they are: what this package prepares for a server would hide what the server does itself.
            self.backend: Any = create_backend("api", model, {"resize_images": False, **address, **options})
        else:
            name = default_backend(place)
            self.backend = create_backend(name, place, options)
        self.dialect: Dialect | None = find_dialect(dialect) if self.is_server else None

    def texts(self, texts: list[str], task: str | None, *, spec: ModelSpec, dimensions: int | None = None) -> Vectors:
        """Rows of texts, in the order of their inputs. `spec` is that of the model that should compute them."""
        if task is not None and self.dialect is not None and not self.dialect.task_field:
            # Such a server knows no tasks: its clients put the instruction in front, and so does this one.
            texts, task = [spec.tasks[task] + text for text in texts], None
        return self._rows(Batch(modality="text", texts=texts, task=task, dimensions=dimensions))

    def images(self, data: list[bytes], *, dimensions: int | None = None) -> Vectors:
        """Rows of encoded images."""
        parser = InputParser()
        images: Any = [parser.image(each) for each in data]
        return self._rows(Batch(modality="image", images=images, dimensions=dimensions))

    def _rows(self, batch: Batch) -> Vectors:
        # Streamed rows are as they came, neither truncated nor normalised by the client.
        results = list(self.backend.stream(batch))
        width = max((result.vectors.shape[1] for result in results), default=0)
        rows = collect(results, items=len(batch), dimensions=width).vectors
        missing = np.flatnonzero(np.isnan(rows).any(axis=1))
        if len(missing):
            raise BackendError(f"{self.place} gave no vector for {len(missing)} of {len(batch)} inputs")
        return np.asarray(rows, np.float32)

    def close(self) -> None:
        """Let go of the backend."""
        self.backend.close()
