"""Merging texts and images into one ranking."""

from __future__ import annotations

import itertools
import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jina_clip_integrations.errors import ConfigurationError, InputError
from jina_clip_integrations.retrieval.ranking import (
    ScoreCalibration,
    maximal_marginal_relevance,
    reciprocal_rank_fusion,
)

RANKINGS = st.lists(st.lists(st.integers(0, 9), unique=True, max_size=8), max_size=4)


def ids(fused: list[Any]) -> list[Any]:
    return [one.id for one in fused]


# Reciprocal rank fusion


def test_the_formula_of_the_paper() -> None:
    fused = reciprocal_rank_fusion([["a", "b", "c"], ["b", "d"]])
    assert ids(fused) == ["b", "a", "d", "c"]
    assert [one.score for one in fused] == pytest.approx([1 / 62 + 1 / 61, 1 / 61, 1 / 62, 1 / 63])
    assert [one.places for one in fused] == [(2, 1), (1, None), (None, 2), (3, None)]


@pytest.mark.framework("stores/mixed-list")
def test_images_are_not_buried_under_texts() -> None:
    texts, images = [f"text {n}" for n in range(5)], [f"image {n}" for n in range(5)]
    assert ids(reciprocal_rank_fusion([texts, images]))[:4] == ["text 0", "image 0", "text 1", "image 1"]


def test_weights_favour_a_ranking_and_zero_silences_it() -> None:
    rankings = [["a", "b"], ["c", "d"]]
    assert ids(reciprocal_rank_fusion(rankings, weights=[1, 2])) == ["c", "d", "a", "b"]
    silenced = reciprocal_rank_fusion(rankings, weights=[1, 0])
    assert [one.score for one in silenced if one.id in "cd"] == [0.0, 0.0]


def test_k_decides_how_much_first_places_stand_out() -> None:
    rankings = [["a", "x", "b"], ["y", "z", "b"]]
    assert ids(reciprocal_rank_fusion(rankings, k=0))[0] == "a"
    assert ids(reciprocal_rank_fusion(rankings))[0] == "b"


def test_of_an_id_named_twice_the_first_place_counts() -> None:
    [first, second] = reciprocal_rank_fusion([["a", "a", "b"]])
    assert first.id == "a"
    assert first.score == pytest.approx(1 / 61)
    assert second.places == (3,)


def test_ties_go_to_the_earlier_ranking() -> None:
    assert ids(reciprocal_rank_fusion([["z"], ["a"], ["m"]])) == ["z", "a", "m"]


def test_the_order_of_addition_breaks_no_tie() -> None:
    """Places (1, 2, 3) in any order have the same score to the last bit."""
    columns = list(itertools.permutations(range(3)))
    rankings = [sorted(range(6), key=lambda n, c=column: (columns[n][c], n)) for column in range(3)]
    weights = [0.1, 0.1, 0.1]
    by_places: dict[tuple[Any, ...], set[float]] = {}
    for one in reciprocal_rank_fusion(rankings, weights=weights):
        by_places.setdefault(tuple(sorted(one.places)), set()).add(one.score)
    assert all(len(scores) == 1 for scores in by_places.values())


@given(RANKINGS)
def test_every_id_once_and_scores_fall(rankings: list[list[int]]) -> None:
    fused = reciprocal_rank_fusion(rankings)
    assert sorted(ids(fused)) == sorted(set().union(*rankings) if rankings else set())
    assert all(left.score >= right.score for left, right in itertools.pairwise(fused))


@given(st.lists(st.integers(), unique=True))
def test_one_ranking_keeps_its_order(ranking: list[int]) -> None:
    assert ids(reciprocal_rank_fusion([ranking])) == ranking


def test_a_generator_is_a_ranking_too() -> None:
    assert ids(reciprocal_rank_fusion([(name for name in "ab"), iter("b")])) == ["b", "a"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": -1}, "k=-1"),
        ({"k": math.nan}, "k=nan"),
        ({"weights": [1.0]}, "1 weights for 2 rankings"),
        ({"weights": [1.0, -1.0]}, "at least 0"),
        ({"weights": [1.0, math.inf]}, "finite"),
    ],
    ids=str,
)
def test_settings_that_cannot_work(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        reciprocal_rank_fusion([["a"], ["b"]], **options)


def test_a_str_is_no_ranking() -> None:
    with pytest.raises(InputError, match=r"input 1: .* not a str"):
        reciprocal_rank_fusion([["a"], "abc"])


# Calibration

SAMPLE = {"text": [0.5, 0.7, 0.9], "image": [[0.1, 0.2], [0.3, 0.2]]}


def test_scores_become_standard_deviations_above_the_mean() -> None:
    calibration = ScoreCalibration.fit(SAMPLE)
    assert calibration.statistics["image"].count == 4
    spread = math.sqrt(2 * 0.2**2 / 3)
    assert calibration.apply([0.7, 0.9], "text") == pytest.approx([0.0, 0.2 / spread])
    assert calibration.apply([[0.2]], "image").shape == (1, 1)
    assert np.isnan(calibration.apply([math.nan], "text")).all()


@given(st.lists(st.floats(-1, 1), min_size=3, max_size=30).filter(lambda scores: np.std(scores) > 1e-3))
def test_a_fitted_sample_has_mean_zero_and_unit_variance(scores: list[float]) -> None:
    calibrated = ScoreCalibration.fit({"text": scores}).apply(scores, "text")
    assert float(calibrated.mean()) == pytest.approx(0, abs=1e-9)
    assert float(calibrated.std()) == pytest.approx(1)


@pytest.mark.framework("stores/mixed-list")
def test_a_good_image_overtakes_a_middling_text() -> None:
    merged = ScoreCalibration.fit(SAMPLE).merge(
        {"text": [("best text", 0.9), ("some text", 0.7)], "image": [("best image", 0.3), ("some image", 0.1)]}
    )
    assert ids(merged) == ["best image", "best text", "some text", "some image"]
    assert (merged[0].modality, merged[0].raw_score) == ("image", 0.3)


def test_equal_hits_keep_the_order_given_and_the_limit_holds() -> None:
    calibration = ScoreCalibration.fit({"text": [0, 1], "image": [0, 1]})
    hits = {"image": [("z", 1.0), ("a", 1.0)], "text": [("m", 1.0)]}
    assert ids(calibration.merge(hits)) == ["z", "a", "m"]
    assert ids(calibration.merge(hits, limit=2)) == ["z", "a"]
    assert calibration.merge({"text": []}) == []


def test_it_survives_json() -> None:
    calibration = ScoreCalibration.fit(SAMPLE)
    assert ScoreCalibration.from_dict(json.loads(json.dumps(calibration.to_dict()))) == calibration


@pytest.mark.parametrize(
    ("sample", "message"),
    [([], "0 text scores"), ([0.5], "1 text scores"), ([0.5] * 9, "that differ"), ([0.1, math.nan], "NaN or infinite")],
)
def test_samples_that_teach_nothing(sample: list[float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ScoreCalibration.fit({"text": sample})


def test_a_kind_that_was_not_fitted() -> None:
    with pytest.raises(ConfigurationError, match=r"'audio'; fitted: 'text', 'image'"):
        ScoreCalibration.fit(SAMPLE).apply([0.1], "audio")


def test_a_hit_without_a_score() -> None:
    with pytest.raises(InputError, match="input 1: a text hit has the score NaN"):
        ScoreCalibration.fit(SAMPLE).merge({"text": [("a", 0.5), ("b", math.nan)]})


def test_mmr_prefers_what_is_not_there_yet() -> None:
    # Two of one kind score best; the third is another kind.
    vectors = [[1, 0], [0.999, 0.045], [0, 1], [0.1, 0.995]]
    scores = [0.30, 0.29, 0.25, 0.20]
    assert maximal_marginal_relevance(scores, vectors, diversity=0) == [0, 1, 2, 3]
    assert maximal_marginal_relevance(scores, vectors, diversity=0.5) == [0, 2, 1, 3]
    assert maximal_marginal_relevance(scores, vectors, diversity=1, limit=2) == [0, 2]


def test_mmr_of_little() -> None:
    assert maximal_marginal_relevance([], np.empty((0, 2)), diversity=0.5) == []
    assert maximal_marginal_relevance([0.5], [[1, 0]], diversity=0.5) == [0]
    assert maximal_marginal_relevance([0.5, 0.5, 0.5], [[1, 0]] * 3, diversity=1) == [0, 1, 2]
    for diversity in (-0.1, 1.1, math.nan):
        with pytest.raises(ConfigurationError, match="diversity"):
            maximal_marginal_relevance([0.5], [[1, 0]], diversity=diversity)
    with pytest.raises(InputError, match="2 vectors for 1 scores"):
        maximal_marginal_relevance([0.5], [[1, 0], [0, 1]], diversity=0.5)
