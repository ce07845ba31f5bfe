"""Many items in chunks: their order, and none at all."""

from __future__ import annotations

from typing import Any

import numpy as np

from jina_clip_integrations import JinaClipEncoder
from jina_clip_integrations.cli.batches import encode_all
from jina_clip_integrations.cli.output import Output


def test_rows_stay_in_order(colours: Any) -> None:
    items: list[dict[str, Any]] = [{"text": f"text {number}"} for number in range(70)]
    encoder = JinaClipEncoder(backend=colours)
    rows = encode_all(encoder, items, Output(quiet=True), "x")
    np.testing.assert_array_equal(rows, encoder.encode(items))


def test_nothing_gives_nothing(colours: Any) -> None:
    assert encode_all(JinaClipEncoder(backend=colours), [], Output(quiet=True), "x").shape == (0, 16)
