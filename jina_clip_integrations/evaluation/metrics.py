"""Recall, nDCG and reciprocal rank, by `ir_measures` (which asks trec_eval), for every query of a search.

A query's figures depend on nothing but the grades in its first ten places and on the grades of all its answers. So
`ir_measures` is asked once for every such pattern: twelve times, where every query has one answer, instead of 30,000.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ..errors import require_extra
from .search import Found
from .task import Grades

DEPTH = 10
"""Places that are looked at."""

MEASURES = {
    "R@1": "Success@1",
    "R@5": "Success@5",
    "R@10": "Success@10",
    "nDCG@10": "nDCG@10",
    "MRR@10": "RR",  # of a list that ends after the tenth place
    "coverage@10": "R@10",
}
"""Our names to those of `ir_measures`."""

Values = Mapping[str, NDArray[np.float64]]
"""Measure to its value, 0 to 1, for every query: `(n,)`."""


def require_metrics() -> None:
    """Raise `ImportError` with the line that installs `ir_measures`, before anything is embedded."""
    require_extra("ir_measures", extra="evaluate", purpose="Measuring retrieval")


def measure(found: Found, relevance: Sequence[Grades]) -> Values:
    """Every measure of every query. Raises `ImportError` without the extra `evaluate`."""
    positions = found.positions[:, :DEPTH]
    patterns, first, back = np.unique(_patterns(positions, relevance), axis=0, return_index=True, return_inverse=True)
    if not len(patterns):
        return {name: np.empty(0) for name in MEASURES}
    values = _ask(positions[first], [relevance[query] for query in first])
    return {name: column[back.ravel()] for name, column in values.items()}


def _patterns(positions: NDArray[np.int64], relevance: Sequence[Grades]) -> NDArray[np.int64]:
    """For every query what decides its figures: the grades it found, the best it could find, and how many there are."""
    rows = np.zeros((len(positions), 2 * DEPTH + 1), np.int64)
    for row, (places, grades) in enumerate(zip(positions.tolist(), relevance, strict=True)):
        rows[row, : len(places)] = [grades.get(place, 0) for place in places]
        ideal = sorted(grades.values(), reverse=True)[:DEPTH]
        rows[row, DEPTH : DEPTH + len(ideal)] = ideal
        rows[row, -1] = len(grades)
    return rows


def _ask(positions: NDArray[np.int64], relevance: Sequence[Grades]) -> Values:
    require_metrics()
    import ir_measures

    qrels = {str(query): {str(d): grade for d, grade in grades.items()} for query, grades in enumerate(relevance)}
    # Scores that fall from place to place, so that no tie is left to be broken by an id.
    run = {
        str(query): {str(document): float(DEPTH - place) for place, document in enumerate(row) if document >= 0}
        for query, row in enumerate(positions.tolist())
    }
    names = {ir_measures.parse_measure(measure): name for name, measure in MEASURES.items()}
    values = {name: np.zeros(len(relevance)) for name in MEASURES}
    for metric in ir_measures.iter_calc(list(names), qrels, run):
        values[names[metric.measure]][int(metric.query_id)] = metric.value
    return values
