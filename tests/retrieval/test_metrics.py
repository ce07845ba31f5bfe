"""Ranks and recall, with ties against the model."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from jina_clip_integrations.retrieval.metrics import mean_over_groups, ranks, recall, recall_by_group, truncate

EYE = np.eye(4, dtype=np.float32)


def test_the_right_one_first() -> None:
    assert ranks(EYE, EYE, [[0], [1], [2], [3]]).tolist() == [1, 1, 1, 1]


def test_a_wrong_one_that_scores_higher_stands_before() -> None:
    query = np.array([[0.9, 0.3, 0.1, 0.0]], np.float32)
    assert ranks(query, EYE, [[2]]).tolist() == [3]


def test_ties_count_against_the_model() -> None:
    same = np.array([[1, 0], [1, 0], [1, 0], [0, 1]], np.float32)
    assert ranks(same[:1], same, [[0]]).tolist() == [3]


def test_identical_right_answers_are_no_tie() -> None:
    same = np.array([[1, 0], [1, 0], [0, 1]], np.float32)
    assert ranks(same[:1], same, [[0, 1]]).tolist() == [1]


def test_the_best_of_several_right_ones_counts() -> None:
    query = np.array([[0.9, 0.3, 0.1, 0.0]], np.float32)
    assert ranks(query, EYE, [[1, 3]]).tolist() == [2]


def test_a_missing_row_ranks_last() -> None:
    nan = np.full((1, 4), np.nan, np.float32)
    assert ranks(nan, EYE, [[0]]).tolist() == [4]
    candidates = EYE.copy()
    candidates[1] = np.nan
    assert ranks(EYE[:1], candidates, [[1]]).tolist() == [4]


def test_many_queries_are_ranked_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    queries, candidates = rng.normal(size=(50, 8)).astype(np.float32), rng.normal(size=(20, 8)).astype(np.float32)
    right = [[number % 20] for number in range(50)]
    whole = ranks(queries, candidates, right)
    monkeypatch.setattr("jina_clip_integrations.retrieval.metrics.QUERIES_PER_BLOCK", 7)
    assert ranks(queries, candidates, right).tolist() == whole.tolist()


@given(arrays(np.float32, (6, 3), elements=st.floats(-1, 1, width=32)), st.integers(0, 5))
def test_a_rank_is_one_plus_the_wrong_ones_at_least_as_good(candidates: np.ndarray, right: int) -> None:
    query = np.array([[0.5, -0.25, 1.0]], np.float32)
    scores = candidates @ query[0]
    expected = 1 + sum(scores[other] >= scores[right] - 1e-6 for other in range(6) if other != right)
    assert ranks(query, candidates, [[right]]).tolist() == [expected]


def test_recall_is_a_share_in_percent() -> None:
    assert recall(np.array([1, 2, 6, 11])) == {"R@1": 25.0, "R@5": 50.0, "R@10": 75.0}
    assert recall(np.array([], np.int64)) == {"R@1": 0.0, "R@5": 0.0, "R@10": 0.0}


def test_groups_weigh_the_same_in_the_mean() -> None:
    groups = recall_by_group(np.array([1, 1, 1, 20]), ["en", "en", "en", "de"])
    assert list(groups) == ["en", "de"]
    assert mean_over_groups(groups) == {"R@1": 50.0, "R@5": 50.0, "R@10": 50.0}


def test_cut_vectors_are_unit_vectors_again() -> None:
    short = truncate(np.array([[3, 4, 12], [0, 2, 9]], np.float32), 2)
    np.testing.assert_allclose(short, [[0.6, 0.8], [0, 1]])
