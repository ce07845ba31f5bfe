"""Long use leaves nothing behind: memory, threads, sockets and file descriptors after it are those of before."""

from __future__ import annotations

import gc
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pytest

from jina_clip_integrations import ApiError, JinaClipEncoder, RetryPolicy
from jina_clip_integrations.cache import DiskCache, EmbeddingCache, MemoryCache
from tests.faulty_server import BODY_FAULTS, HARMLESS, KEY, ROW_FAULTS, FaultyServer, Refuse, vector_of

LOOK_UPS = 60_000
"""Look-ups of keys, in CI; the long run makes a million."""

REQUESTS = 600
"""Requests of each face in CI; the long run makes tens of thousands."""

MEMORY_BYTES = 24 * 2**20
"""By how much memory may have grown: what allocators keep, far below what a leak of a kilobyte a turn comes to."""


@dataclass
class Footprint:
    """What this process holds."""

    memory: int
    threads: int
    descriptors: int
    sockets: int

    @classmethod
    def now(cls) -> Footprint:
        gc.collect()
        process = psutil.Process()
        sockets = len(process.net_connections(kind="tcp"))
        return cls(process.memory_info().rss, threading.active_count(), process.num_fds(), sockets)


def check_flat(before: Footprint, after: Footprint) -> None:
    assert after.threads <= before.threads
    assert after.descriptors <= before.descriptors
    assert after.sockets <= before.sockets
    assert after.memory - before.memory < MEMORY_BYTES


def soak(turn: Callable[[int], None], turns: int) -> None:
    """`turns` turns, of which the first tenth may still fill caches and pools."""
    warm = max(2, turns // 10)
    for number in range(warm):
        turn(number)
    before = Footprint.now()
    for number in range(warm, turns):
        turn(number)
    check_flat(before, Footprint.now())


def look_up(cache: EmbeddingCache, number: int, keys: int = 20_000) -> None:
    """400 keys of which most are known, and some that are not, which are stored."""
    rng = random.Random(number)
    asked = [f"vector-{rng.randrange(keys)}" for _ in range(400)]
    found = cache.get_many(asked)
    for key, row in list(found.items())[::40]:
        np.testing.assert_array_equal(row, row_of(key))
    cache.set_many({key: row_of(key) for key in asked[::20] if key not in found})


def row_of(key: str) -> np.ndarray:
    return np.full(256, float(key.rpartition("-")[2]), np.float32)


def run_look_ups(cache: EmbeddingCache, count: int) -> None:
    cache.set_many({f"vector-{n}": row_of(f"vector-{n}") for n in range(0, 20_000, 3)})
    soak(lambda number: look_up(cache, number), count // 400)


@pytest.mark.parametrize("kind", ["memory", "disk"])
def test_look_ups(tmp_path: Path, kind: str, effort: int) -> None:
    cache = MemoryCache(max_items=5000) if kind == "memory" else DiskCache(tmp_path / "cache")
    run_look_ups(cache, LOOK_UPS * effort)
    cache.close()


@pytest.mark.long_run
def test_a_million_look_ups(tmp_path: Path) -> None:
    for cache in (MemoryCache(max_items=5000), DiskCache(tmp_path / "cache")):
        run_look_ups(cache, 1_000_000)
        cache.close()


FAULTS = (
    *(Refuse(status) for status in (429, 500, 502, 503, 504, 408)),
    *(Refuse(status) for status in (400, 401, 402, 403, 404, 413, 422)),
    *(*ROW_FAULTS, *BODY_FAULTS, *HARMLESS),
)


def run_requests(count: int) -> int:
    """Requests to a server that fails a third of them in every way it knows. How many faults it had."""
    rng = random.Random(count)
    asked = answered = failed = 0

    def turn(number: int) -> None:
        nonlocal asked, answered, failed
        # A fault before some; what may be tried again is, and what may not ends this call and no other.
        faults = [rng.choice(FAULTS) for _ in range(rng.randrange(3))]
        server.faults.extend(faults)
        asked += len(faults) + 1
        texts = [f"text {number} {n}" for n in range(3)]
        try:
            rows = encoder.encode_text(texts)
        except ApiError:
            failed += 1
        else:
            answered += 1
            expected = np.stack([vector_of(text, dimensions=64) for text in texts])
            np.testing.assert_allclose(rows, expected, atol=1e-6)
        server.faults.clear()
        server.requests.clear()
        server.received.clear()

    with FaultyServer() as server:
        retry = RetryPolicy(
            first_wait_s=0.0, longest_wait_s=0.0, request_limit_wait_s=0.0, token_limit_wait_s=0.0, longest_total_s=60
        )
        encoder = JinaClipEncoder(
            "jina-clip-v2",
            backend="api",
            base_url=server.url,
            api_key=KEY,
            retry=retry,
            dimensions=64,
            requests_per_minute=None,
            tokens_per_minute=None,
        )
        with encoder:
            soak(turn, count)
    assert answered
    assert failed
    return asked


def test_requests(effort: int) -> None:
    run_requests(REQUESTS * effort)


@pytest.mark.long_run
def test_tens_of_thousands_of_requests() -> None:
    assert run_requests(20_000) > 20_000
