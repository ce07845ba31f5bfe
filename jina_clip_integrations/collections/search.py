"""Search in a collection: queries, filters, a cut-off, diversity, duplicates, the same for everybody who asks.

Thread-safe, also while another thread is indexing.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from ..errors import InputError
from ..retrieval.fingerprint import VectorFingerprint
from ..retrieval.ranking import maximal_marginal_relevance
from ..types import Modality, Vectors
from ..vectors import normalize
from .background import background_vectors
from .cutoff import SAMPLE, Background, background_scores
from .description import Description, describe_payloads
from .duplicates import NEAR_DUPLICATE, DuplicateGroup, find_duplicates
from .filters import Filters
from .hits import Hit, make_hit
from .names import decode_name
from .payload import NAME
from .points import Point, PointSource, Where
from .query import Query

if TYPE_CHECKING:
    from ..encoder import JinaClipEncoder
    from .store import FolderStore

CutOff = float | Literal["auto", "lenient"] | None

LENIENT = 10
"""About how many unrelated entries a lenient cut-off lets through. A page of images is taken in at a glance: one that
does not belong there costs less than one that is missing."""

POOL = 5
"""How many candidates per result a diverse list is chosen from."""
MIN_POOL = 50
PLAIN = (("text",), (1.0,))
"""Kinds and weights of the terms of a search for words."""
MAX_BACKGROUNDS = 256
"""Builds of queries whose background is remembered; a slider for a weight makes many."""


@dataclass(frozen=True)
class Results:
    """What a search found."""

    hits: list[Hit]
    """Best first; with `diversity` in the order in which they were chosen."""
    hidden: int = 0
    """How many of the best `top` are not among `hits`, because they scored below the cut-off."""
    cut_off: float | None = None
    """The score below which nothing is shown; None where there was none."""
    nearest: list[Hit] = field(default_factory=list)
    """Where all scored below the cut-off and `nearest` was asked for: the best of what is hidden, counted there too."""
    refined: int = 0
    """How many of the first hits have the score of a `Refiner`, at a larger image size than the collection's."""


class FolderSearch:
    """Searches what a store holds, of one folder or of all. Thread-safe; store and encoder belong to the caller."""

    def __init__(self, store: FolderStore, encoder: JinaClipEncoder, *, root: Path | None = None) -> None:
        self._store = store
        self._encoder = encoder
        self._root = root
        self._points: PointSource = store.points()
        self._lock = threading.Lock()
        self._texts_lock = threading.Lock()
        self._texts: Vectors | None = None
        self._backgrounds: dict[object, Background | None] = {}
        self._known_revision: object = None

    def search(
        self,
        query: Query | str,
        *,
        filters: Filters | None = None,
        modality: Modality = "image",
        top: int = 20,
        cut_off: CutOff = "auto",
        diversity: float = 0.0,
        nearest: int = 0,
        vector: Vectors | None = None,
    ) -> Results:
        """The best images, or passages of text.

        Args:
            query: A `Query`, or a string in its grammar.
            filters: Which files to look at.
            modality: `image` or `text`.
            top: Most results.
            cut_off: A cosine below which nothing is shown; `auto` = what unrelated files reach by chance in this
                collection (`cutoff`); `lenient` = so that about `LENIENT` of them still show; None = show everything.
            diversity: From 0, the best ones, to 1, as different from each other as can be (maximal marginal relevance).
            nearest: Most hits of `Results.nearest`, which are there where the cut-off hides all.
            vector: What `embed` gave for this query, so that several searches embed it once.

        Raises:
            InputError: a query that is not understood, has no direction, or names a file that is not indexed; a
                setting that cannot work.
            ImageError, BackendError: as `JinaClipEncoder.encode`; `BackendError` also if the store fails.
        """
        check_search(top, cut_off, diversity, nearest)
        asked = Query.parse(query) if isinstance(query, str) else query
        where = Where(self._root, modality, filters or Filters())
        vector = self.embed(asked) if vector is None else vector
        if not self._store.exists():
            return Results([])
        names = frozenset(asked.stored)
        found = self._points.nearest(
            vector, where, top=_pool(max(top, nearest), diversity) + len(names), with_vectors=diversity > 0
        )
        # What is like a file is not that file itself.
        found = [point for point in found if not names or decode_name(point.payload[NAME]) not in names]
        limit = self.limit(asked, modality, cut_off)
        candidates = found[: _pool(top, diversity)]
        shown = [point for point in candidates if limit is None or point.score >= limit]
        hidden = 0 if limit is None else sum(point.score < limit for point in candidates[:top])
        hits = _choose(shown, top, diversity)
        closest = [] if hits else _choose(found[: _pool(nearest, diversity)], nearest, diversity)
        return Results(hits, hidden, limit, closest)

    def embed(self, query: Query) -> Vectors:
        """The vector `(d,)` of a query, of unit length."""
        return query.embed(self._encoder, self.stored_vector)

    def stored_vector(self, name: str) -> Vectors:
        """The vector `(d,)` of an indexed file, the mean of its passages for a text. Raises `InputError`."""
        where = Where(self._root, name=name)
        read = self._points.read(where, with_vectors=True) if self._store.exists() else iter(())
        found = [rows for _, rows in read if len(rows)]
        if not found:
            raise _not_indexed(name)
        vector: Vectors = normalize(np.concatenate(found).mean(axis=0, keepdims=True))[0]
        return vector

    def find(self, name: str) -> Hit:
        """What is known of an indexed file; of a text its first passage. Raises `InputError`."""
        where = Where(self._root, name=name)
        read = self._points.read(where) if self._store.exists() else iter(())
        found = [make_hit(1.0, payload) for payloads, _ in read for payload in payloads]
        if not found:
            raise _not_indexed(name)
        return min(found, key=lambda hit: hit.passage)

    def limit(self, query: Query, modality: Modality, cut_off: CutOff) -> float | None:
        """The score below which a search with this `cut_off` shows nothing; None where it shows all."""
        if not isinstance(cut_off, str):
            return cut_off
        return self.cut_off(query, modality, unrelated=LENIENT if cut_off == "lenient" else 1)

    def fingerprint(self) -> VectorFingerprint | None:
        """Which model made the collection's vectors; None while it is empty."""
        model = self._store.model()
        return None if model is None else model.fingerprint

    def browse(self, *, filters: Filters | None = None, modality: Modality = "image") -> list[Hit]:
        """Everything that passes the filters, without a query and so without an order; every score is 1."""
        where = Where(self._root, modality, filters or Filters())
        read = self._points.read(where) if self._store.exists() else iter(())
        return [make_hit(1.0, payload) for payloads, _ in read for payload in payloads]

    def cut_off(self, query: Query, modality: Modality = "image", *, unrelated: int = 1) -> float | None:
        """The score that unrelated entries reach by chance for queries like this one; None where too little is known.

        About so many `unrelated` ones exceed it. The same whatever the filters, so that a filter does not bring back
        what was hidden.
        """
        background = self._background(self._kinds(query), tuple(term.weight for term in query.terms), modality)
        if background is None:
            return None
        # The best of every n / k entries: k of them in all.
        return background.cut_off(self._points.count(Where(self._root, modality)) // unrelated)

    def prepare(self) -> None:
        """Load the model, and learn the cut-off of searches for words, so that no search has to wait for that.

        A backend elsewhere is asked once per model and machine, for the texts of the background. Raises what `search`
        raises for a backend or store that fails; a search tries again.
        """
        load = getattr(self._encoder.backend, "load", None)
        if load is not None:
            load()
        self._background_texts()
        if self._store.exists():
            self._background(*PLAIN, "image")
            self._background(*PLAIN, "text")

    def _background(self, kinds: tuple[str, ...], weights: tuple[float, ...], modality: Modality) -> Background | None:
        """Computed once for queries of the same build, until the collection changes."""
        key = modality, kinds, weights
        revision = self._points.revision()
        with self._lock:
            if revision != self._known_revision or len(self._backgrounds) >= MAX_BACKGROUNDS:
                self._backgrounds.clear()
                self._known_revision = revision
            if key in self._backgrounds:
                return self._backgrounds[key]
        fitted = self._fit(kinds, weights, modality)
        with self._lock:
            self._backgrounds[key] = fitted
        return fitted

    def _kinds(self, query: Query) -> tuple[str, ...]:
        """`text` or `image` for each term; a stored file may be either."""
        return tuple(term.kind if term.stored is None else self.find(term.stored).modality for term in query.terms)

    def _fit(self, kinds: Sequence[str], weights: Sequence[float], modality: Modality) -> Background | None:
        entries = self._points.sample(Where(self._root, modality), SAMPLE)
        same = modality == "image"
        images = entries if same or "image" not in kinds else self._points.sample(Where(self._root, "image"), SAMPLE)
        if not len(entries) or ("image" in kinds and not len(images)):
            return None
        texts = self._background_texts() if "text" in kinds else entries[:0]
        return Background.fit(background_scores(kinds, weights, texts, images, entries, same=same))

    def _background_texts(self) -> Vectors:
        with self._texts_lock:  # a search that comes while they are computed waits, and does not compute them too
            if self._texts is None:
                self._texts = background_vectors(self._encoder)
            return self._texts

    def duplicates(self, *, threshold: float = NEAR_DUPLICATE, filters: Filters | None = None) -> list[DuplicateGroup]:
        """Images that are the same or nearly so, in groups, each with the one to keep. Nothing is ever deleted.

        `threshold` is the cosine from which two images count as the same.
        """
        if not self._store.exists():
            return []
        where = Where(self._root, "image", filters or Filters())
        return find_duplicates(self._points, where, threshold=threshold)

    def describe(self) -> Description:
        """What is in the collection: counts, model, span of times, folders, cameras."""
        payloads = self._points.read(Where(self._root)) if self._store.exists() else iter(())
        return describe_payloads((payload for some, _ in payloads for payload in some), where=self._store.location)


def check_search(top: int, cut_off: CutOff, diversity: float, nearest: int) -> None:
    """Raise `InputError` for options of a search that cannot work, before anything is embedded."""
    if top < 1:
        raise InputError(f"top={top}: at least one result is needed")
    if isinstance(cut_off, float) and not math.isfinite(cut_off):  # nothing is above NaN, nor below
        raise InputError(f"cut_off={cut_off}: a finite number is needed, 'auto', or None for all")
    if not 0 <= diversity <= 1:
        raise InputError(f"diversity={diversity}: a number from 0 to 1 is needed")
    if nearest < 0:
        raise InputError(f"nearest={nearest}: 0 or more is needed")


def _not_indexed(name: str) -> InputError:
    return InputError(f"{name!r} is not in the collection; index the folder again if it is new")


def _pool(top: int, diversity: float) -> int:
    """How many candidates a list of `top` is chosen from."""
    return max(MIN_POOL, POOL * top) if diversity and top else top


def _choose(points: Sequence[Point], top: int, diversity: float) -> list[Hit]:
    """Hits of the best points, or of varied ones."""
    chosen = (points[position] for position in _diversify(points, top, diversity))
    return [make_hit(point.score, point.payload) for point in chosen]


def _diversify(points: Sequence[Point], top: int, diversity: float) -> Sequence[int]:
    if not diversity or not points or not top:
        return range(min(top, len(points)))
    vectors = np.stack([point.vector for point in points if point.vector is not None])
    scores = [point.score for point in points]
    return maximal_marginal_relevance(scores, vectors, diversity=diversity, limit=top)
