"""One call of the encoder: plan what has to be computed, have it computed, put the rows where they belong."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..backends.base import Batch, BatchResult, Usage
from ..cache import EmbeddingCache, alias_key, text_digest, vector_key
from ..errors import BackendError, InputError, JinaClipError
from ..inputs import Parsed
from ..pictures import InputPicture
from ..types import Modality
from .steps import Embed, Flow, Wait, Workers
from .table import Table

TEXT_CHUNK = 16_384
"""Texts handed to the backend at a time, so that it can sort them by length."""
PICTURE_CHUNK = 256
"""Pictures handed to the backend at a time; the next ones are read and fingerprinted meanwhile."""

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What the jobs of one encoder have in common."""

    backend: Any
    cache: EmbeddingCache | None
    identity: str
    """What computes the vectors, for cache keys."""
    width: int | None
    """Full width of the model; None where only the service knows it."""
    dimensions: int | None
    normalize: bool
    upright: bool
    sends_urls: bool
    """Whether the backend passes URLs on unfetched, so that there are no pixels to fingerprint."""


@dataclass(eq=False)
class Unit:
    """One piece of content, however often it occurs in the job."""

    value: Any
    """The text or picture; dropped when done."""
    key: str | None
    """Cache key; None for what cannot be cached."""
    rows: list[int] = field(default_factory=list)
    done: bool = False
    error: JinaClipError | None = None


class Job:
    """`items` in, `(n, d)` rows out. `flow` decides; whoever drives it waits."""

    def __init__(
        self,
        items: Sequence[Parsed],
        setup: Setup,
        *,
        task: str | None = None,
        isolate: bool = False,
        offset: int = 0,
        single: bool = False,
        progress: Callable[[int], Any] = lambda rows: None,
    ) -> None:
        """`offset` is the caller's index of the first item; `single` means that it stood alone."""
        self.items = items
        self.setup = setup
        self.task = task
        self.isolate = isolate
        self.offset = offset
        self.single = single
        self.progress = progress
        self.errors: dict[int, JinaClipError] = {}
        self.usage = Usage()
        self.table = Table(
            len(items), dimensions=setup.dimensions, normalize=setup.normalize, width=setup.width
        )
        self._seen: dict[str, Unit] = {}

    @property
    def has_pictures(self) -> bool:
        """Whether anything has to be read."""
        return any(isinstance(item, InputPicture) for item in self.items)

    def result(self) -> NDArray[Any]:
        """`(n, d)`, or `(d,)` for an item that stood alone."""
        rows = self.table.array()
        return rows[0] if self.single else rows

    def flow(self, workers: Workers) -> Flow:
        """The whole job, as steps."""
        self._refuse_misunderstood()
        yield from self._texts(workers)
        yield from self._pictures(workers)

    def _refuse_misunderstood(self) -> None:
        for row, item in enumerate(self.items):
            if isinstance(item, InputError):
                self._fail_row(row, item)

    # Plan: what is the same, what is known already

    def _texts(self, workers: Workers) -> Flow:
        texts = [(row, item) for row, item in enumerate(self.items) if isinstance(item, str)]
        for chunk in _chunks(texts, TEXT_CHUNK):
            yield from self._chunk("text", [(row, item, self._text_key(item), item) for row, item in chunk], workers)

    def _text_key(self, text: str) -> str | None:
        return None if self.setup.cache is None else self._key("text", text_digest(text))

    def _pictures(self, workers: Workers) -> Flow:
        pictures = [(row, item) for row, item in enumerate(self.items) if isinstance(item, InputPicture)]
        chunks = list(_chunks(pictures, PICTURE_CHUNK))
        reading = [self._start_reading(chunk, workers) for chunk in chunks[:1]]
        for number, chunk in enumerate(chunks):
            futures = reading.pop()
            yield Wait(futures)
            reading += [self._start_reading(following, workers) for following in chunks[number + 1 : number + 2]]
            entries = []
            for (row, picture), future in zip(chunk, futures, strict=True):
                ...
            yield from self._chunk("image", entries, workers)

    def _key(self, modality: Modality, digest: str) -> str:
        setup = self.setup
        task = self.task if modality == "text" else None
        return vector_key(
            identity=setup.identity, normalize=setup.normalize, modality=modality, task=task, digest=digest
        )
