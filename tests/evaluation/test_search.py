"""Exact search in blocks against plain loops, with ties against us."""

from __future__ import annotations

import numpy as np
import pytest

from jina_clip_integrations.evaluation.search import Answers, Found, rescore, search, search_rows
from tests.evaluation.loops import best_places, unit_rows

EYE = np.eye(4, dtype=np.float32)


def first_place(found: Found, query: int, right: set[int]) -> int | None:
    """The place, from 1, of the first right document of a query."""
    places = [place for place, document in enumerate(found.positions[query].tolist(), 1) if document in right]
    return places[0] if places else None


@pytest.mark.parametrize(("queries_per_block", "documents_per_block"), [(256, 16_384), (3, 7), (1, 1), (5, 10)])
def test_blocks_of_any_size_find_what_loops_find(
    queries_per_block: int, documents_per_block: int, monkeypatch: pytest.MonkeyPatch, effort: int
) -> None:
    monkeypatch.setattr("jina_clip_integrations.evaluation.search.QUERIES_PER_BLOCK", queries_per_block)
    monkeypatch.setattr("jina_clip_integrations.evaluation.search.DOCUMENTS_PER_BLOCK", documents_per_block)
    random = np.random.default_rng(queries_per_block)
    for _ in range(5 * effort):
        queries, rows = unit_rows(random, 11, 5), unit_rows(random, int(random.integers(1, 40)), 5)
        relevance = [{int(random.integers(len(rows))): int(random.integers(1, 4))} for _ in queries]
        found = search_rows(queries, rows, 10, relevance)
        expected = [best_places(query, rows, grades, 10) for query, grades in zip(queries, relevance, strict=True)]
        there = [[document for document in row if document >= 0] for row in found.positions.tolist()]
        assert there == expected


def test_a_wrong_one_that_scores_as_high_stands_before() -> None:
    same = np.array([[1, 0], [1, 0], [1, 0], [0, 1]], np.float32)
    assert first_place(search_rows(same[:1], same, 4, [{0: 1}]), 0, {0}) == 3


def test_identical_right_answers_are_no_tie() -> None:
    same = np.array([[1, 0], [1, 0], [0, 1]], np.float32)
    assert first_place(search_rows(same[:1], same, 3, [{0: 1, 1: 1}]), 0, {0, 1}) == 1


def test_of_right_answers_that_tie_the_better_one_stands_behind() -> None:
    same = np.array([[1, 0]] * 4, np.float32)
    found = search_rows(same[:1], same, 4, [{0: 2, 2: 1}])
    assert found.positions[0].tolist() == [1, 3, 2, 0]


def test_a_model_that_gives_everything_one_vector_finds_nothing() -> None:
    same = np.full((50, 4), 0.5, np.float32)
    found = search_rows(same, same, 10, [{number: 1} for number in range(50)])
    assert all(first_place(found, query, {query}) is None for query in range(50))


def test_rows_with_nan_are_never_found() -> None:
    rows = EYE.copy()
    rows[1] = np.nan
    found = search_rows(EYE, rows, 4, [{0: 1}, {1: 1}, {2: 1}, {3: 1}])
    assert first_place(found, 1, {1}) is None
    assert first_place(found, 2, {2}) == 1
    nan = np.full((1, 4), np.nan, np.float32)
    assert first_place(search_rows(nan, EYE, 4, [{0: 1}]), 0, {0}) is None


def test_fewer_documents_than_places_and_no_queries() -> None:
    found = search_rows(EYE[:1], EYE[:2], 10, [{0: 1}])
    assert found.positions[0].tolist() == [0, 1] + [-1] * 8
    assert search_rows(EYE[:0], EYE, 10).positions.shape == (0, 10)


def test_scores_that_rise_all_the_way_are_found_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jina_clip_integrations.evaluation.search.DOCUMENTS_PER_BLOCK", 16)
    rows = np.linspace(0, 1, 100, dtype=np.float32)[:, None]
    found = search(np.ones((2, 1), np.float32), lambda start, stop: rows[start:stop], 100, 5)
    assert found.positions.tolist() == [[99, 98, 97, 96, 95]] * 2


def test_rescoring_orders_anew_and_keeps_ties_against_us() -> None:
    rows = np.array([[1, 0], [0.8, 0.6], [0.8, 0.6], [0, 1]], np.float32)
    coarse = Found(np.array([[3, 2, 1, -1]]), np.zeros((1, 4), np.float32))
    found = rescore(np.array([[1, 0]], np.float32), coarse, lambda positions: rows[positions], 2, Answers([{2: 1}]))
    assert found.positions.tolist() == [[1, 2]]


def test_the_tie_is_broken_against_us_where_tools_go_by_id() -> None:
    import ir_measures

    same = np.array([[1, 0], [1, 0]], np.float32)
    run = {"q": {"a": 1.0, "b": 1.0}}
    by_id = [
        ir_measures.calc_aggregate([ir_measures.Success @ 1], {"q": {right: 1}}, run)[ir_measures.Success @ 1]
        for right in ("a", "b")
    ]
    assert sorted(by_id) == [0, 1]  # chance, by the name of the document
    for right in (0, 1):
        assert search_rows(same[:1], same, 2, [{right: 1}]).positions[0].tolist() == [1 - right, right]
