"""How many vectors a second come out of the caches, alone and through the encoder.

    python benchmarks/cache.py [--rows 50000] [--write]

Full-width v2 rows (1,024 float32), keys of SHA-256 digests, read in random order (seed 0), best of three after one
warm-up, one process. The encoder adds fingerprints, the cut to 512 dimensions, unit length and the caller's order.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable

import numpy as np
from reporting import Option, heading, run, table
from timing import best_of, seconds

from jina_clip_integrations import Batch, BatchResult, JinaClipEncoder
from jina_clip_integrations.cache import DiskCache, EmbeddingCache, MemoryCache, text_digest, vector_key

WIDTH = 1024
ROWS_PER_CALL = 1000


class RandomBackend:
    """Vectors of the right width, made as fast as possible."""

    model, dimensions, batch_size = "jina-clip-v2", WIDTH, 4096

    def embed(self, batch: Batch) -> BatchResult:
        return BatchResult(np.random.default_rng(0).standard_normal((len(batch), WIDTH), dtype=np.float32))


def per_second(rows: int, work: Callable[[], object]) -> float:
    """Rows a second, best of three after one warm-up."""
    return rows / best_of(work)


def store(cache: EmbeddingCache, rows: int) -> tuple[float, float]:
    """Rows a second written and read."""
    vectors = np.random.default_rng(0).standard_normal((ROWS_PER_CALL, WIDTH), dtype=np.float32)
    keys = [_key(f"text {number}") for number in range(rows)]

    def write() -> None:
        for first in range(0, rows, ROWS_PER_CALL):
            cache.set_many(dict(zip(keys[first : first + ROWS_PER_CALL], vectors, strict=False)))

    written = rows / seconds(write)
    shuffled = [keys[number] for number in np.random.default_rng(0).permutation(rows)]
    return written, per_second(rows, lambda: cache.get_many(shuffled))


def _key(text: str) -> str:
    return vector_key(identity="bench", normalize=True, modality="text", task=None, digest=text_digest(text))


def through_the_encoder(cache: EmbeddingCache | None, rows: int) -> float:
    """Texts a second of `encode_text`; with a cache all of them are hits."""
    encoder = JinaClipEncoder(backend=RandomBackend(), cache=cache, dimensions=512)
    texts = [f"text {number}" for number in range(rows)]
    return per_second(rows, lambda: encoder.encode_text(texts))


def report(rows: int) -> str:
    """The table, with the machine on top."""
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        for cache in (MemoryCache(max_items=3 * rows), DiskCache(folder)):
            figures = (*store(cache, rows), through_the_encoder(cache, rows))
            lines.append((type(cache).__name__, *(f"{figure:,.0f}" for figure in figures)))
            cache.close()
    lines.append(("none", "", "", f"{through_the_encoder(None, rows):,.0f} (random vectors made anew)"))
    columns = ("cache", ">written / s", ">read / s", ">texts / s of `encode_text`, all hits")
    return f"{heading('Caches', __file__)}\n{rows:,} rows of {WIDTH} float32.\n\n{table(columns, lines)}"


if __name__ == "__main__":
    run(report, doc=__doc__, rows=Option(50_000, "vectors to write and read"))
