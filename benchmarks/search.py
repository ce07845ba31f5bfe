"""Exact search over a million vectors: time and memory of `evaluation/search.py`, in every type of numbers.

    python benchmarks/search.py [--vectors 1000000] [--queries 1000] [--dimensions 256]

Every query has one right answer, a document with some noise. Figures are of one search for the ten best of all queries,
each type in a process of its own; memory is what the search takes besides the stored vectors themselves.
"""

from __future__ import annotations

import time

import numpy as np
from machine import PeakMemory
from reporting import Option, heading, in_own_process, run, table

from jina_clip_integrations.evaluation.metrics import measure
from jina_clip_integrations.evaluation.search import Answers
from jina_clip_integrations.evaluation.storage import storage_types

TYPES = storage_types(["float32", "float16", "int8", "binary"])
NOISE = 1.5
"""Length of what is added to a document to make the query that asks for it."""


def report(vectors: int, queries: int, dimensions: int) -> str:
    """Measure every type and return the report."""
    rows = []
    for number, storage in enumerate(TYPES):
        found = in_own_process(__file__, str(number), str(vectors), str(queries), str(dimensions))
        rows.append(
            [
                storage,
                f"{found['stored'] / 2**20:,.0f}",
                f"{found['seconds']:.1f}",
                f"{queries / found['seconds']:,.0f}",
                f"{found['extra'] / 2**20:,.0f}",
                f"{100 * found['recall']:.1f}",
            ]
        )
    columns = ["type", ">stored, MiB", ">seconds", ">queries/s", ">memory besides, MiB", ">R@1, %"]
    text = f"{vectors:,} random vectors of {dimensions} dimensions, {queries:,} queries, the ten best of each.\n"
    return f"{heading('Exact search', __file__)}\n{text}\n{table(columns, rows)}"


def case(number: str, vectors: str, queries: str, dimensions: str) -> dict[str, float]:
    """One type of numbers."""
    storage = TYPES[int(number)]
    random = np.random.default_rng(0)
    corpus = random.standard_normal((int(vectors), int(dimensions)), np.float32)
    corpus /= np.linalg.norm(corpus, axis=1, keepdims=True)
    right = random.choice(len(corpus), int(queries), replace=False)
    noise = random.standard_normal((len(right), corpus.shape[1]), np.float32)
    asked = corpus[right] + NOISE * noise / np.linalg.norm(noise, axis=1, keepdims=True)
    asked /= np.linalg.norm(asked, axis=1, keepdims=True)
    relevance = [{int(document): 1} for document in right]
    stored = storage.store(corpus)
    if storage.name != "float32":
        del corpus
    with PeakMemory() as memory:
        started_s = time.perf_counter()
        found = stored.search(asked, 10, Answers(relevance))
        seconds = time.perf_counter() - started_s
    size = int(vectors) * (storage.bytes_per_vector(int(dimensions)) + storage.kept_bytes(int(dimensions)))
    recall = float(measure(found, relevance)["R@1"].mean())
    return {"seconds": seconds, "extra": memory.peak - memory.start, "stored": size, "recall": recall}


if __name__ == "__main__":
    run(
        report,
        doc=__doc__,
        case=case,
        vectors=Option(1_000_000, "stored vectors"),
        queries=Option(1000, "queries"),
        dimensions=Option(256, "width"),
    )
