"""A backend of a user's own, for replicas: texts become rows that follow from their content."""

from __future__ import annotations

import asyncio
import os

import numpy as np

from jina_clip_integrations.backends.base import Batch, BatchResult
from jina_clip_integrations.catalog import JINA_CLIP_V2
from tests.fakes import content_vector

WIDTH = 1024


class Backend:
    """`slow` texts take three seconds."""

    model, dimensions, spec = "jina-clip-v2", WIDTH, JINA_CLIP_V2

    async def aembed(self, batch: Batch) -> BatchResult:
        await asyncio.sleep(3.0 if any("slow" in text for text in batch.texts) else 0)
        return BatchResult(np.stack([row(text) for text in batch.texts]))


class Broken(Backend):
    async def aembed(self, batch: Batch) -> BatchResult:
        raise RuntimeError("no weights here")


def row(text: str) -> np.ndarray:
    """The row of a text, or the replica's process for the text `pid`."""
    return np.full(WIDTH, os.getpid(), np.float32) if text == "pid" else content_vector(text.encode(), WIDTH)
