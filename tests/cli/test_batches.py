"""Chunks that keep the encoder busy and still show progress."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from jina_clip_integrations import JinaClipEncoder
from jina_clip_integrations.cli.batches import MAX_CHUNK, MIN_CHUNK, ChunkSizer, encode_all
from jina_clip_integrations.cli.output import Output


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


def test_rows_stay_in_order(colours: Any) -> None:
    items: list[dict[str, Any]] = [{"text": f"text {number}"} for number in range(70)]
    encoder = JinaClipEncoder(backend=colours)
    rows = encode_all(encoder, items, Output(quiet=True), "x")
    np.testing.assert_array_equal(rows, encoder.encode(items))


def test_nothing_gives_nothing(colours: Any) -> None:
    assert encode_all(JinaClipEncoder(backend=colours), [], Output(quiet=True), "x").shape == (0, 16)
