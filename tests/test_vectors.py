"""Cutting, unit length, packed bits and similarity, against NumPy written out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from jina_clip_integrations.vectors import normalize, pack_bits, similarity, truncate_and_normalize

numbers = st.floats(-1e3, 1e3, width=32, allow_subnormal=False)
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no error
rows = arrays(np.float32, st.tuples(st.integers(0, 6), st.integers(1, 12)), elements=numbers)


@pytest.mark.framework("stores/unit-length")
@unhurried
@given(rows)
def test_unit_length(vectors: Any) -> None:
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1)
    made = np.linalg.norm(normalize(vectors).astype(np.float64), axis=1)
    np.testing.assert_allclose(made[lengths > 1e-6], 1, atol=1e-6)
    assert normalize(vectors).dtype == np.float32


@unhurried
@given(rows)
def test_a_second_time_changes_no_bit(vectors: Any) -> None:
    once = normalize(vectors)
    again = normalize(once.copy())
    long_enough = np.linalg.norm(vectors.astype(np.float64), axis=1) > 1e-6
    np.testing.assert_array_equal(again[long_enough], once[long_enough])


@unhurried
@given(rows, st.integers(1, 12))
def test_cutting_comes_first(vectors: Any, dimensions: int) -> None:
    cut = vectors[:, :dimensions].astype(np.float64)
    lengths = np.linalg.norm(cut, axis=1, keepdims=True)
    finished = truncate_and_normalize(vectors, dimensions=dimensions, normalized=True)
    expected = cut / np.maximum(lengths, 1e-12)
    np.testing.assert_allclose(finished[lengths[:, 0] > 1e-6], expected[lengths[:, 0] > 1e-6], atol=1e-6)
    np.testing.assert_array_equal(
        truncate_and_normalize(vectors, dimensions=dimensions, normalized=False), vectors[:, :dimensions]
    )


def test_rows_do_not_touch_each_other() -> None:
    vectors = np.random.default_rng(0).standard_normal((50, 16)).astype(np.float32)
    together = truncate_and_normalize(vectors, dimensions=8, normalized=True)
    one_by_one = np.concatenate([truncate_and_normalize(row[None], dimensions=8, normalized=True) for row in vectors])
    np.testing.assert_array_equal(together, one_by_one)


def test_zero_stays_zero_and_nan_stays_nan() -> None:
    vectors = np.array([[0, 0], [np.nan, 1], [3, 4]], np.float32)
    made = normalize(vectors)
    np.testing.assert_array_equal(made[0], [0, 0])
    assert np.isnan(made[1]).any()
    np.testing.assert_allclose(made[2], [0.6, 0.8], atol=1e-7)


def test_unit_rows_keep_every_bit_beside_others() -> None:
    vectors = np.random.default_rng(0).standard_normal((40, 64)).astype(np.float32)
    vectors[::2] = normalize(vectors[::2])
    made = normalize(vectors)
    np.testing.assert_array_equal(made[::2], vectors[::2])
    np.testing.assert_array_equal(made[1::2], normalize(vectors[1::2]))


def test_what_was_given_is_not_changed() -> None:
    vectors = np.array([[3, 4]], np.float32)
    truncate_and_normalize(vectors, dimensions=None, normalized=True)
    assert vectors.tolist() == [[3, 4]]


def test_the_result_does_not_hold_on_to_what_was_cut() -> None:
    assert truncate_and_normalize(np.ones((2, 1024), np.float32), dimensions=8, normalized=False).base is None


def test_bits_begin_at_the_top() -> None:
    assert pack_bits(np.array([[1, -1, 1, 0, 0, 0, 0, 2, 5]])).tolist() == [[0b1010_0001, 0b1000_0000]]
    assert pack_bits(np.zeros((3, 9))).shape == (3, 2)


def test_similarity_is_the_cosine() -> None:
    left, right = np.array([[1.0, 0], [1, 1]]), np.array([[2.0, 0], [0, 3], [-5, 0]])
    half = np.sqrt(0.5)
    np.testing.assert_allclose(similarity(left, right), [[1, 0, -1], [half, half, -half]], atol=1e-6)
    np.testing.assert_allclose(similarity([1, 0], [0.5, 0]), [[1]], atol=1e-6)


@pytest.mark.parametrize("dimensions", [None, 4, 9])
def test_nothing(dimensions: int | None) -> None:
    empty = truncate_and_normalize(np.zeros((0, 4), np.float32), dimensions=dimensions, normalized=True)
    assert empty.shape == (0, 4)
