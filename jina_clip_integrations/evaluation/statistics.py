"""How sure a mean is, and whether two means differ: intervals by bootstrap, a paired randomisation test.

What is drawn at random are groups of queries that share an answer, not single queries: the twenty names of one image
are answered well or badly together, and drawing them one by one would make the intervals too narrow.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 1000
"""Samples drawn for an interval. Its ends then differ by some hundredths of its width from run to run."""

PERMUTATIONS = 9999
"""Random exchanges of a paired test; with the figures as they are makes 10,000, and the smallest p-value 0.0001."""

CONFIDENCE = 0.95

SEED = 0
"""Of every draw, so that a run can be repeated."""

DRAWS_PER_BLOCK = 4_000_000
"""Random signs in memory at a time."""

COUNTS_PER_BLOCK = 4_000_000
"""Random counts in memory at a time, 32 MB."""


@dataclass(frozen=True)
class Interval:
    """A mean and the 95% interval around it."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """A difference of two means on the same queries."""

    difference: float
    """Ours minus theirs."""
    p_value: float
    """How often chance alone gives a difference as large, in either direction."""


def language_weights(languages: NDArray[np.str_]) -> NDArray[np.float64]:
    """A weight for every query, `(n,)`, adding up to 1, so that every language weighs the same."""
    _, inverse, counts = np.unique(languages, return_inverse=True, return_counts=True)
    weights: NDArray[np.float64] = 1 / (counts[inverse.ravel()] * len(counts))
    return weights


def bootstrap(
    values: Mapping[str, NDArray[np.float64]],
    weights: NDArray[np.float64],
    groups: NDArray[np.int64],
    *,
    resamples: int = RESAMPLES,
) -> dict[str, Interval]:
    """The weighted mean of every measure `(n,)` with its percentile interval, drawing groups with replacement.

    Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13. Nothing but 0 without queries.
    """
    if not len(groups):
        return {name: Interval(0.0, 0.0, 0.0) for name in values}
    sums, totals = _sum_by_group(weights[:, None] * np.stack(list(values.values()), axis=1), groups, weights)
    means = np.concatenate([(draws @ sums) / (draws @ totals)[:, None] for draws in _draw(len(totals), resamples)])
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(means, [tail, 100 - tail], axis=0)
    middle = sums.sum(axis=0) / totals.sum()
    return {name: Interval(*map(float, row)) for name, *row in zip(values, middle, low, high, strict=True)}


def _draw(groups: int, resamples: int) -> Iterator[NDArray[np.float64]]:
    """How often every group is drawn, `(some resamples, groups)`, all resamples together."""
    per_block = max(COUNTS_PER_BLOCK // groups, 1)
    if resamples <= per_block:
        yield _counts(groups, resamples, 0)
        return
    for block, start in enumerate(range(0, resamples, per_block)):
        yield _counts.__wrapped__(groups, min(per_block, resamples - start), block)


@functools.lru_cache(maxsize=8)  # all languages and settings of a task have the same number of groups
def _counts(groups: int, resamples: int, block: int) -> NDArray[np.float64]:
    random = np.random.default_rng([SEED, block])
    drawn = random.integers(groups, size=(resamples, groups))
    drawn += groups * np.arange(resamples)[:, None]
    return np.bincount(drawn.ravel(), minlength=groups * resamples).reshape(resamples, groups).astype(np.float64)


def compare(
    ours: NDArray[np.float64],
    theirs: NDArray[np.float64],
    weights: NDArray[np.float64],
    groups: NDArray[np.int64],
    *,
    permutations: int = PERMUTATIONS,
) -> Comparison:
    """Whether the weighted means of one measure differ on the same queries, all `(n,)`.

    Fisher's randomisation test, two-sided: the two figures of a group change places at random (Smucker, Allan and
    Carterette, "A Comparison of Statistical Significance Tests for Information Retrieval Evaluation", CIKM 2007).
    """
    if not len(groups):
        return Comparison(0.0, 1.0)
    sums, totals = _sum_by_group((weights * (ours - theirs))[:, None], groups, weights)
    differences = sums[:, 0] / totals.sum()
    observed = float(differences.sum())
    moved = differences[differences != 0]  # exchanging equal figures changes nothing
    random = np.random.default_rng(SEED)
    at_least = done = 0
    while done < permutations:
        count = min(permutations - done, max(DRAWS_PER_BLOCK // max(len(moved), 1), 1))
        signs = random.integers(0, 2, (count, len(moved)), np.int8) * 2 - 1
        # A hair below, since sums of the same numbers in another order differ in their last digits.
        at_least += int(np.count_nonzero(np.abs(signs @ moved) >= abs(observed) * (1 - 1e-12)))
        done += count
    return Comparison(observed, (at_least + 1) / (permutations + 1))


def _sum_by_group(
    values: NDArray[np.float64], groups: NDArray[np.int64], weights: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sums of `values` `(n, c)` and of `weights` `(n,)` over the queries of each group: `(g, c)` and `(g,)`."""
    numbers = np.unique(groups, return_inverse=True)[1].ravel()
    sums = np.stack([np.bincount(numbers, column) for column in values.T], axis=1).astype(np.float64)
    return sums, np.bincount(numbers, weights).astype(np.float64)
