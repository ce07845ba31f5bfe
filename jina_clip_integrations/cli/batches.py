"""Hands many items to the encoder, in chunks that keep it busy and still show progress."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..collections.chunk_sizes import ChunkSizer
from ..evaluation.items import join_rows, split_items
from ..types import Item, Vectors
from .options import vector_width
from .output import Output

if TYPE_CHECKING:
    from ..encoder import JinaClipEncoder


def encode_all(
    encoder: JinaClipEncoder, items: Sequence[Item], out: Output, label: str, *, task: str | None = None
) -> Vectors:
    """Embed all items, `(n, d)` float32, in their order, with progress on stderr; `task` is for texts only."""
    rows: list[Vectors] = []
    sizer = ChunkSizer()
    with out.progress(len(items), label) as bar:
        while bar.done < len(items):
            some = items[bar.done : bar.done + sizer.size]
            with sizer.measure():
                rows.append(
                    encoder.encode_text([item["text"] for item in some], task=task) if task else encoder.encode(some)
                )
            bar.advance(len(rows[-1]))
    # np.concatenate refuses an empty list.
    return np.concatenate(rows) if rows else np.empty((0, encoder.dimensions or 0), np.float32)


def encode_items(
    encoder: JinaClipEncoder, items: Sequence[Item], out: Output, label: str, *, task: str | None = None
) -> Vectors:
    """`encode_all` of items that may have a text and an image at once; only their texts are told the `task`."""
    parts, owners = split_items(items)
    rows = np.empty((len(parts), vector_width(encoder)), np.float32)
    kinds = np.array([next(iter(part)) for part in parts])
    for kind in dict.fromkeys(kinds.tolist()):
        here = np.flatnonzero(kinds == kind)
        some = [parts[number] for number in here]
        rows[here] = encode_all(encoder, some, out, label, task=task if kind == "text" else None)
    return join_rows(rows, owners, len(items))
