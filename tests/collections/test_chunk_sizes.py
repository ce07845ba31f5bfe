"""Chunks that keep the encoder busy and still show progress."""

from __future__ import annotations

import pytest

from jina_clip_integrations.collections.chunk_sizes import MAX_CHUNK, MIN_CHUNK, ChunkSizer


@pytest.mark.parametrize(
    ("took_s", "size"),
    [([0.1], 32), ([2.0], 16), ([9.0], 16), ([0.1] * 9, MAX_CHUNK), ([0.1, 0.1, 9.0], 32)],
    ids=str,
)
def test_the_size_follows_the_time_a_chunk_takes(took_s: list[float], size: int) -> None:
    sizer = ChunkSizer()
    assert sizer.size == MIN_CHUNK
    for seconds in took_s:
        sizer.adapt(seconds)
    assert sizer.size == size


def test_chunks_are_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 10.0])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    sizer = ChunkSizer(64)
    with sizer.measure():
        pass
    assert sizer.size == 32
