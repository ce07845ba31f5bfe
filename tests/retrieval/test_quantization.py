"""Codes and bits, against sentence-transformers' and FAISS's."""

from __future__ import annotations

import json

import faiss
import numpy as np
import pytest

from jina_clip_integrations.errors import InputError
from jina_clip_integrations.retrieval.quantization import Int8Ranges, hamming_distances, pack_bits, unpack_signs


def unit_rows(seed: int, count: int, dimensions: int = 24) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(count, dimensions))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


ROWS, QUERIES = unit_rows(0, 500), unit_rows(1, 20)


def test_codes_are_those_of_sentence_transformers() -> None:
    from sentence_transformers.util.quantization import quantize_embeddings

    theirs = quantize_embeddings(ROWS, "int8", calibration_embeddings=ROWS)
    ours = Int8Ranges.fit(ROWS).quantize(ROWS)
    assert np.array_equal(ours, theirs)
    own = np.stack([ROWS.min(axis=0), ROWS.max(axis=0)]) / 2  # values outside of the ranges
    assert np.array_equal(Int8Ranges(*own).quantize(ROWS), quantize_embeddings(ROWS, "int8", ranges=own))


def test_bits_are_those_of_sentence_transformers() -> None:
    from sentence_transformers.util.quantization import quantize_embeddings

    assert np.array_equal(pack_bits(ROWS), quantize_embeddings(ROWS, "ubinary"))
    assert np.array_equal(pack_bits(ROWS), quantize_embeddings(ROWS, "binary").view(np.uint8) ^ 0x80)


def test_values_outside_of_the_ranges_become_the_nearest_code() -> None:
    ranges = Int8Ranges.fit(np.array([[-1, 0], [1, 1]], np.float32))
    assert ranges.quantize(np.array([[-9, 9], [9, -9]], np.float32)).tolist() == [[-128, 127], [127, -128]]


def test_a_code_is_the_middle_of_its_values() -> None:
    ranges = Int8Ranges.fit(ROWS)
    codes = ranges.quantize(ROWS)
    assert np.abs(ranges.dequantize(codes) - ROWS).max() <= ranges.steps.max() * 0.51
    assert abs(float((ranges.dequantize(codes) - ROWS).mean())) < ranges.steps.max() / 20


def test_scaled_queries_rank_codes_as_decoded_vectors_rank() -> None:
    ranges = Int8Ranges.fit(ROWS)
    codes = ranges.quantize(ROWS)
    by_codes = ranges.scale_queries(QUERIES) @ codes.T.astype(np.float32)
    decoded = QUERIES @ ranges.dequantize(codes).T
    assert np.array_equal(np.argsort(-by_codes)[:, :20], np.argsort(-decoded)[:, :20])


def test_a_store_of_int8_finds_what_float32_finds() -> None:
    ranges = Int8Ranges.fit(ROWS)
    signed = faiss.ScalarQuantizer.QT_8bit_direct_signed
    index = faiss.IndexScalarQuantizer(24, signed, faiss.METRIC_INNER_PRODUCT)
    index.add(ranges.quantize(ROWS).astype(np.float32))
    _, found = index.search(ranges.quantize_queries(QUERIES).astype(np.float32), 10)
    exact = np.argsort(-(QUERIES @ ROWS.T))[:, :10]
    assert np.mean([len(set(a) & set(b)) for a, b in zip(found, exact, strict=True)]) > 9


def test_distances_are_those_of_faiss() -> None:
    rows, queries = pack_bits(ROWS), pack_bits(QUERIES)
    index = faiss.IndexBinaryFlat(24)
    index.add(rows)
    theirs, found = index.search(queries, 500)
    ours = hamming_distances(queries, rows)
    assert np.array_equal(np.take_along_axis(ours, found, axis=1), theirs)


def test_signs_come_back_and_distances_follow_from_them() -> None:
    signs = unpack_signs(pack_bits(ROWS[:, :21]), 21)
    assert np.array_equal(signs, np.where(ROWS[:, :21] > 0, 1, -1))
    agreement = signs[:5] @ signs.T
    assert np.array_equal((21 - agreement) / 2, hamming_distances(pack_bits(ROWS[:5, :21]), pack_bits(ROWS[:, :21])))


def test_ranges_are_kept_as_json() -> None:
    ranges = Int8Ranges.fit(ROWS)
    again = Int8Ranges.from_dict(json.loads(json.dumps(ranges.to_dict())))
    assert np.array_equal(again.quantize(QUERIES), ranges.quantize(QUERIES))


def test_a_dimension_that_never_varies_does_no_harm() -> None:
    rows = ROWS.copy()
    rows[:, 3] = 0.25
    ranges = Int8Ranges.fit(rows)
    assert np.isfinite(ranges.dequantize(ranges.quantize(rows))).all()
    assert np.abs(ranges.dequantize(ranges.quantize(rows)) - rows).max() <= ranges.steps.max() * 1.01


@pytest.mark.parametrize(
    ("sample", "said"),
    [(np.empty((0, 3)), "shape"), (np.ones(3), "shape"), (np.full((2, 3), np.nan), "NaN")],
)
def test_a_sample_that_cannot_work_is_refused(sample: np.ndarray, said: str) -> None:
    with pytest.raises(InputError, match=said):
        Int8Ranges.fit(sample)


def test_vectors_of_another_width_are_refused() -> None:
    with pytest.raises(InputError, match="24 dimensions"):
        Int8Ranges.fit(ROWS).quantize(ROWS[:, :8])
