"""Mutated requests to the server: whatever a client sends, an answer comes, in the API's shapes, and never a 500."""

from __future__ import annotations

import base64
import io
import json
import random
from collections.abc import AsyncIterator
from typing import Any

import httpx
import numpy as np
import PIL.Image
import pytest

from jina_clip_integrations.backends.base import Batch, BatchResult
from jina_clip_integrations.catalog import JINA_CLIP_V2
from jina_clip_integrations.server import create_app
from tests.fuzz.json_mutations import mutate_json
from tests.fuzz.mutations import Seed, mutant

REQUESTS = 1500
"""Mutants of each route in CI."""

MARKER = "what-a-client-wrote"
"""Stands in every text; no response may repeat it."""


def red_png() -> str:
    """A small image as base64."""
    buffer = io.BytesIO()
    PIL.Image.new("RGB", (8, 8), (200, 30, 30)).save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode()


PNG = red_png()

EMBEDDINGS: tuple[dict[str, Any], ...] = (
    {"model": "jina-clip-v2", "input": [MARKER, {"text": MARKER}, {"image": PNG}], "dimensions": 64},
    {"model": "jina-clip-v2", "input": MARKER, "embedding_type": "base64", "normalized": False, "truncate": True},
    {"model": "jina-clip-v2", "input": [{"text": MARKER}], "task": "retrieval.query", "embedding_type": ["ubinary"]},
    {"model": "jina-clip-v2", "texts": [f"data:image/png;base64,{PNG}"], "encoding_format": "float", "user": MARKER},
    {"model": "jina-clip-v2", "input": [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}]},
)

INVOCATIONS: tuple[dict[str, Any], ...] = (
    {"data": [{"text": MARKER}, {"bytes": PNG}], "parameters": {"dimensions": 64, "task": "retrieval.query"}},
    {"data": [{"id": MARKER, "text": MARKER}, {"url": f"data:image/png;base64,{PNG}"}]},
)

SHAPES = ("detail", "message", "error", "errors", "request_id", "code")
"""Keys of error bodies."""


class Lengths:
    """A backend whose rows come from the content."""

    spec = JINA_CLIP_V2
    model = JINA_CLIP_V2.name
    dimensions = JINA_CLIP_V2.embed_dim
    batch_size = 10_000

    def embed(self, batch: Batch) -> BatchResult:
        if batch.modality == "text":
            seeds = [len(text) for text in batch.texts]
        else:
            seeds = [image.open().getpixel((0, 0))[0] for image in batch.images]
        return BatchResult(np.stack([np.random.default_rng(seed).standard_normal(self.dimensions) for seed in seeds]))


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(Lengths(), batch_wait_s=0.0, max_image_pixels=1_000_000, request_timeout_s=20.0)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://server") as client:
        yield client


def check(response: httpx.Response, number: int) -> None:
    """An answer is rows of finite numbers, or an error in one of the API's shapes that repeats nothing."""
    assert response.status_code < 500, f"request {number}: {response.status_code} {response.text[:300]}"
    if response.status_code != 200:
        assert set(response.json()) <= set(SHAPES), f"request {number}"
        # Only the name that was asked for is repeated, shortened: without it nobody finds the typing error.
        assert MARKER not in response.text or "INPUT_MODEL_NOT_FOUND" in response.text, f"request {number}"
        return
    for row in response.json().get("data", []):
        embedding = row.get("embedding", row.get("embeddings"))
        assert embedding, f"request {number}"
        assert isinstance(embedding, str) or np.isfinite(embedding).all(), f"request {number}"


@pytest.mark.parametrize(
    ("path", "seeds"),
    [("/v1/embeddings", EMBEDDINGS), ("/invocations", INVOCATIONS)],
    ids=["embeddings", "invocations"],
)
async def test_json_with_parts_changed(client: httpx.AsyncClient, effort: int, path: str, seeds: Any) -> None:
    statuses: dict[int, int] = {}
    for number in range(REQUESTS * effort):
        rng = random.Random(number)
        body = mutate_json(rng, seeds[number % len(seeds)])
        response = await client.post(path, content=body, headers={"Content-Type": "application/json"})
        check(response, number)
        statuses[response.status_code] = statuses.get(response.status_code, 0) + 1
    assert {200, 422} <= set(statuses), statuses  # both sides of the border were reached


async def test_bytes_that_are_hardly_json(client: httpx.AsyncClient, effort: int) -> None:
    seeds = [Seed(json.dumps(body).encode()) for body in EMBEDDINGS]
    for number in range(REQUESTS * effort):
        body = mutant(seeds, number)
        check(await client.post("/v1/embeddings", content=body, headers={"Content-Type": "application/json"}), number)


async def test_lines_of_csv(client: httpx.AsyncClient, effort: int) -> None:
    seeds = [Seed(f"1,{MARKER},\n2,,data:image/png;base64,{PNG}\n".encode()), Seed(f'"a","{MARKER}"\n'.encode())]
    for number in range(REQUESTS * effort // 3):
        body = mutant(seeds, number)
        check(await client.post("/invocations", content=body, headers={"Content-Type": "text/csv"}), number)
