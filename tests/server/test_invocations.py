"""`POST /invocations`: requests and responses of Jina's container images."""

from __future__ import annotations

import io
import json
import re

import numpy as np
import PIL.Image
import pytest

from jina_clip_integrations.catalog import JINA_CLIP_V1
from tests.server.bodies import b64


async def test_the_sample_request(client_of, counting_backend, png) -> None:
    data = png(600, 600)
    body = {
        "data": [{"text": "How is the weather?"}, {"bytes": b64(data)}],
        "parameters": {"task": "retrieval.query", "dimensions": "1024"},
    }
    async with client_of(counting_backend) as client:
        response = await client.post("/invocations", json=body)
    answer = response.json()
    assert set(answer) == {"data", "parameters"}
    assert answer["parameters"] == {"task": "retrieval.query", "dimensions": 1024.0}
    assert '"dimensions": 1024.0' in response.text
    assert all(re.fullmatch("[0-9a-f]{32}", row["id"]) and row["id"] == row["usage"]["id"] for row in answer["data"])
    assert answer["data"][0]["id"] != answer["data"][1]["id"]
    instruction = 3 * len(counting_backend.spec.tasks["retrieval.query"].split())
    assert [row["usage"]["total_tokens"] for row in answer["data"]] == [2 + 3 * 4 + instruction, 16000]
    raw = [
        counting_backend.text_row("How is the weather?", "retrieval.query"),
        counting_backend.image_row(PIL.Image.open(io.BytesIO(data))),
    ]
    rows = np.array([row["embedding"] for row in answer["data"]], np.float32)
    np.testing.assert_array_equal(rows, np.stack(raw))  # not normalised, as by the container images


@pytest.mark.parametrize("normalized", [True, False, None])
async def test_vectors_are_normalised_only_where_that_is_asked(client_of, backend, normalized) -> None:
    async with client_of(backend) as client:
        body = {"data": [{"text": "x"}], "parameters": {"normalized": normalized, "dimensions": 64}}
        row = (await client.post("/invocations", json=body)).json()["data"][0]["embedding"]
    assert len(row) == 64
    assert bool(abs(np.linalg.norm(row) - 1) < 1e-5) is bool(normalized)


@pytest.mark.parametrize("task", ["text-matching", "retrieval.passage", None, 5, ["retrieval.query"], {}])
async def test_tasks_that_the_model_does_not_have_change_nothing(client_of, backend, task) -> None:
    body = {"data": [{"text": "x"}], "parameters": {"task": task, "dimensions": None}}
    async with client_of(backend) as client:
        response = await client.post("/invocations", json=body)
    assert response.status_code == 200
    assert [call.task for call in backend.calls] == [None]


async def test_v1_has_no_parameters(client_of, content_backend) -> None:
    async with client_of(content_backend(JINA_CLIP_V1)) as client:
        answer = (await client.post("/invocations", json={"data": [{"text": "x"}]})).json()
    assert len(answer["data"][0]["embedding"]) == 768
    assert answer["parameters"] == {}


async def test_long_text_is_truncated(client_of, counting_backend) -> None:
    async with client_of(counting_backend) as client:
        answer = (await client.post("/invocations", json={"data": [{"text": "word " * 100}]})).json()
    assert answer["data"][0]["usage"]["total_tokens"] == 50


async def test_lines_of_csv(client_of, backend, png) -> None:
    lines = f'a1,"two\nlines, ""quoted""",,\nb2,,,{b64(png(400, 400))}\n,third,,\n'
    async with client_of(backend) as client:
        response = await client.post("/invocations", content=lines, headers={"Content-Type": "text/csv"})
    answer = response.json()
    assert [row["id"] for row in answer["data"][:2]] == ["a1", "b2"]
    assert re.fullmatch("[0-9a-f]{32}", answer["data"][2]["id"])
    rows = np.array([row["embedding"] for row in answer["data"]], np.float32)
    raw = [
        backend.text_row('two\nlines, "quoted"'),
        backend.image_row(PIL.Image.open(io.BytesIO(png(400, 400)))),
        backend.text_row("third"),
    ]
    np.testing.assert_array_equal(rows, np.stack(raw))


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ([], "body"),
        ({}, "body -> data"),
        ({"data": []}, "body -> data"),
        ({"data": [{}]}, "body -> data -> 0"),
        ({"data": [{"text": "x"}], "parameters": []}, "body -> parameters"),
        ({"data": [{"text": "x"}], "parameters": {"dimensions": 0}}, "body -> jina-clip-v2 -> dimensions"),
        ({"data": [{"text": "x"}], "parameters": {"embedding_type": "base64"}}, "body -> parameters -> embedding_type"),
    ],
    ids=["list", "no data", "empty data", "empty item", "list of parameters", "dimensions of 0", "base64"],
)
async def test_requests_that_do_not_fit(client_of, backend, body, field) -> None:
    async with client_of(backend) as client:
        response = await client.post("/invocations", content=json.dumps(body))
    assert response.status_code == 422
    assert [error["field"] for error in response.json()["errors"]] == [field]


@pytest.mark.parametrize(
    "lines", ['a,"open', "a,b,c,d,e", "a\x00b"], ids=["open quote", "too many columns", "null character"]
)
async def test_broken_csv(client_of, backend, lines) -> None:
    async with client_of(backend) as client:
        response = await client.post("/invocations", content=lines, headers={"Content-Type": "text/csv"})
    assert response.status_code == 422, response.text


async def test_addresses_are_held_to_the_same_policy(client_of, backend) -> None:
    async with client_of(backend) as client:
        response = await client.post("/invocations", json={"data": [{"url": "https://127.0.0.1/a.png"}]})
    assert response.status_code == 400
    assert response.json()["detail"]["code"] == "INPUT_IMAGE_FETCH_FAILED"
