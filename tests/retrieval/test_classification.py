"""Label vectors, probabilities, accuracy and confusion, against cases worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from jina_clip_integrations.errors import ConfigurationError
from jina_clip_integrations.retrieval.classification import Classification, Prediction, classify_vectors, ensemble
from jina_clip_integrations.retrieval.prompts import LabelPrompts

LABELS = ("x", "y", "z")
EYE = np.eye(3, dtype=np.float32)


def of_scores(*rows: list[float], scale: float = 10.0) -> Classification:
    scores = np.float32(rows)
    return Classification(LABELS, scores, np.full_like(scores, 1 / 3), scale)


def test_a_label_is_the_normalized_mean_of_its_unit_prompts() -> None:
    prompts = LabelPrompts(("one", "two"), (("a", "b"), ("c",)))
    made = ensemble(np.float32([[3, 0], [0, 0.1], [0, 5]]), prompts)
    half = math.sqrt(0.5)  # a long prompt counts as much as a short one
    np.testing.assert_allclose(made, [[half, half], [0, 1]], atol=1e-7)
    assert made.dtype == np.float32


def test_probabilities_by_hand() -> None:
    result = classify_vectors([[2, 0, 0], [0, 3, 4]], EYE, LABELS, math.log(2))
    np.testing.assert_allclose(result.scores, [[1, 0, 0], [0, 0.6, 0.8]], atol=1e-7)
    powers = [2**0, 2**0.6, 2**0.8]
    np.testing.assert_allclose(result.probabilities, [[0.5, 0.25, 0.25], np.divide(powers, sum(powers))], atol=1e-7)
    assert result.probabilities.dtype == result.scores.dtype == np.float32
    assert result.predicted == ["x", "z"]
    np.testing.assert_allclose(result.confidence, [0.5, powers[2] / sum(powers)], atol=1e-7)


def test_a_large_scale_does_not_overflow() -> None:
    result = classify_vectors(EYE[:1], EYE, LABELS, 1e5)
    np.testing.assert_array_equal(result.probabilities, [[1, 0, 0]])
    assert [one.label for one in result[0]] == ["x", "y", "z"]


def test_a_row_that_was_left_out_is_nan_and_has_no_prediction() -> None:
    result = classify_vectors([[0, 1, 0], [np.nan] * 3], EYE, LABELS, 10)
    assert np.isnan(result.probabilities[1]).all()
    assert np.isnan(result.confidence[1])
    assert result.predicted == ["y", None]
    assert result[1] == result.top(2)[1] == []
    assert "1  left out" in repr(result)


def test_predictions_are_in_order_and_plain() -> None:
    result = classify_vectors([0.1, 0.9, 0.5], EYE, LABELS, 10)  # one vector
    assert [one.label for one in result[0]] == ["y", "z", "x"]
    assert [one.label for one in result.top(2)[0]] == ["y", "z"]
    best = result[-1][0]
    assert best == Prediction("y", result.confidence[0], result.scores[0, 1])
    assert {type(best.probability), type(best.score)} == {float}
    with pytest.raises(IndexError):
        result[1]
    assert len(list(result)) == 1  # type: ignore[call-overload]


def test_repr_shows_the_first_rows() -> None:
    shown = repr(classify_vectors(EYE[[0, 1] * 6], EYE, LABELS, 100)).splitlines()
    assert shown[0] == "Classification of 12 by 3 labels"
    assert shown[1].split() == ["0", "x", "100.0%", "y", "0.0%", "z", "0.0%"]
    assert shown[-1].split() == ["…", "2", "more"]


@pytest.mark.parametrize("nothing", [[], np.empty((0, 3)), np.empty((0, 7))])
def test_nothing_to_classify(nothing: Any) -> None:
    result = classify_vectors(nothing, EYE, LABELS, 10)
    assert (len(result), result.scores.shape, result.probabilities.shape) == (0, (0, 3), (0, 3))
    assert (result.predicted, result.top(), result.accuracy([])) == ([], [], 0.0)
    assert result.confusion([]).sum() == 0


@pytest.mark.parametrize("wrong", [[[1, 0]], [1, 0], np.ones((2, 2, 3)), np.empty((2, 0))])
def test_vectors_of_another_width_are_refused(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="against labels of 3 dimensions"):
        classify_vectors(wrong, EYE, LABELS, 10)


def test_accuracy_counts_ties_and_gaps_against_us() -> None:
    result = of_scores([0.9, 0.1, 0.2], [0.5, 0.5, 0.1], [0.1, 0.3, 0.2], [np.nan] * 3)
    truth = ["x", "x", "z", "x"]  # right; tied, so second; second; left out
    assert result.accuracy(truth) == 0.25
    assert result.accuracy(truth, k=2) == 0.75
    assert result.accuracy(truth, k=3) == 0.75


def test_confusion_by_hand() -> None:
    result = of_scores([0.9, 0, 0], [0, 0.9, 0], [0, 0.9, 0], [0, 0, 0.9], [np.nan] * 3)
    found = result.confusion(["x", "x", "y", "y", "z"])
    np.testing.assert_array_equal(found, [[1, 1, 0], [0, 1, 1], [0, 0, 0]])


@pytest.mark.parametrize(
    ("truth", "said"), [(["x"], "one true label for each of 2"), ("xy", "one true"), (["x", "w"], "'w' is none")]
)
def test_a_truth_that_does_not_fit(truth: Any, said: str) -> None:
    result = of_scores([1, 0, 0], [0, 1, 0])
    for measure in (result.accuracy, result.confusion):
        with pytest.raises(ConfigurationError, match=said):
            measure(truth)
