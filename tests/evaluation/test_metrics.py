"""Measures against cases computed by hand and against plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest

from jina_clip_integrations.evaluation.metrics import DEPTH, MEASURES, measure
from jina_clip_integrations.evaluation.search import Found, search_rows
from tests.evaluation.loops import best_places, coverage, ndcg, reciprocal_rank, success, unit_rows


def found(*rows: list[int]) -> Found:
    positions = np.full((len(rows), DEPTH), -1, np.int64)
    for number, row in enumerate(rows):
        positions[number, : len(row)] = row
    return Found(positions, np.zeros(positions.shape, np.float32))


def test_a_case_computed_by_hand() -> None:
    values = measure(found([7, 3, 5, 9]), [{3: 1, 9: 2, 100: 1}])
    # Places 2 and 4 answer, with the grades 1 and 2; the best order would be 2, 1, 1.
    gain = 1 / math.log2(3) + 2 / math.log2(5)
    ideal = 2 + 1 / math.log2(3) + 1 / math.log2(4)
    expected = {"R@1": 0, "R@5": 1, "R@10": 1, "nDCG@10": gain / ideal, "MRR@10": 1 / 2, "coverage@10": 2 / 3}
    assert {name: column[0] for name, column in values.items()} == pytest.approx(expected, abs=1e-12)


def test_the_sixth_place_counts_for_ten_only() -> None:
    values = measure(found([1, 2, 3, 4, 5, 0]), [{0: 1}])
    assert [values[name][0] for name in ("R@1", "R@5", "R@10", "MRR@10")] == [0, 0, 1, pytest.approx(1 / 6)]


def test_nothing_found_and_no_queries() -> None:
    assert all(column.tolist() == [0, 0] for column in measure(found([], [4]), [{0: 1}, {1: 1}]).values())
    assert all(len(column) == 0 for column in measure(found(), []).values())
    assert set(measure(found(), [])) == set(MEASURES)


def test_every_measure_is_that_of_plain_loops(effort: int) -> None:
    random = np.random.default_rng(7)
    for _ in range(20 * effort):
        queries, rows = unit_rows(random, 9, 4), unit_rows(random, int(random.integers(2, 60)), 4)
        rows[1] = rows[0]  # ties
        relevance = [
            {
                int(d): int(random.integers(1, 4))
                for d in random.choice(len(rows), int(random.integers(1, len(rows) + 1)))
            }
            for _ in queries
        ]
        relevance = [dict.fromkeys(grades, 1) for grades in relevance[:4]] + relevance[4:]
        values = measure(search_rows(queries, rows, DEPTH, relevance), relevance)
        for number, (query, grades) in enumerate(zip(queries, relevance, strict=True)):
            if number >= 4 and {0, 1} & set(grades):
                continue  # which of two ties with different grades stands behind has a test of its own
            places = best_places(query, rows, grades, 10)
            expected = {f"R@{k}": success(places, grades, k) for k in (1, 5, 10)} | {
                "nDCG@10": ndcg(places, grades),
                "MRR@10": reciprocal_rank(places, grades),
                "coverage@10": coverage(places, grades),
            }
            assert {name: column[number] for name, column in values.items()} == pytest.approx(expected, abs=1e-9)


def test_without_the_extra_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"jina-clip-integrations\[evaluate\]"):
        measure(found([1]), [{1: 1}])
