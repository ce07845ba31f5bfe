"""Queries per second of an exact search, by FAISS on one thread, in each type of numbers."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from ..errors import require_extra
from ..retrieval.quantization import Int8Ranges, pack_bits
from ..types import Vectors
from .metrics import DEPTH
from .storage import OVERSAMPLING, StorageType

ROWS = 100_000
"""Vectors that are searched: the corpus, repeated until it is that long, so that figures of two corpora compare."""

QUERIES, ROUNDS = 8, 3
"""Single queries of a round; the quickest round counts, as the one that other work disturbed least."""


def queries_per_second(queries: Vectors, corpus: Vectors, storage: StorageType, *, rows: int = ROWS) -> float:
    """How many single queries a second FAISS answers from `rows` vectors of this type, rescoring included.

    Raises `ImportError` without the extra `evaluate`.
    """
    require_extra("faiss", extra="evaluate", purpose="Measuring searches")
    import faiss

    if not len(queries) or not len(corpus):
        return 0.0
    many = np.resize(corpus, (rows, corpus.shape[1]))
    asked = np.resize(queries, (QUERIES, corpus.shape[1]))
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        return _measure(asked, many, storage, faiss)
    finally:
        faiss.omp_set_num_threads(threads)


def _measure(asked: Vectors, many: Vectors, storage: StorageType, faiss: Any) -> float:
    index, questions = _build(asked, many, storage, faiss)
    stored = many.astype(np.float16) if storage.rescored else many[:0]
    k = DEPTH * (OVERSAMPLING if storage.rescored else 1)
    seconds = []
    for _ in range(ROUNDS):
        started_s = time.perf_counter()
        for number in range(len(questions)):
            _, found = index.search(questions[number : number + 1], k)
            if storage.rescored:
                np.argsort(-(stored[found[0]].astype(np.float32) @ asked[number]))
        seconds.append(time.perf_counter() - started_s)
    return len(questions) / min(seconds)


def _build(asked: Vectors, many: Vectors, storage: StorageType, faiss: Any) -> tuple[Any, Any]:
    dimensions = many.shape[1]
    if storage.name == "binary":
        bits, questions = pack_bits(many), pack_bits(asked)
        index = faiss.IndexBinaryFlat(8 * bits.shape[1])
        index.add(bits)
        return index, questions
    if storage.name == "float32":
        index = faiss.IndexFlatIP(dimensions)
        index.add(many)
        return index, asked
    ranges = Int8Ranges.fit(many)
    kind = faiss.ScalarQuantizer.QT_fp16 if storage.name == "float16" else faiss.ScalarQuantizer.QT_8bit_direct_signed
    index = faiss.IndexScalarQuantizer(dimensions, kind, faiss.METRIC_INNER_PRODUCT)
    half = storage.name == "float16"
    index.add(many if half else ranges.quantize(many).astype(np.float32))
    return index, asked if half else ranges.quantize_queries(asked).astype(np.float32)
