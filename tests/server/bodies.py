"""Request and response bodies: how tests write and read them, and the shapes of errors."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import PIL.Image
import pytest

OFFICIAL_GIF = (
    "R0lGODlhEAAQAMQAAORHHOVSKudfOulrSOp3WOyDZu6QdvCchPGolfO0o/XBs/fNwfjZ0frl3/zy7////wAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
    "AAAAAAAAAAAAAAAAAAAAACH5BAkAABAALAAAAAAQABAAAAVVICSOZGlCQAosJ6mu7fiyZeKqNKToQGDsM8hBADgUXoGAiqhSvp5QAnQKGIgUhwFUYLCVDF"
    "CrKUE1lBavAViFIDlTImbKC5Gm2hB0SlBCBMQiB0UjIQA7"
)
"""The 16 x 16 image of the published examples."""


REQUEST_ID = re.compile(r"[0-9a-f]{32}")


MARKER = "sEcReTpAyLoAd"
"""Stands in everything that is sent and must stand in nothing that comes back."""


def ask(items: object = "x", **fields: object) -> dict:
    return {"model": "jina-clip-v2", "input": items, **fields}


def rows_of(answer: dict, embedding_type: str = "float") -> np.ndarray:
    """The answer's rows as a client would read them."""
    assert [row["index"] for row in answer["data"]] == list(range(len(answer["data"])))
    values = [row["embedding"] for row in answer["data"]]
    if embedding_type == "base64":
        return np.stack([np.frombuffer(base64.b64decode(value), "<f4") for value in values])
    if embedding_type == "float":
        return np.array(values, dtype=np.float32)
    return (np.array(values) + (128 if embedding_type == "binary" else 0)).astype(np.uint8)


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def open_image(data: bytes) -> PIL.Image.Image:
    return PIL.Image.open(io.BytesIO(data)).convert("RGB")


def check_nested(body: dict, code: str) -> None:
    assert set(body["detail"]) == {"message", "request_id", "code"}
    assert body["detail"]["code"] == code
    assert REQUEST_ID.fullmatch(body["detail"]["request_id"])


def check_flat(body: dict, code: str) -> None:
    assert set(body) == {"detail", "request_id", "code"}
    assert isinstance(body["detail"], str)
    assert body["code"] == code


def check_fields(body: dict, *expected: tuple[str, str]) -> None:
    assert set(body) == {"detail", "request_id", "errors"}
    assert body["detail"].startswith("Validation error: ")
    assert all(set(error) == {"field", "message", "type"} for error in body["errors"])
    assert [(error["field"], error["type"]) for error in body["errors"]] == list(expected)


def read_log(caplog: pytest.LogCaptureFixture) -> str:
    """What this package logged; the test's own HTTP client logs its requests."""
    return "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("jina_clip"))
