"""Recall at k: how often a right candidate is among the first k. Pure arithmetic on vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ..types import Vectors
from ..vectors import truncate_and_normalize

CUTOFFS = (1, 5, 10)

TIE = 1e-6
"""Cosines closer than this are a tie: float32 sums of the same products differ by as much, depending on their order."""

QUERIES_PER_BLOCK = 1024
"""Rows of the score matrix in memory at a time; 100,000 candidates make it 400 MB."""


def ranks(queries: Vectors, candidates: Vectors, right: Sequence[Sequence[int]]) -> NDArray[np.int64]:
    """Rank of the best right candidate of every query, from 1, `(n,)` int64.

    `queries` `(n, d)` and `candidates` `(m, d)` are unit vectors, `right[i]` the positions of the candidates that
    answer query i. Every wrong candidate that scores as high as the best right one stands before it. A NaN row ranks
    last.
    """
    found = np.empty(len(queries), np.int64)
    # In blocks: all scores of 30,000 queries against 30,000 candidates would take 3.6 GB.
    for start in range(0, len(queries), QUERIES_PER_BLOCK):
        scores = np.nan_to_num(queries[start : start + QUERIES_PER_BLOCK] @ candidates.T, nan=-2.0)  # below any cosine
        for row, line in enumerate(scores):
            answers = list(right[start + row])
            best = line[answers].max()
            # Right candidates that tie with the best one are no rivals: they are taken out of the count again.
            found[start + row] = (
                1 + np.count_nonzero(line >= best - TIE) - np.count_nonzero(line[answers] >= best - TIE)
            )
    return found


def recall(found: NDArray[np.int64]) -> dict[str, float]:
    """Share of queries answered within each cutoff, in percent: `{"R@1": …, "R@5": …, "R@10": …}`."""
    return {f"R@{k}": _percent(found <= k) for k in CUTOFFS}


def recall_by_group(found: NDArray[np.int64], groups: Sequence[str]) -> dict[str, dict[str, float]]:
    """`recall` of each group of queries, in the order in which the groups first appear."""
    names = np.asarray(groups)
    return {name: recall(found[names == name]) for name in dict.fromkeys(groups)}


def mean_over_groups(groups: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """The unweighted mean over groups, per cutoff."""
    return {f"R@{k}": float(np.mean([group[f"R@{k}"] for group in groups.values()])) for k in CUTOFFS}


def truncate(vectors: Vectors, dimensions: int) -> Vectors:
    """Unit vectors of only the first `dimensions` values: `(n, dimensions)`."""
    return truncate_and_normalize(vectors, dimensions=dimensions, normalized=True)


def _percent(hits: NDArray[np.bool_]) -> float:
    return round(100.0 * float(hits.mean()), 2) if hits.size else 0.0
