"""A real server on loopback, asked with `requests` and raw sockets: threads, hang-ups, draining, probes, metrics."""

from __future__ import annotations

import asyncio
import base64
import functools
import http.server
import io
import json
import re
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import requests

from jina_clip_integrations.catalog import JINA_CLIP_V1, JINA_CLIP_V2, ModelSpec
from jina_clip_integrations.vectors import truncate_and_normalize
from tests.server.published import OFFICIAL_GIF, rows_of


def ask(items: object, **fields: object) -> dict:
    return {"model": "jina-clip-v2", "input": items, **fields}


@pytest.fixture
def gallery(tmp_path: Path, png) -> Iterator[str]:
    """A folder of images behind the standard library's own file server."""
    (tmp_path / "beach.png").write_bytes(png(80, 60, seed=3))

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=tmp_path))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_announcements_request(serve, backend, gallery, png) -> None:
    """Mixed text and image URL, `dimensions` as a string, the old name of the encoding, a bearer key."""
    serving = serve(backend, allow_private_addresses=True, api_keys=("jina_key",))
    body = {
        "model": "jina-clip-v2",
        "dimensions": "768",
        "encoding_type": "float",
        "input": [{"text": "A beautiful sunset over the beach"}, {"image": f"{gallery}/beach.png"}],
    }
    headers = {"Content-Type": "application/json", "Authorization": "Bearer jina_key"}
    response = requests.post(f"{serving.url}/v1/embeddings", headers=headers, data=json.dumps(body), timeout=10)
    assert response.status_code == 200, response.text
    image = PIL.Image.open(io.BytesIO(png(80, 60, seed=3)))
    raw = np.stack([backend.text_row("A beautiful sunset over the beach"), backend.image_row(image)])
    rows = np.array([row["embedding"] for row in response.json()["data"]], np.float32)
    np.testing.assert_array_equal(rows, truncate_and_normalize(raw, dimensions=768, normalized=True))
    assert requests.post(f"{serving.url}/v1/embeddings", json=body, timeout=10).status_code == 401


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize(
    ("spec", "fields"),
    [
        (JINA_CLIP_V1, {"normalized": True, "embedding_type": "float"}),
        (JINA_CLIP_V2, {"normalized": True, "embedding_type": "float", "dimensions": 1024, "task": "retrieval.query"}),
        (JINA_CLIP_V2, {"embedding_type": "base64", "truncate": True}),
    ],
)
def test_the_published_schemas_requests(serve, content_backend, spec: ModelSpec, fields: dict, strict: bool) -> None:
    """Objects, an image in bare base64 and a plain string, with every field that the schema of the model declares."""
    backend = content_backend(spec)
    serving = serve(backend, strict=strict)
    items = [{"text": "A blue cat"}, {"image": OFFICIAL_GIF}, "A red cat"]
    body = {"model": spec.name, "input": items, **fields}
    response = requests.post(f"{serving.url}/v1/embeddings", json=body, timeout=10)
    assert response.status_code == 200, response.text
    answer = response.json()
    assert (answer["model"], answer["object"], list(answer)[:2]) == (spec.name, "list", ["model", "object"])
    assert answer["usage"]["image_tokens"] == spec.tokens_per_tile
    task = fields.get("task")
    image = PIL.Image.open(io.BytesIO(base64.b64decode(OFFICIAL_GIF))).convert("RGB")
    raw = [backend.text_row("A blue cat", task), backend.image_row(image), backend.text_row("A red cat", task)]
    rows = rows_of(answer, fields["embedding_type"])
    np.testing.assert_array_equal(rows, truncate_and_normalize(np.stack(raw), dimensions=None, normalized=True))


def test_thirty_two_threads_get_their_own_rows(serve, backend) -> None:
    backend.delay_s = 0.01
    serving = serve(backend)

    def one(number: int) -> bool:
        with requests.Session() as session:
            for round in range(3):
                text = f"thread {number} round {round}"
                body = ask([text], embedding_type="base64")
                row = session.post(f"{serving.url}/v1/embeddings", json=body, timeout=20).json()["data"][0]["embedding"]
                vector = np.frombuffer(base64.b64decode(row), "<f4")
                expected = truncate_and_normalize(backend.text_row(text)[None], dimensions=None, normalized=True)[0]
                if not np.array_equal(vector, expected):
                    return False
        return True

    with ThreadPoolExecutor(32) as pool:
        assert all(pool.map(one, range(32)))
    assert len(backend.calls) < 96


class TestHangingUp:
    def test_a_client_that_goes_away_frees_its_place(self, serve, backend, eventually) -> None:
        serving = serve(backend, max_batch=1)
        backend.held = True
        held = send(serving.port, ask(["held"]))
        eventually(lambda: len(backend.calls) == 2)  # the first was the warm-up
        leaving = send(serving.port, ask([f"never {n}" for n in range(50)]))
        eventually(lambda: serving.service.admission.inputs == 51)
        leaving.close()
        eventually(lambda: serving.service.admission.inputs == 1)
        eventually(lambda: serving.service.batcher.waiting == 0)
        backend.held = False
        assert b"200 OK" in held.recv(65536)
        held.close()
        eventually(lambda: serving.service.admission.inputs == 0)
        assert sum(len(call) for call in backend.calls) <= 1 + 1 + 2
        eventually(lambda: 'status="499"' in metrics(serving))

    def test_a_client_that_goes_away_while_sending(self, serve, backend, eventually) -> None:
        serving = serve(backend)
        with socket.create_connection(("127.0.0.1", serving.port)) as connection:
            connection.sendall(b"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
            eventually(lambda: serving.service.admission.requests == 1)
        eventually(lambda: serving.service.admission.requests == 0)
        assert requests.post(f"{serving.url}/v1/embeddings", json=ask("x"), timeout=10).status_code == 200

    def test_a_client_that_never_finishes_sending(self, serve, backend, eventually) -> None:
        serving = serve(backend, request_timeout_s=0.2)
        with socket.create_connection(("127.0.0.1", serving.port)) as connection:
            connection.sendall(b"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
            assert b"504" in connection.recv(65536)
        eventually(lambda: serving.service.admission.requests == 0)


def send(port: int, body: dict) -> socket.socket:
    """A connection on which a request was sent and no answer was read."""
    content = json.dumps(body).encode()
    connection = socket.create_connection(("127.0.0.1", port))
    head = (
        f"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(content)}"
    )
    connection.sendall(head.encode() + b"\r\n\r\n" + content)
    return connection


class TestDraining:
    def test_what_is_in_hand_is_answered(self, serve, backend, eventually) -> None:
        serving = serve(backend)
        backend.held = True
        with ThreadPoolExecutor(4) as pool:
            answers = [
                pool.submit(requests.post, f"{serving.url}/v1/embeddings", json=ask(f"text {n}"), timeout=10)
                for n in range(4)
            ]
            eventually(lambda: serving.service.admission.inputs == 4)
            serving.server.handle_exit(15, None)
            eventually(lambda: refuses(serving.port))
            backend.held = False
            assert [answer.result().status_code for answer in answers] == [200] * 4
        serving.thread.join(timeout=10)
        assert not serving.thread.is_alive()

    async def test_stopping_waits_for_what_was_taken_in(self, client_of, backend, until) -> None:
        async with client_of(backend, batch_wait_s=60) as client:
            service = client.app.state.service
            pending = [asyncio.ensure_future(client.post("/v1/embeddings", json=ask(f"text {n}"))) for n in range(3)]
            await until(lambda: service.batcher.waiting == 3)
            await asyncio.wait_for(service.stop(), 5)
            assert [(await one).status_code for one in pending] == [200] * 3
            assert (await client.post("/v1/embeddings", json=ask("late"))).status_code == 503

    def test_new_requests_on_open_connections_are_turned_away(self, serve, backend) -> None:
        serving = serve(backend)
        with requests.Session() as session:
            assert session.get(f"{serving.url}/ready", timeout=10).json() == {"status": "ready"}
            serving.service.drain()
            ready = session.get(f"{serving.url}/ready", timeout=10)
            count_error = session.post(f"{serving.url}/v1/embeddings", json=ask("x"), timeout=10)
        assert (ready.status_code, ready.json()) == (503, {"status": "draining"})
        assert count_error.status_code == 503
        assert count_error.json()["detail"]["code"] == "SERVICE_UNAVAILABLE"
        assert "Retry-After" in count_error.headers


def refuses(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return True
    return False


class TestProbes:
    def test_live_at_once_and_ready_when_loaded(self, serve, backend, eventually) -> None:
        serving = serve(backend)
        for path in ("/health", "/live"):
            assert requests.get(f"{serving.url}{path}", timeout=10).json() == {"status": "ok"}
        for path in ("/ready", "/ping"):
            assert requests.get(f"{serving.url}{path}", timeout=10).json() == {"status": "ready"}
        assert backend.calls[0].texts == ["ready"]  # the warm-up

    async def test_a_request_waits_while_the_model_loads(self, client_of, backend) -> None:
        async with client_of(backend) as client:
            client.app.state.service.state = "loading"
            ready = await client.get("/ready")
            answer = await client.post("/v1/embeddings", json=ask("x"))
        assert (ready.status_code, ready.json()) == (503, {"status": "loading"})
        assert answer.status_code == 200

    def test_the_model_list(self, serve, backend) -> None:
        serving = serve(backend, model_names=("ours",))
        listed = requests.get(f"{serving.url}/v1/models", timeout=10).json()
        assert listed["object"] == "list"
        assert listed["data"][0]["id"] == "jina-ai/ours"
        assert listed["data"][0]["dimensions"] == 1024
        for name in listed["data"][0]["names"]:
            body = {"model": name, "input": "x"}
            assert requests.post(f"{serving.url}/v1/embeddings", json=body, timeout=10).status_code == 200


def metrics(serving) -> str:
    return requests.get(f"{serving.url}/metrics", timeout=10).text


class TestMetrics:
    def test_they_count_what_happened(self, serve, counting_backend, png) -> None:
        serving = serve(counting_backend)
        image = {"image": base64.b64encode(png(600, 600)).decode()}
        for body in (ask(["two words", "x", image]), ask(["x"]), ask([]), {"model": "no", "input": "x"}):
            requests.post(f"{serving.url}/v1/embeddings", json=body, timeout=10)
        requests.get(f"{serving.url}/no/such/route", timeout=10)
        text = metrics(serving)
        values = dict(re.findall(r"^(jina_clip_\S+) (\S+)$", text, re.MULTILINE))
        assert values['jina_clip_requests_total{route="/v1/embeddings",status="200"}'] == "2.0"
        assert values['jina_clip_requests_total{route="/v1/embeddings",status="422"}'] == "1.0"
        assert values['jina_clip_requests_total{route="/v1/embeddings",status="400"}'] == "1.0"
        assert values['jina_clip_requests_total{route="other",status="404"}'] == "1.0"
        assert values['jina_clip_refusals_total{code="INPUT_MODEL_NOT_FOUND"}'] == "1.0"
        assert values['jina_clip_inputs_total{modality="text"}'] == "3.0"
        assert values['jina_clip_inputs_total{modality="image"}'] == "1.0"
        assert values['jina_clip_tokens_total{modality="text"}'] == "18.0"
        assert values['jina_clip_tokens_total{modality="image"}'] == "16000.0"
        assert values['jina_clip_batch_inputs_count{modality="image"}'] == "1.0"
        assert values['jina_clip_batch_inputs_sum{modality="text"}'] == "3.0"
        assert values['jina_clip_request_seconds_count{route="/v1/embeddings"}'] == "4.0"
        assert values["jina_clip_inputs_in_hand"] == "0.0"
        assert values["jina_clip_inputs_waiting"] == "0.0"
        assert values["jina_clip_buffered_bytes"] == "0.0"
        assert values["jina_clip_ready"] == "1.0"

    def test_gauges_show_the_present(self, serve, backend, eventually) -> None:
        serving = serve(backend, max_batch=2)
        backend.held = True
        connection = send(serving.port, ask([f"text {n}" for n in range(9)]))
        eventually(lambda: serving.service.admission.inputs == 9)
        text = metrics(serving)
        assert "jina_clip_inputs_in_hand 9.0" in text
        assert "jina_clip_inputs_waiting 5.0" in text
        assert "jina_clip_requests_in_hand 1.0" in text
        backend.held = False
        assert b"200 OK" in connection.recv(100)
        connection.close()

    def test_two_apps_do_not_share_figures(self, serve, backend, counting_backend) -> None:
        one, other = serve(backend), serve(counting_backend)
        requests.post(f"{one.url}/v1/embeddings", json=ask("x"), timeout=10)
        assert 'route="/v1/embeddings"' in metrics(one)
        assert 'route="/v1/embeddings"' not in metrics(other)
