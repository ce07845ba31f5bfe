"""The definitions of the measures once more, by plain loops and without a library, to check the package against."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

TIE = 1e-6


def unit_rows(random: np.random.Generator, count: int, dimensions: int) -> np.ndarray:
    """Random unit vectors `(count, dimensions)`."""
    rows = random.normal(size=(count, dimensions))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def best_places(query: np.ndarray, rows: np.ndarray, grades: Mapping[int, int], k: int) -> list[int]:
    """The first k documents by score, best first, those that answer behind others that score as high."""
    scored = []
    for number, row in enumerate(rows):
        score = sum(float(a) * float(b) for a, b in zip(query, row, strict=True))
        scored.append((-(score - (TIE if number in grades else 0)), number))
    return [number for _, number in sorted(scored)[:k]]


def success(places: Sequence[int], grades: Mapping[int, int], k: int) -> float:
    """1 if an answer is among the first k."""
    return float(any(document in grades for document in places[:k]))


def reciprocal_rank(places: Sequence[int], grades: Mapping[int, int]) -> float:
    """1 / the place of the first answer among the first ten, or 0."""
    for place, document in enumerate(places[:10], 1):
        if document in grades:
            return 1 / place
    return 0.0


def coverage(places: Sequence[int], grades: Mapping[int, int]) -> float:
    """The share of all answers among the first ten."""
    return sum(document in grades for document in places[:10]) / len(grades)


def ndcg(places: Sequence[int], grades: Mapping[int, int]) -> float:
    """Gain is the grade, discount the logarithm of the place plus one (Jarvelin and Kekalainen 2002)."""
    gained = sum(grades.get(document, 0) / math.log2(place + 1) for place, document in enumerate(places[:10], 1))
    best = sorted(grades.values(), reverse=True)[:10]
    return gained / sum(grade / math.log2(place + 1) for place, grade in enumerate(best, 1))
