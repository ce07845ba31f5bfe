"""What the published examples of the API have in common."""

from __future__ import annotations

import base64

import numpy as np

OFFICIAL_GIF = (
    "R0lGODlhEAAQAMQAAORHHOVSKudfOulrSOp3WOyDZu6QdvCchPGolfO0o/XBs/fNwfjZ0frl3/zy7////wAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
    "AAAAAAAAAAAAAAAAAAAAACH5BAkAABAALAAAAAAQABAAAAVVICSOZGlCQAosJ6mu7fiyZeKqNKToQGDsM8hBADgUXoGAiqhSvp5QAnQKGIgUhwFUYLCVDF"
    "CrKUE1lBavAViFIDlTImbKC5Gm2hB0SlBCBMQiB0UjIQA7"
)
"""The 16 x 16 image of the published examples."""


def rows_of(answer: dict, embedding_type: str = "float") -> np.ndarray:
    """The answer's rows as a client would read them."""
    assert [row["index"] for row in answer["data"]] == list(range(len(answer["data"])))
    values = [row["embedding"] for row in answer["data"]]
    if embedding_type == "base64":
        return np.stack([np.frombuffer(base64.b64decode(value), "<f4") for value in values])
    if embedding_type == "float":
        return np.array(values, dtype=np.float32)
    return (np.array(values) + (128 if embedding_type == "binary" else 0)).astype(np.uint8)
