"""The score below which a hit says nothing about the query, found from scores that are there by chance.

Cosines have no fixed meaning: in a CLIP-like space a text and an unrelated image may score 0.1 with one model and 0.3
with another, and two unrelated images score far higher than both. What can be found out of a collection is how high
*background* queries score in it, built like the query that is judged: each of its texts is exchanged for a text about
something else (`background`), each of its images for an image of the collection, with the weights left as they are.
Nearly all of these scores are of pairs that have nothing to do with each other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from ..types import Vectors

SAMPLE = 1000
"""Points of a collection that background queries are scored against."""

QUERIES = 64
"""Background queries."""

CHANCE = 0.05
"""How often a query about nothing in the collection shall still show something, if scores are as they are modelled."""

MIN_SCORES = 40
"""Scores from which a spread is worth estimating; with fewer nothing is hidden."""

MEDIAN_TO_STD = 1.4826
"""Standard deviations of a normal distribution in its median absolute deviation."""


@dataclass(frozen=True)
class Background:
    """How high unrelated pairs score: `centre` is the median, `spread` a standard deviation from the lower half."""

    centre: float
    spread: float
    count: int

    @classmethod
    def fit(cls, scores: NDArray[np.floating]) -> Background | None:
        """Learn it from a sample, of which less than half may be related after all; None for too few of them."""
        values = np.asarray(scores, np.float64).ravel()
        if len(values) < MIN_SCORES:
            return None
        centre = float(np.median(values))
        # Related pairs, that are there after all, score high: only the lower half is free of them.
        below = centre - values[values <= centre]
        spread = MEDIAN_TO_STD * float(np.median(below))
        return cls(centre, spread, len(values)) if spread > 0 else None

    def cut_off(self, entries: int, *, chance: float = CHANCE) -> float:
        """The score that the best of `entries` unrelated ones reaches with a probability of `chance`."""
        # 1 - (1 - p)^n = chance, solved for the p of one entry.
        p = -math.expm1(math.log1p(-chance) / max(entries, 1))
        return self.centre + self.spread * NormalDist().inv_cdf(1 - p)


def background_scores(
    kinds: Sequence[str], weights: Sequence[float], texts: Vectors, images: Vectors, entries: Vectors, *, same: bool
) -> NDArray[np.float32]:
    """Scores of background queries against a sample of entries, without those of an image against itself.

    Args:
        kinds: `text` or `image` for each term of the query.
        weights: Their weights.
        texts: Vectors of the background's texts `(t, d)`.
        images: Vectors of images of the collection `(m, d)`.
        entries: Vectors of the sample `(n, d)`.
        same: Whether the sample is that of the images, row for row.
    """
    random = np.random.default_rng(0)
    scale = np.asarray(weights, np.float32)
    queries = np.zeros((QUERIES, entries.shape[1]), np.float32)
    usable = np.ones((QUERIES, len(entries)), np.bool_)
    for kind, weight in zip(kinds, scale, strict=True):
        pool = texts if kind == "text" else images
        # Without repetition where there are enough, so that two terms of a query are seldom the same.
        rows = np.resize(random.permutation(len(pool)), QUERIES)
        queries += weight * pool[rows]
        if kind == "image" and same:
            usable[np.arange(QUERIES), rows] = False
    lengths = np.linalg.norm(queries, axis=1)
    there = lengths > 1e-3 * np.abs(scale).sum()
    scores: NDArray[np.float32] = (queries[there] / lengths[there, None]) @ entries.T
    return np.asarray(scores[usable[there]], np.float32)
