"""The score below which a hit says nothing about the query, found from scores that are there by chance.

Cosines have no fixed meaning: in a CLIP-like space a text and an unrelated image may score 0.1 with one model and 0.3
with another, two unrelated images score higher than both, and a difference of texts lower. What can be found out of a
collection is how high *background* queries score in it, built like the query that is judged: each of its texts is
exchanged for a text about something else (`background`), each of its images for an image of the collection, with the
weights left as they are. Nearly all of these scores are of pairs that have nothing to do with each other.

They are modelled as a normal distribution. Its centre is their median; its standard deviation is taken from the scores
below the median only, since pairs that are related after all, as the background's lighthouse in a folder of them, score
high and leave that half alone. The best of n unrelated entries exceeds t with the probability 1 - F(t)^n, and the
cut-off is the t for which that is `CHANCE`: the more entries, the higher the best of them scores by chance, which a
fixed threshold would ignore.

What the model leaves out was measured (`benchmarks/cut_off.py`): making scores comparable per query or per image, by
subtracting the mean of each and dividing by its spread, tells related from unrelated pairs less well than the plain
cosine, as it takes away what all images of a folder have in common with a query about them.
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

CHANCE = 0.5
"""How often a query about nothing in the collection may still show something, if scores are as they are modelled.

A half: what is shown is better than the best unrelated entry is as a rule. A relevant hit that is hidden is worse than
an irrelevant one that is shown; what other values would do is in the benchmark.
"""

MIN_SCORES = 40
"""Scores from which a spread is worth estimating; with fewer nothing is hidden."""

MEDIAN_TO_STD = 1.4826
"""Standard deviations of a normal distribution in its median absolute deviation: 1 / the normal quantile of 3/4."""

DIRECTIONLESS = 1e-3
"""Length of a sum, per unit of weight, below which a background query has no direction."""


@dataclass(frozen=True)
class Background:
    """How high unrelated pairs score."""

    centre: float
    spread: float
    """Standard deviation, above 0."""
    count: int
    """Scores that were looked at."""

    @classmethod
    def fit(cls, scores: NDArray[np.floating]) -> Background | None:
        """Learn it from a sample, of which less than half may be related after all.

        None for too few scores, or scores that are all the same.
        """
        values = np.asarray(scores, np.float64).ravel()
        if len(values) < MIN_SCORES:
            return None
        centre = float(np.median(values))
        spread = MEDIAN_TO_STD * float(np.median(centre - values[values <= centre]))
        return cls(centre, spread, len(values)) if spread > np.finfo(np.float32).eps else None

    def cut_off(self, entries: int, *, chance: float = CHANCE) -> float:
        """The score that the best of `entries` unrelated ones exceeds with a probability of `chance`."""
        # 1 - (1 - p)^n = chance, solved for the p of one entry; written so that a small p keeps its digits.
        p = -math.expm1(math.log1p(-chance) / max(entries, 1))
        return self.centre - self.spread * NormalDist().inv_cdf(p)


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
    queries = QUERIES if "text" in kinds else min(QUERIES, len(images))
    drawn = _draw(kinds, queries, {"text": len(texts), "image": len(images)})
    summed = np.zeros((queries, entries.shape[1]), np.float32)
    for kind, weight, rows in zip(kinds, weights, drawn, strict=True):
        summed += np.float32(weight) * (texts if kind == "text" else images)[rows]
    lengths = np.linalg.norm(summed, axis=1)
    usable = np.repeat((lengths > DIRECTIONLESS * np.abs(weights).sum())[:, None], len(entries), axis=1)
    for kind, rows in zip(kinds, drawn, strict=True):
        if kind == "image" and same:
            usable[np.arange(queries), rows] = False
    scores: NDArray[np.float32] = (summed / np.maximum(lengths, DIRECTIONLESS)[:, None]) @ entries.T
    return np.asarray(scores[usable], np.float32)


def _draw(kinds: Sequence[str], queries: int, sizes: dict[str, int]) -> list[NDArray[np.intp]]:
    """Rows of texts or images for every term; those of terms of one kind differ, where there are enough."""
    random = np.random.default_rng(0)  # the same for the same collection, so that a cut-off can be repeated
    orders = {kind: random.permutation(size) for kind, size in sizes.items()}
    drawn = []
    for place, kind in enumerate(kinds):
        step = place * max(1, sizes[kind] // max(len(kinds), 1))
        drawn.append(np.resize(np.roll(orders[kind], -step), queries))
    return drawn
