"""The best hits of a quick look, scored once more at the model's own image size.

A collection of small images (`image_size`) is made in a fraction of the time, and now and then puts an image in the
wrong place. What it finds among the best is mostly right, so that looking at those few again makes up for it.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ..cache import MemoryCache
from ..errors import ConfigurationError, InputError
from ..retrieval.fingerprint import VectorFingerprint
from ..types import Modality, Vectors
from ..vectors import normalize, usable_rows
from .filters import Filters
from .query import Query
from .search import CutOff, FolderSearch, Results, check_search

if TYPE_CHECKING:
    from ..encoder import JinaClipEncoder

REFINED = 20
"""Hits that are looked at again where no number is given."""


class Refiner:
    """Searches a collection, and scores the best images that were found once more with a second encoder.

        quick = JinaClipEncoder("jina-clip-v2", backend="local", image_size=336)
        full = JinaClipEncoder("jina-clip-v2", backend="local", cache="vectors")
        with FolderCollection.open("photos", encoder=quick) as collection:
            found = collection.refiner(full).search("a red car", refine=20, top=5)

    Scores of both encoders are never mixed in one order: the first `Results.refined` hits have the second one's, best
    first; behind them stands the rest with the scores of the quick look, best first too. Thread-safe; one thread at a
    time embeds, so that an image is computed once. The encoder's cache keeps the vectors; without one those of the
    last 25,000 images are in memory as long as this object lives. Both encoders stay the caller's.
    """

    def __init__(self, search: FolderSearch, encoder: JinaClipEncoder) -> None:
        """Raises `ConfigurationError` for an encoder of another model, or one that sees no more than the collection."""
        self._search = search
        self._encoder = encoder if encoder.cache is not None else encoder.with_cache(MemoryCache())
        self._lock = threading.Lock()
        self._is_checked = False
        self._check()

    def _check(self) -> None:
        held = None if self._is_checked else self._search.fingerprint()
        if held is not None:  # an empty collection has no model yet
            check_refines(VectorFingerprint.of(self._encoder), held)
            self._is_checked = True

    def search(
        self,
        query: Query | str,
        *,
        refine: int = REFINED,
        filters: Filters | None = None,
        modality: Modality = "image",
        top: int = 20,
        cut_off: CutOff = "auto",
        nearest: int = 0,
        vector: Vectors | None = None,
    ) -> Results:
        """As `FolderSearch.search`, its best `refine` images scored again and ordered by the new scores.

        `cut_off` is held against the score that each hit ends up with; `auto` is what the collection's own vectors
        reach by chance. Texts have the same vector at every image size, so that for them this is a plain search.

        Raises what `FolderSearch.search` raises, and `BackendError` also where the second encoder's backend fails.
        """
        check_search(top, cut_off, 0.0, nearest)
        if refine < 1:
            raise InputError(f"refine={refine}: at least one hit has to be looked at again")
        asked = Query.parse(query) if isinstance(query, str) else query
        if modality != "image":
            return self._search.search(
                asked, filters=filters, modality=modality, top=top, cut_off=cut_off, nearest=nearest, vector=vector
            )
        most = max(top, nearest, refine)
        found = self._search.search(asked, filters=filters, top=most, cut_off=None, vector=vector)
        limit = self._search.limit(asked, modality, cut_off) if found.hits else None
        return _cut(self.refine(found, asked, most=refine), limit, top, nearest)

    def refine(self, results: Results, query: Query | str, *, most: int | None = None) -> Results:
        """What a search found for `query`, its first `most` images (None = all) scored again and ordered anew.

        An image whose file is gone or cannot be read any more keeps its score and stands behind those; one that has
        changed is judged by what it shows now. Texts keep their scores too. Nothing is left out.

        Raises:
            InputError: a query that is not understood, or whose stored file is gone.
            BackendError: the backend failed.
        """
        asked = Query.parse(query) if isinstance(query, str) else query
        chosen = [hit for hit in results.hits[:most] if hit.modality == "image"]
        if not chosen:
            return replace(results, refined=0)
        self._check()
        scores = self._vectors([hit.path for hit in chosen]) @ asked.embed(self._encoder, self._stored_vector)
        seen = {id(hit): float(score) for hit, score in zip(chosen, scores, strict=True) if not math.isnan(score)}
        # Stable, so that equal scores keep the order of the quick look.
        first = sorted((hit for hit in chosen if id(hit) in seen), key=lambda hit: -seen[id(hit)])
        rest = [hit for hit in results.hits if id(hit) not in seen]
        return replace(results, hits=[*(replace(hit, score=seen[id(hit)]) for hit in first), *rest], refined=len(first))

    def _vectors(self, paths: Sequence[str]) -> Vectors:
        """Unit vectors `(n, d)` of files; NaN for those that cannot be read."""
        with self._lock:
            rows: Vectors = np.array(self._encoder.encode_image(list(paths), on_error="skip"))
        usable = usable_rows(rows)
        rows[usable] = normalize(rows[usable])
        return rows

    def _stored_vector(self, name: str) -> Vectors:
        """The vector `(d,)` of an indexed file that a query names."""
        hit = self._search.find(name)
        if hit.modality == "text":
            return self._search.stored_vector(name)
        vector: Vectors = self._vectors([hit.path])[0]
        if np.isnan(vector).any():
            raise InputError(f"{name!r} is no longer there, or cannot be read; index the folder again")
        return vector


def check_refines(ours: VectorFingerprint, held: VectorFingerprint) -> None:
    """Raise `ConfigurationError` unless `ours` are of the same model as those that are `held`, and see more."""
    replace(ours, image_size=0).check(replace(held, image_size=0).to_metadata(), where="the collection")
    if (ours.image_size or math.inf) <= (held.image_size or math.inf):
        raise ConfigurationError(
            f"nothing can be refined: the collection holds vectors of [{held}], and those for its best hits are of "
            f"[{ours}]; make the collection with a smaller image_size, or search without refining"
        )


def _cut(ranked: Results, limit: float | None, top: int, nearest: int) -> Results:
    """The best `top` of all, without those below the limit."""
    best = ranked.hits[:top]
    shown = [position for position, hit in enumerate(best) if limit is None or hit.score >= limit]
    refined = sum(position < ranked.refined for position in shown)
    closest = [] if shown else ranked.hits[:nearest]
    return Results([best[position] for position in shown], len(best) - len(shown), limit, closest, refined)
