"""One ranking out of texts and images.

In a CLIP-like space vectors of one modality lie in a cone of their own (the "modality gap": Liang et al., "Mind the
Gap", NeurIPS 2022), so a text query scores texts higher than images that answer it just as well, and a list that is
sorted by raw score buries the images. Two remedies, over plain ids and scores, whatever store they came from:

* `reciprocal_rank_fusion` looks only at places, so it needs one search per modality and nothing else;
* `ScoreCalibration` learns how high each modality scores by chance, and makes the scores comparable.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import ConfigurationError, InputError

Id = TypeVar("Id", bound=Hashable)

RRF_K = 60.0
"""How much the first places stand out: the figure of the paper, found on a pilot and not critical."""

MIN_SAMPLE = 2
"""Scores that a standard deviation needs."""


@dataclass(frozen=True)
class Fused(Generic[Id]):
    """One id of a fused ranking."""

    id: Id
    score: float
    """Sum of weight / (k + place) over the rankings that hold it."""
    places: tuple[int | None, ...]
    """Its place in each ranking, from 1; None where it is missing."""


@dataclass(frozen=True)
class Calibrated(Generic[Id]):
    """One id of a ranking by calibrated scores."""

    id: Id
    score: float
    """Standard deviations above the mean of its modality."""
    modality: str
    raw_score: float
    """The score that came from the search."""


def reciprocal_rank_fusion(
    rankings: Sequence[Iterable[Id]], *, k: float = RRF_K, weights: Sequence[float] | None = None
) -> list[Fused[Id]]:
    """Merge rankings by place alone.

        score(d) = sum over rankings r of  weights[r] / (k + place_r(d)),   place_r = 1, 2, ...

    from Cormack, Clarke and Buettcher, "Reciprocal Rank Fusion outperforms Condorcet and individual Rank Learning
    Methods", SIGIR 2009, which uses k = 60 and no weights. A ranking adds nothing for an id that it lacks.

    Args:
        rankings: Ids, best first, one ranking per search. Of an id that a ranking names twice the first place counts.
        k: At least 0; the larger, the less the first places stand out.
        weights: One finite number of at least 0 per ranking; None = 1 for all.

    Returns:
        Every id once, best first. Equal scores are ordered by best place, then by the first ranking that has it there.

    Raises:
        ConfigurationError: `k` or `weights` cannot work.
        InputError: a `str` in place of a ranking; `index` says which.
    """
    factors = _check_weights(weights, len(rankings))
    if not (math.isfinite(k) and k >= 0):
        raise ConfigurationError(f"k={k}: must be a finite number of at least 0 (the paper uses 60)")
    places: dict[Id, list[int | None]] = {}
    for column, ranking in enumerate(rankings):
        # A str is a sequence of one-letter ids, and never meant.
        if isinstance(ranking, str):
            raise InputError("a ranking must be a sequence of ids, not a str", index=column)
        for place, id_ in enumerate(ranking, start=1):
            row = places.setdefault(id_, [None] * len(rankings))
            # Only the first place of an id counts, as of a text with several passages.
            if row[column] is None:
                row[column] = place
    fused = [Fused(id_, _rrf_score(row, factors, k), tuple(row)) for id_, row in places.items()]
    return sorted(fused, key=_fusion_order)


def _rrf_score(places: Sequence[int | None], weights: Sequence[float], k: float) -> float:
    """Exactly rounded, so that the order of the rankings cannot break a tie."""
    return math.fsum(weight / (k + place) for place, weight in zip(places, weights, strict=True) if place is not None)


def _fusion_order(one: Fused[Any]) -> tuple[float, int, int]:
    best = min(place for place in one.places if place is not None)
    return -one.score, best, one.places.index(best)


def _check_weights(weights: Sequence[float] | None, rankings: int) -> Sequence[float]:
    if weights is None:
        return [1.0] * rankings
    if len(weights) != rankings:
        raise ConfigurationError(f"{len(weights)} weights for {rankings} rankings; give one for each")
    if any(not (math.isfinite(weight) and weight >= 0) for weight in weights):
        raise ConfigurationError(f"weights={list(weights)}: must be finite numbers of at least 0")
    return weights


def maximal_marginal_relevance(
    scores: Sequence[float], vectors: ArrayLike, *, diversity: float, limit: int | None = None
) -> list[int]:
    """Choose results that are good and unlike each other.

    Each time the candidate with the highest

        (1 - diversity) * relevance(d) - diversity * max over chosen c of likeness(d, c)

    is taken: Carbonell and Goldstein, "The Use of MMR, Diversity-Based Reranking for Reordering Documents and Producing
    Summaries", SIGIR 1998, with their lambda = 1 - diversity. Relevance and likeness are brought to [0, 1] over the
    candidates first: in a CLIP-like space two images are several times as similar as a text and its image, and their
    likeness alone would decide.

    Args:
        scores: Higher is better, one per candidate.
        vectors: Their vectors `(n, d)`, normalised.
        diversity: From 0 (by score alone) to 1 (by difference alone, after the best one).
        limit: Most results; None = all.

    Returns:
        Positions of the candidates in the order in which they were chosen; of equal ones the earlier.

    Raises:
        ConfigurationError: `diversity` is not from 0 to 1.
        InputError: not one vector per score.
    """
    if not 0 <= diversity <= 1:
        raise ConfigurationError(f"diversity={diversity}: must be a number from 0 to 1")
    rows = np.asarray(vectors, np.float32)
    if len(rows) != len(scores):
        raise InputError(f"{len(rows)} vectors for {len(scores)} scores")
    wanted = len(scores) if limit is None else min(limit, len(scores))
    if not wanted:
        return []
    relevance = _to_unit(np.asarray(scores, np.float64))
    likeness = _to_unit((rows @ rows.T).astype(np.float64), but_diagonal=True)
    chosen: list[int] = []
    nearest = np.zeros(len(scores))  # nothing is chosen yet, so nothing is alike
    gain = relevance.copy()
    for _ in range(wanted):
        gain[chosen[-1:]] = -np.inf
        best = int(np.argmax(np.where(np.isinf(gain), gain, (1 - diversity) * relevance - diversity * nearest)))
        chosen.append(best)
        nearest = np.maximum(nearest, likeness[best])
    return chosen


def _to_unit(values: NDArray[np.float64], *, but_diagonal: bool = False) -> NDArray[np.float64]:
    """`values` stretched to [0, 1]; all 0 where they are equal. The diagonal of a matrix may be left out of account."""
    counted = values[~np.eye(len(values), dtype=np.bool_)] if but_diagonal else values
    low, high = (float(counted.min()), float(counted.max())) if counted.size else (0.0, 0.0)
    return np.clip((values - low) / (high - low), 0.0, 1.0) if high > low else np.zeros_like(values)


@dataclass(frozen=True)
class ScoreStatistics:
    """How the scores of one modality lie."""

    mean: float
    std: float
    """Standard deviation of the sample (divided by n), greater than 0."""
    count: int
    """Scores that were looked at."""


@dataclass(frozen=True)
class ScoreCalibration:
    """Scores of several modalities on one scale.

        z = (score - mean of its modality) / standard deviation of its modality

    (zero mean and unit variance: Montague and Aslam, "Relevance Score Normalization for Metasearch", CIKM 2001.) Fit it
    once per collection and model, on scores of typical queries against all sorts of entries, and keep it with the
    store. Higher scores must be better: negate distances first.

        calibration = ScoreCalibration.fit({"text": similarity(queries, texts), "image": similarity(queries, images)})
        calibration.merge({"text": [("a", 0.71)], "image": [("b", 0.34)]})
    """

    statistics: Mapping[str, ScoreStatistics]
    """Modality, or any other name of a kind of entry, to how its scores lie."""

    @classmethod
    def fit(cls, scores: Mapping[str, ArrayLike]) -> ScoreCalibration:
        """Learn mean and spread from a sample of scores per modality, of any shape, such as queries times entries.

        Raises `InputError` for a sample that is too small, not finite, or all one value.
        """
        return cls({modality: _statistics(modality, sample) for modality, sample in scores.items()})

    def apply(self, scores: ArrayLike, modality: str) -> NDArray[np.float64]:
        """Calibrated scores in the shape of `scores`, float64; their order stays. NaN stays NaN.

        Raises `ConfigurationError` for a modality that was not fitted.
        """
        if modality not in self.statistics:
            known = ", ".join(map(repr, self.statistics)) or "none"
            raise ConfigurationError(f"no calibration for {modality!r}; fitted: {known}")
        fitted = self.statistics[modality]
        return (np.asarray(scores, dtype=np.float64) - fitted.mean) / fitted.std

    def merge(
        self, hits: Mapping[str, Iterable[tuple[Id, float]]], *, limit: int | None = None
    ) -> list[Calibrated[Id]]:
        """One ranking, best first, out of `(id, score)` hits per modality; at most `limit` of them.

        Hits are compared by calibrated score; equal ones keep the order of the modalities and of their hits. A hit
        whose score is NaN raises `InputError`. An id found in two modalities appears once for each.
        """
        merged: list[Calibrated[Id]] = []
        for modality, found in hits.items():
            listed = list(found)
            scores = self.apply([score for _, score in listed], modality)
            if np.isnan(scores).any():
                raise InputError(f"a {modality} hit has the score NaN", index=int(np.isnan(scores).argmax()))
            merged += [
                Calibrated(id_, float(z), modality, float(raw)) for (id_, raw), z in zip(listed, scores, strict=True)
            ]
        return sorted(merged, key=lambda hit: -hit.score)[:limit]

    def to_dict(self) -> dict[str, dict[str, float]]:
        """JSON-safe, to be kept with the store."""
        return {name: {"mean": s.mean, "std": s.std, "count": s.count} for name, s in self.statistics.items()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Mapping[str, float]]) -> ScoreCalibration:
        """What `to_dict` wrote."""
        return cls({name: ScoreStatistics(s["mean"], s["std"], int(s["count"])) for name, s in data.items()})


def _statistics(modality: str, sample: ArrayLike) -> ScoreStatistics:
    scores = np.asarray(sample, dtype=np.float64).ravel()
    if scores.size < MIN_SAMPLE:
        raise InputError(f"{scores.size} {modality} scores; a calibration needs a sample of some dozens")
    if not np.isfinite(scores).all():
        raise InputError(f"the {modality} scores hold NaN or infinite values; leave them out")
    mean, std = float(scores.mean()), float(scores.std())
    # Rounding leaves a tiny spread even where all scores are equal; dividing by it would give noise.
    if std <= np.finfo(np.float64).eps * max(1.0, abs(mean)):
        raise InputError(f"all {modality} scores are {mean:g}; a calibration needs scores that differ")
    return ScoreStatistics(mean, std, int(scores.size))
