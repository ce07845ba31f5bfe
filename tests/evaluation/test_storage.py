"""Types of numbers against plain loops over what they store."""

from __future__ import annotations

import numpy as np
import pytest

from jina_clip_integrations.errors import ConfigurationError
from jina_clip_integrations.evaluation.search import Answers
from jina_clip_integrations.evaluation.speed import queries_per_second
from jina_clip_integrations.evaluation.storage import BITS, StorageType, storage_types
from jina_clip_integrations.retrieval.quantization import Int8Ranges
from tests.evaluation.loops import unit_rows

EVERY = storage_types(list(BITS))
RANDOM = np.random.default_rng(0)
CORPUS, QUERIES = unit_rows(RANDOM, 60, 20), unit_rows(RANDOM, 15, 20)


def bits(row: np.ndarray) -> list[bool]:
    return [bool(value > 0) for value in row]


def agreement(left: np.ndarray, right: np.ndarray) -> int:
    return sum(a == b for a, b in zip(bits(left), bits(right), strict=True))


def by_loops(storage: StorageType, query: np.ndarray, oversampling: int) -> list[float]:
    """The score of every document, -inf for those that the first of two searches leaves out."""
    ranges = Int8Ranges.fit(CORPUS)
    codes, asked = ranges.quantize(CORPUS).astype(int), ranges.quantize_queries(query[None])[0].astype(int)
    half = CORPUS.astype(np.float16).astype(np.float64)
    coarse = {
        "float32": [float(query.astype(float) @ row) for row in CORPUS],
        "float16": [float(query.astype(float) @ row) for row in half],
        "int8": [float(sum(a * b for a, b in zip(asked, row, strict=True))) for row in codes],
        "binary": [float(agreement(query, row)) for row in CORPUS],
    }[storage.name]
    if not storage.rescored:
        return coarse
    finer = {
        ("int8", "rescored"): [float(query @ row) for row in ranges.dequantize(codes)],
        ("binary", "rescored"): [sum(q if b else -q for q, b in zip(query, bits(row), strict=True)) for row in CORPUS],
        ("binary", "float16 kept"): [float(query.astype(float) @ row) for row in half],
    }[storage.name, storage.rescored]
    kept = sorted(range(len(CORPUS)), key=lambda number: -coarse[number])[: 5 * oversampling]
    return [float(score) if number in kept else -np.inf for number, score in enumerate(finer)]


@pytest.mark.parametrize("storage", EVERY, ids=str)
@pytest.mark.parametrize("oversampling", [2, 20])
def test_the_best_are_those_of_plain_loops(storage: StorageType, oversampling: int) -> None:
    found = storage.store(CORPUS, oversampling=oversampling).search(QUERIES, 5, Answers([{}] * len(QUERIES)))
    for query, places in zip(QUERIES, found.positions, strict=True):
        scores = by_loops(storage, query, oversampling)
        best = sorted(scores, reverse=True)[:5]
        if storage.name == "binary" and oversampling == 2 and storage.rescored:
            continue  # which of several at one distance are rescored is open
        assert [scores[place] for place in places] == pytest.approx(best, abs=1e-5)


@pytest.mark.parametrize("storage", EVERY, ids=str)
def test_a_tie_in_any_type_counts_against_us(storage: StorageType) -> None:
    same = np.repeat(unit_rows(np.random.default_rng(1), 1, 20), 30, axis=0)
    found = storage.store(same).search(same[:1], 10, Answers([{3: 1}]))
    assert 3 not in found.positions[0]


def test_sizes() -> None:
    sizes = {str(storage): (storage.bytes_per_vector(100), storage.kept_bytes(100)) for storage in EVERY}
    assert sizes == {
        "float32": (400, 0),
        "float16": (200, 0),
        "int8": (100, 0),
        "int8, rescored": (100, 0),
        "binary": (13, 0),
        "binary, rescored": (13, 0),
        "binary, float16 kept": (13, 200),
    }


def test_ranges_may_be_calibrated_on_other_vectors() -> None:
    own = StorageType("int8").store(CORPUS[:1], sample=CORPUS)
    assert np.array_equal(own.codes[0], Int8Ranges.fit(CORPUS).quantize(CORPUS)[0])


def test_an_unknown_type_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="'int4'"):
        storage_types(["float32", "int4"])
    assert [str(one) for one in storage_types(["float32", "float32"])] == ["float32"]


@pytest.mark.parametrize("storage", EVERY, ids=str)
def test_speed_is_a_number_and_leaves_the_threads_of_faiss(storage: StorageType) -> None:
    import faiss

    threads = faiss.omp_get_max_threads()
    assert queries_per_second(QUERIES, CORPUS, storage, rows=200) > 0
    assert faiss.omp_get_max_threads() == threads
    assert queries_per_second(QUERIES[:0], CORPUS, storage, rows=200) == 0
