"""One call of the encoder: plan what has to be computed, have it computed, put the rows where they belong."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..backends.base import Batch, BatchResult, Usage
from ..cache import EmbeddingCache, text_keys, vector_key
from ..errors import ApiError, BackendError, InputError
from ..images.encoded import InputImage, PixelBudget
from ..inputs import Parsed
from ..types import Modality
from .checks import as_entry, check_vectors, finite_rows, pick, position_of
from .items import Fingerprint, Setup, Unit, fingerprint
from .results import Outcome
from .rows import Table
from .steps import Embed, Flow, Wait, Workers, settled

TEXT_CHUNK = 16_384
"""Texts handed to the backend at a time, so that it can sort them by length."""

IMAGE_CHUNK = 256
"""Images handed to the backend at a time; the next ones are read and fingerprinted meanwhile."""

LOOKUP = 512
"""Entries asked of a cache at a time: few enough to be still in the processor's cache when they are put in place."""

HELD_PIXELS_BYTES = 256 * 2**20
"""Decoded images that a job keeps from fingerprinting to embedding, so that they are decoded once."""

T = TypeVar("T")


class Job:
    """`items` in, rows of `outcome` out. `flow` decides; whoever drives it waits."""

    def __init__(self, items: Sequence[Parsed], setup: Setup, *, task: str | None = None, **reporting: Any) -> None:
        """`reporting` goes to `Outcome`."""
        self.items = items
        self.setup = setup
        self.task = task
        table = Table(len(items), dimensions=setup.dimensions, normalize=setup.normalize, width=setup.width)
        self.outcome = Outcome(table, **reporting)
        self._seen: dict[Modality, dict[str, Unit]] = {"text": {}, "image": {}}
        self._fetching: dict[str, Future[Fingerprint]] = {}
        self._pixels = PixelBudget(HELD_PIXELS_BYTES)

    @property
    def has_images(self) -> bool:
        """Whether anything has to be read."""
        return any(issubclass(kind, InputImage) for kind in set(map(type, self.items)))

    def flow(self, workers: Workers) -> Flow:
        """The whole job, as steps."""
        for row, item in enumerate(self.items):
            if isinstance(item, InputError):
                self.outcome.fail_row(row, item)
        yield from self._texts(workers)
        yield from self._images(workers)

    # Plan: what is the same, what is known already

    def _texts(self, workers: Workers) -> Flow:
        rows_of_texts = [row for row, item in enumerate(self.items) if isinstance(item, str)]
        for rows in _chunks(rows_of_texts, TEXT_CHUNK):
            texts: list[Any] = [self.items[row] for row in rows]
            keys: Sequence[str | None] = [None] * len(rows)
            if self.setup.cache is not None:
                digesting = workers.help(self._text_keys, texts)
                yield Wait([digesting])
                keys = digesting.result()
            yield from self._chunk("text", self._text_units(rows, texts, keys), workers)

    def _text_keys(self, texts: Sequence[str]) -> list[str]:
        setup = self.setup
        return text_keys(texts, identity=setup.identity, normalize=setup.normalize, task=self.task)

    def _text_units(self, rows: Sequence[int], texts: Sequence[str], keys: Sequence[str | None]) -> list[Unit]:
        """The units of contents that are new."""
        seen = self._seen["text"]
        units = []
        for row, text, key in zip(rows, texts, keys, strict=True):
            content = key or text
            unit = seen.get(content)
            if unit is None:
                unit = seen[content] = Unit(text, key, row)
                units.append(unit)
            else:
                self._again(unit, row)
        return units

    def _images(self, workers: Workers) -> Flow:
        images = [(row, item) for row, item in enumerate(self.items) if isinstance(item, InputImage)]
        chunks = list(_chunks(images, IMAGE_CHUNK))
        ahead = self._start_reading(chunks[0], workers) if chunks else []
        for number, chunk in enumerate(chunks, start=1):
            reading = ahead
            yield Wait(reading)
            ahead = self._start_reading(chunks[number], workers) if number < len(chunks) else []
            planned = [self._image_unit(*image, read) for image, read in zip(chunk, reading, strict=True)]
            yield from self._chunk("image", [unit for unit in planned if unit is not None], workers)

    def _start_reading(self, chunk: Sequence[tuple[int, InputImage]], workers: Workers) -> list[Future[Fingerprint]]:
        if self.setup.cache is None and len(self.items) == 1:  # nothing to compare it with: let the backend read it
            return [settled(Fingerprint("the only one", None))]
        return [self._read(image, workers) for _, image in chunk]

    def _read(self, image: InputImage, workers: Workers) -> Future[Fingerprint]:
        """Start reading an image; one that has to be fetched is fetched once, however often its URL occurs."""
        reading = self._fetching.get(image.address) if image.address is not None else None
        if reading is None:
            reading = workers.read(fingerprint, image, self.setup, self._pixels)
            if image.address is not None:
                self._fetching[image.address] = reading
        return reading

    def _image_unit(self, row: int, image: InputImage, reading: Future[Fingerprint]) -> Unit | None:
        """The unit of a content that is new; None for one that is there already, or that cannot be read."""
        try:
            mark = reading.result()
        except InputError as error:
            self.outcome.fail_row(row, error)
            return None
        unit = self._seen["image"].get(mark.content)
        if unit is None:
            unit = self._seen["image"][mark.content] = Unit(image, self._image_key(mark), row)
            return unit
        image.release()
        self._again(unit, row)
        return None

    def _image_key(self, mark: Fingerprint) -> str | None:
        setup, digest = self.setup, mark.digest
        if digest is None:
            return None
        return vector_key(
            identity=setup.identity, normalize=setup.normalize, modality="image", task=None, digest=digest
        )

    def _again(self, unit: Unit, row: int) -> None:
        """A content that is there already gets one more row."""
        if unit.repeats is None:
            unit.repeats = []
        unit.repeats.append(row)
        if unit.done:
            self.outcome.repeat(unit, row)

    # Run: hand the rest to the backend

    def _chunk(self, modality: Modality, units: Sequence[Unit], workers: Workers) -> Flow:
        if self.setup.cache is not None:
            yield from self._known(units, self.setup.cache, workers)
        while waiting := [unit for unit in units if not unit.done]:
            accept = partial(self._accept, waiting)
            blocks = self.setup.cache is not None
            try:
                yield Embed(self.setup.backend, self._batch(modality, waiting), accept, workers, blocks)
            except InputError as error:
                self._fail_by_position(waiting, error)
            except ApiError as error:
                self._name_callers_rows(waiting, error)
                raise
            else:
                self._refuse_missing(waiting)

    def _known(self, units: Sequence[Unit], cache: EmbeddingCache, workers: Workers) -> Flow:
        """Take from the cache what it has."""
        for some in _chunks(units, LOOKUP):
            lookup = workers.help(cache.get_many, [unit.key for unit in some if unit.key is not None])
            yield Wait([lookup])
            self._take_hits(some, lookup.result())

    def _batch(self, modality: Modality, units: Sequence[Unit]) -> Batch:
        values = [unit.value for unit in units]
        return Batch(
            modality=modality,
            texts=values if modality == "text" else (),
            images=values if modality == "image" else (),
            task=self.task if modality == "text" else None,
            dimensions=self.setup.asked,
            normalize=self.setup.normalize,
            isolate_errors=self.outcome.isolate,
        )

    def _fail_by_position(self, units: Sequence[Unit], error: InputError) -> None:
        """An input error that ended a batch: the row it belongs to fails; the others are tried again if isolating."""
        position = position_of(error, units)
        if error is self.outcome.raised or position is None or units[position].done:
            raise error
        self.outcome.fail(units[position], error)

    def _name_callers_rows(self, units: Sequence[Unit], error: ApiError) -> None:
        """Let an error of the service name the caller's indices instead of positions in the batch."""
        known = (units[position] for position in error.positions if 0 <= position < len(units))
        offset = self.outcome.offset
        error.positions = (
            () if self.outcome.single else tuple(sorted(row + offset for unit in known for row in unit.rows))
        )

    def _refuse_missing(self, units: Sequence[Unit]) -> None:
        missing = [unit.row for unit in units if not unit.done]
        if missing:
            first = missing[0] + self.outcome.offset
            raise BackendError(
                f"the backend left out {len(missing)} of {len(units)} inputs, the first is input {first}"
            )

    # Assemble: every row to its place, as soon as it is known

    def _take_hits(self, units: Sequence[Unit], found: Mapping[str, Any]) -> None:
        width = self.setup.width
        hits = []
        for unit in units:
            entry = as_entry(found[unit.key], width) if unit.key is not None and unit.key in found else None
            if entry is not None:
                width = len(entry)
                hits.append((unit, entry))
        if width is None or not hits:
            return
        vectors = np.concatenate([entry for _, entry in hits]).reshape(len(hits), width)
        finite = finite_rows(vectors)
        good = [unit for (unit, _), fine in zip(hits, finite, strict=True) if fine]
        self.outcome.usage += Usage(cache_hits=len(good) + sum(len(unit.repeats) for unit in good if unit.repeats))
        self.outcome.deliver(good, vectors if len(good) == len(hits) else vectors[finite])

    def _accept(self, units: Sequence[Unit], result: BatchResult) -> None:
        positions = range(len(result.vectors)) if result.positions is None else result.positions
        answered = pick(units, positions)
        vectors = check_vectors(result.vectors, len(answered), self.setup)
        self.outcome.usage += replace(result.usage, items=0, cache_hits=0)
        finite = finite_rows(vectors)
        good = [unit for unit, fine in zip(answered, finite, strict=True) if fine]
        self._finish(good, vectors if len(good) == len(answered) else vectors[finite])
        for unit in (unit for unit, fine in zip(answered, finite, strict=True) if not fine):
            where = unit.row + self.outcome.offset
            self.outcome.fail(unit, BackendError(f"the backend gave NaN or infinity for input {where}"))
        for position, error in result.errors.items():
            self.outcome.fail(pick(units, [position])[0], error)

    def _finish(self, units: Sequence[Unit], vectors: NDArray[Any]) -> None:
        if self.setup.cache is not None:
            entries = {unit.key: vector for unit, vector in zip(units, vectors, strict=True) if unit.key is not None}
            self.setup.cache.set_many(entries)
        self.outcome.deliver(units, vectors)


def _chunks(values: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (values[start : start + size] for start in range(0, len(values), size))
