"""Intervals and paired tests, against SciPy's and against all exchanges there are."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.stats

from jina_clip_integrations.evaluation import statistics
from jina_clip_integrations.evaluation.statistics import bootstrap, compare, language_weights


def alone(count: int) -> np.ndarray:
    return np.arange(count)


def test_languages_weigh_the_same() -> None:
    weights = language_weights(np.array(["en", "en", "en", "de"]))
    assert weights.tolist() == pytest.approx([1 / 6, 1 / 6, 1 / 6, 1 / 2])
    interval = bootstrap({"R@1": np.array([1.0, 1.0, 1.0, 0.0])}, weights, alone(4))["R@1"]
    assert interval.mean == pytest.approx(0.5)


def test_the_interval_is_that_of_scipy() -> None:
    values = np.random.default_rng(3).random(200)
    ours = bootstrap({"x": values}, np.ones(200), alone(200), resamples=4000)["x"]
    theirs = scipy.stats.bootstrap((values,), np.mean, n_resamples=4000, method="percentile", rng=1).confidence_interval
    width = theirs.high - theirs.low
    assert ours.mean == pytest.approx(values.mean())
    assert ours.low == pytest.approx(theirs.low, abs=width / 20)
    assert ours.high == pytest.approx(theirs.high, abs=width / 20)


def test_queries_of_one_document_are_drawn_together() -> None:
    hits = np.random.default_rng(0).integers(0, 2, 100).astype(float)
    one_each = bootstrap({"x": hits}, np.ones(100), alone(100))["x"]
    repeated = bootstrap({"x": np.repeat(hits, 20)}, np.ones(2000), np.repeat(alone(100), 20))["x"]
    naive = bootstrap({"x": np.repeat(hits, 20)}, np.ones(2000), alone(2000))["x"]
    assert (repeated.low, repeated.high) == pytest.approx((one_each.low, one_each.high))
    assert naive.high - naive.low < (repeated.high - repeated.low) / 3


def test_draws_in_blocks_are_as_good(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"x": np.random.default_rng(3).random(50)}
    whole = bootstrap(values, np.ones(50), alone(50), resamples=2000)["x"]
    monkeypatch.setattr(statistics, "COUNTS_PER_BLOCK", 500)
    parts = bootstrap(values, np.ones(50), alone(50), resamples=2000)["x"]
    assert (parts.low, parts.high) == pytest.approx((whole.low, whole.high), abs=0.01)


def test_the_p_value_is_that_of_all_exchanges() -> None:
    ours, theirs = np.array([1, 1, 1, 0, 1, 1, 1, 0.0]), np.array([0, 1, 0, 0, 0, 1, 0, 1.0])
    signs = itertools.product((1, -1), repeat=8)
    observed = abs((ours - theirs).sum())
    exact = np.mean([abs(((ours - theirs) * sign).sum()) >= observed for sign in signs])
    found = compare(ours, theirs, np.ones(8), alone(8))
    assert found.difference == pytest.approx((ours - theirs).mean())
    assert found.p_value == pytest.approx(exact, abs=0.02)
    scipys = scipy.stats.permutation_test(
        (ours, theirs), lambda x, y, axis: (x - y).mean(axis=axis), permutation_type="samples", n_resamples=10_000
    )
    assert found.p_value == pytest.approx(scipys.pvalue, abs=0.02)


def test_equal_runs_do_not_differ_and_unequal_ones_do() -> None:
    values = np.random.default_rng(0).random(300)
    assert compare(values, values, np.ones(300), alone(300)).p_value == 1
    assert compare(values + 0.1, values, np.ones(300), alone(300)).p_value == pytest.approx(1e-4)
    assert compare(values[:0], values[:0], np.ones(0), alone(0)).p_value == 1


def test_chance_is_called_a_difference_as_often_as_promised(effort: int) -> None:
    random = np.random.default_rng(5)
    runs = 100 * effort
    found = [
        compare(random.random(30), random.random(30), np.ones(30), alone(30), permutations=199).p_value
        for _ in range(runs)
    ]
    # One in twenty, give or take four standard deviations.
    assert np.mean(np.array(found) <= 0.05) <= 0.05 + 4 * (0.05 * 0.95 / runs) ** 0.5
    assert np.mean(found) == pytest.approx(0.5, abs=0.15)
