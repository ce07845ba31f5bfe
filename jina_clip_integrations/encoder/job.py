"""One call of the encoder: plan what has to be computed, have it computed, put the rows in the caller's order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..backends.base import Batch, BatchResult
from ..cache import EmbeddingCache, text_keys, vector_key
from ..concurrency.flow import Flow
from ..errors import ApiError, BackendError, ImageError, InputError
from ..images.encoded import InputImage, PixelBudget
from ..inputs import Parsed
from ..types import Modality
from ..vectors import usable_rows
from .checks import as_entry, check_vectors, explain_unusable, pick, position_of
from .items import ImageDigest, Setup, UniqueItem, read_digest
from .results import Results
from .steps import Embed, WaitAll, Workers, completed_future

TEXT_CHUNK = 16_384
"""Texts handed to the backend at a time, so that it can sort them by length."""

IMAGE_CHUNK = 256
"""Images handed to the backend at a time; the next ones are read and hashed meanwhile."""

LOOKUP = 512
"""Entries looked up at a time: few enough to be still in the processor's cache when they are copied to their rows."""

HELD_PIXELS_BYTES = 256 * 2**20
"""Decoded images that a job keeps from hashing to embedding, so that they are decoded once."""

T = TypeVar("T")


class Job:
    """Turns `items` into the rows of `results`. `flow` takes the decisions; its driver does the waiting."""

    def __init__(self, items: Sequence[Parsed], setup: Setup, *, task: str | None = None, **reporting: Any) -> None:
        """`reporting` goes to `Results`."""
        self.items = items
        self.setup = setup
        self.task = task
        self.results = Results(
            len(items),
            dimensions=setup.dimensions,
            normalize=setup.normalize,
            width=setup.width,
            name_of=self._name_of,
            **reporting,
        )
        self._seen: dict[Modality, dict[str, UniqueItem]] = {"text": {}, "image": {}}
        self._fetching: dict[str, Future[ImageDigest]] = {}
        self.has_images = any(issubclass(kind, InputImage) for kind in set(map(type, items)))
        """Whether anything has to be read. By the set of types, which is fast for many thousand texts."""

    def _name_of(self, row: int) -> str | None:
        item = self.items[row]
        return item.label if isinstance(item, InputImage) else None

    def flow(self, workers: Workers) -> Flow[None]:
        """The whole job, as steps."""
        # Items that were not understood come first: if they end the call, nothing has been paid for yet.
        for row, item in enumerate(self.items):
            if isinstance(item, InputError):
                self.results.fail_row(row, item)
        yield from self._texts(workers)
        yield from self._images(workers)

    # Plan: what is the same, what is known already

    def _texts(self, workers: Workers) -> Flow[None]:
        rows_of_texts = [row for row, item in enumerate(self.items) if isinstance(item, str)]
        for rows in _chunks(rows_of_texts, TEXT_CHUNK):
            texts: list[Any] = [self.items[row] for row in rows]
            keys: Sequence[str | None] = [None] * len(rows)
            if self.setup.cache is not None:
                hashing = workers.help(self._text_keys, texts)  # takes a while for long texts
                yield WaitAll([hashing])
                keys = hashing.result()
            yield from self._chunk("text", self._text_items(rows, texts, keys), workers)

    def _text_keys(self, texts: Sequence[str]) -> list[str]:
        setup = self.setup
        return text_keys(texts, identity=setup.identity, normalize=setup.normalize, task=self.task)

    def _text_items(self, rows: Sequence[int], texts: Sequence[str], keys: Sequence[str | None]) -> list[UniqueItem]:
        """The items of texts that are new; a text that occurred before gets one more row."""
        seen = self._seen["text"]
        items = []
        for row, text, key in zip(rows, texts, keys, strict=True):
            identity = key or text
            item = seen.get(identity)
            if item is None:
                item = seen[identity] = UniqueItem(text, key, row)
                items.append(item)
            else:
                self._add_row(item, row)
        return items

    def _images(self, workers: Workers) -> Flow[None]:
        images = [(row, item) for row, item in enumerate(self.items) if isinstance(item, InputImage)]
        chunks = list(_chunks(images, IMAGE_CHUNK))
        if not chunks:
            return
        pixels = PixelBudget(HELD_PIXELS_BYTES)
        ahead = self._start_reading(chunks[0], workers, pixels)
        for number, chunk in enumerate(chunks, start=1):
            reading = ahead
            yield WaitAll(reading)
            # Before this chunk is handed over, so that the next one is read while the backend computes.
            ahead = self._start_reading(chunks[number], workers, pixels) if number < len(chunks) else []
            planned, failed = self._plan_images(chunk, reading)
            try:
                yield from self._chunk("image", planned, workers)
            except InputError as error:
                if failed is None or not _is_before(failed, error):
                    raise
            if failed is not None:
                raise failed

    def _plan_images(
        self, chunk: Sequence[tuple[int, InputImage]], reading: Sequence[Future[ImageDigest]]
    ) -> tuple[list[UniqueItem], ImageError | None]:
        """The images that are new, and the failed download that ends the call once these are embedded."""
        planned, failed = [], None
        for (row, image), read in zip(chunk, reading, strict=True):
            try:
                item = self._image_item(row, image, read)
            except ImageError as error:  # noqa: PERF203
                # The others were downloaded, which may have taken long; a file can as well be read again.
                if image.address is None:
                    raise
                failed = failed or error
            else:
                planned += [item] if item is not None else []
        return planned, failed

    def _start_reading(
        self, chunk: Sequence[tuple[int, InputImage]], workers: Workers, pixels: PixelBudget
    ) -> list[Future[ImageDigest]]:
        # Nothing to compare it with: the backend reads it, which saves decoding or fetching it twice.
        if self.setup.cache is None and len(self.items) == 1:
            return [completed_future(ImageDigest("the only one", None))]
        return [self._read(image, workers, pixels) for _, image in chunk]

    def _read(self, image: InputImage, workers: Workers, pixels: PixelBudget) -> Future[ImageDigest]:
        """Start reading an image; a URL is fetched once, however often it occurs."""
        reading = self._fetching.get(image.address) if image.address is not None else None
        if reading is None:
            reading = workers.read(read_digest, image, self.setup, pixels)
            if image.address is not None:
                self._fetching[image.address] = reading
        return reading

    def _image_item(self, row: int, image: InputImage, reading: Future[ImageDigest]) -> UniqueItem | None:
        """The item of an image that is new; None for one that occurred before, or that cannot be read."""
        try:
            digest = reading.result()
        except InputError as error:
            self.results.fail_row(row, error)
            return None
        item = self._seen["image"].get(digest.identity)
        if item is None:
            item = self._seen["image"][digest.identity] = UniqueItem(image, self._image_key(digest.digest), row)
            return item
        image.release()  # the first one with these pixels is embedded; this one need not be held
        self._add_row(item, row)
        return None

    def _image_key(self, digest: str | None) -> str | None:
        setup = self.setup
        if digest is None:
            return None
        return vector_key(
            identity=setup.identity, normalize=setup.normalize, modality="image", task=None, digest=digest
        )

    def _add_row(self, item: UniqueItem, row: int) -> None:
        """Give an input that occurred before one more row."""
        if item.repeats is None:
            item.repeats = []
        item.repeats.append(row)
        if item.done:  # in an earlier chunk of this call
            self.results.repeat(item, row)

    # Run: hand the rest to the backend

    def _chunk(self, modality: Modality, items: Sequence[UniqueItem], workers: Workers) -> Flow[None]:
        if self.setup.cache is not None:
            yield from self._look_up(items, self.setup.cache, workers)
        # More than once only if an input error ended the batch: every round fails at least one item, so it ends.
        while waiting := [item for item in items if not item.done]:
            accept = partial(self._accept, waiting)
            blocks = self.setup.cache is not None  # then `accept` writes to it
            try:
                yield Embed(self.setup.backend, self._batch(modality, waiting), accept, workers, blocks)
            except InputError as error:
                self._fail_by_position(waiting, error)
            except ApiError as error:
                self._name_callers_rows(waiting, error)
                raise
            else:
                self._refuse_missing(waiting)

    def _look_up(self, items: Sequence[UniqueItem], cache: EmbeddingCache, workers: Workers) -> Flow[None]:
        """Take the vectors that the cache has."""
        for some in _chunks(items, LOOKUP):
            lookup = workers.help(cache.get_many, [item.key for item in some if item.key is not None])
            yield WaitAll([lookup])
            self._take_hits(some, lookup.result())

    def _batch(self, modality: Modality, items: Sequence[UniqueItem]) -> Batch:
        values = [item.value for item in items]
        return Batch(
            modality=modality,
            texts=values if modality == "text" else (),
            images=values if modality == "image" else (),
            task=self.task if modality == "text" else None,
            dimensions=self.setup.requested,
            normalize=self.setup.normalize,
            isolate_errors=self.results.isolate,
        )

    def _fail_by_position(self, items: Sequence[UniqueItem], error: InputError) -> None:
        """An input error that ended a batch: the row it belongs to fails; the others are tried again if isolating."""
        position = position_of(error, items)
        # Not isolating, nobody's fault, or the same item again: trying once more would not end.
        if error is self.results.raised or position is None or items[position].done:
            raise error
        self.results.fail(items[position], error)

    def _name_callers_rows(self, items: Sequence[UniqueItem], error: ApiError) -> None:
        """Let an error of the service name the caller's indices instead of positions in the batch."""
        known = (items[position] for position in error.positions if 0 <= position < len(items))
        offset = self.results.offset
        error.positions = (
            () if self.results.single else tuple(sorted(row + offset for item in known for row in item.rows))
        )

    def _refuse_missing(self, items: Sequence[UniqueItem]) -> None:
        missing = [item.row for item in items if not item.done]
        if missing:
            first = missing[0] + self.results.offset
            raise BackendError(
                f"the backend left out {len(missing)} of {len(items)} inputs, the first is input {first}"
            )

    # Assemble: every row to its place, as soon as it is known

    def _take_hits(self, items: Sequence[UniqueItem], found: Mapping[str, Any]) -> None:
        width = self.setup.width
        hits = []
        for item in items:
            # Where the width is unknown the first entry sets it: entries of different widths are not of one model.
            entry = as_entry(found[item.key], width) if item.key is not None and item.key in found else None
            if entry is not None:
                width = len(entry)
                hits.append((item, entry))
        if width is None or not hits:
            return
        vectors = np.concatenate([entry for _, entry in hits]).reshape(len(hits), width)
        usable = self._usable_rows(vectors)
        good = [item for (item, _), fine in zip(hits, usable, strict=True) if fine]
        self.results.count_hits(len(good) + sum(len(item.repeats) for item in good if item.repeats))
        self.results.deliver(good, vectors if len(good) == len(hits) else vectors[usable])

    def _accept(self, items: Sequence[UniqueItem], result: BatchResult) -> None:
        positions = range(len(result.vectors)) if result.positions is None else result.positions
        embedded = pick(items, positions)
        vectors = check_vectors(result.vectors, len(embedded), self.setup)
        self.results.count_spent(result.usage)
        usable = self._usable_rows(vectors)
        good = [item for item, fine in zip(embedded, usable, strict=True) if fine]
        good_vectors = vectors if len(good) == len(embedded) else vectors[usable]
        # Good rows go to the cache and to their places before a bad one may end the call: they are paid for. To the
        # cache first, at the full width that they still have.
        if self.setup.cache is not None:
            entries = {item.key: row for item, row in zip(good, good_vectors, strict=True) if item.key is not None}
            self.setup.cache.set_many(entries)
        self.results.deliver(good, good_vectors)
        for position in np.flatnonzero(~usable).tolist():
            item = embedded[position]
            where = item.row + self.results.offset
            self.results.fail(item, BackendError(f"{explain_unusable(vectors[position])} for input {where}"))
        for position, error in result.errors.items():
            self.results.fail(pick(items, [position])[0], error)

    def _usable_rows(self, vectors: NDArray[Any]) -> NDArray[np.bool_]:
        """Which rows can be given out, at full width and at the width that was asked for."""
        usable = usable_rows(vectors)
        wanted = self.setup.dimensions
        if wanted is not None and wanted < vectors.shape[1] and vectors.dtype != np.uint8:
            usable &= usable_rows(vectors[:, :wanted])
        return usable


def _is_before(error: InputError, other: InputError) -> bool:
    """Whether `error` belongs to the earlier input."""
    return error.index is not None and other.index is not None and error.index < other.index


def _chunks(values: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (values[start : start + size] for start in range(0, len(values), size))
