"""The life of a server and the way of a request through it: rows of many clients, failed starts, draining."""

from __future__ import annotations

import asyncio
import base64
import random
import socket
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import requests
from sse_starlette.sse import AppStatus

from jina_clip_integrations.errors import CheckpointError
from jina_clip_integrations.vectors import truncate_and_normalize
from tests.server.bodies import ask, b64, open_image, rows_of


class TestConcurrency:
    async def test_everybody_gets_their_own_rows(self, client_of, backend, png) -> None:
        """Many clients at once, mixed items, tasks, widths and encodings: one swapped row would show."""
        images = [png(seed=seed) for seed in range(6)]
        chance = random.Random(7)
        bodies = []
        for n in range(60):
            items: list = [{"text": f"client {n} text {i}"} for i in range(chance.randint(0, 4))]
            items += [{"image": b64(images[chance.randrange(6)])} for _ in range(chance.randint(0, 2))]
            chance.shuffle(items)
            options = {
                "dimensions": chance.choice([None, 64, 512]),
                "task": chance.choice([None, "retrieval.query"]),
                "normalized": chance.choice([True, False]),
                "embedding_type": chance.choice(["float", "base64"]),
            }
            bodies.append(ask(items or [f"lonely {n}"], **options))
        async with client_of(backend, batch_wait_s=0.005, max_batch=16) as client:
            answers = await asyncio.gather(*(client.post("/v1/embeddings", json=body) for body in bodies))
        assert len(backend.calls) < len(bodies)
        assert backend.max_concurrent <= 2
        for body, answer in zip(bodies, answers, strict=True):
            raw = np.stack([self.row(backend, item, body["task"]) for item in body["input"]])
            expected = truncate_and_normalize(raw, dimensions=body["dimensions"], normalized=body["normalized"])
            np.testing.assert_array_equal(rows_of(answer.json(), body["embedding_type"]), expected)

    @staticmethod
    def row(backend, item, task) -> np.ndarray:
        if isinstance(item, dict) and "image" in item:
            return backend.image_row(open_image(base64.b64decode(item["image"])))
        return backend.text_row(item if isinstance(item, str) else item["text"], task)

    async def test_thirty_two_clients_share_a_few_calls(self, client_of, backend) -> None:
        backend.delay_s = 0.02
        async with client_of(backend, batch_wait_s=0.01) as client:
            await asyncio.gather(*(client.post("/v1/embeddings", json=ask(f"text {n}")) for n in range(32)))
        assert len(backend.calls) <= 8
        assert sum(len(call) for call in backend.calls) == 32

    async def test_a_bad_input_costs_only_its_own_request(self, client_of, backend, png) -> None:
        """Refused by the backend, broken in the backend, not finite, and an image cut short: alone among good ones."""
        broken = png(300, 300)[:-2000]
        bad = ["bad text", "explode now", "nan", {"image": b64(broken)}]
        bodies = [ask([f"good {n}", {"image": b64(png(seed=n))}]) for n in range(8)]
        for n, item in enumerate(bad):
            bodies.insert(2 * n, ask([f"with {n}", item]))
        async with client_of(backend, batch_wait_s=0.02) as client:
            answers = await asyncio.gather(*(client.post("/v1/embeddings", json=body) for body in bodies))
        statuses = [answer.status_code for answer in answers]
        assert [statuses[2 * n] for n in range(4)] == [400, 500, 500, 400]
        assert [status for n, status in enumerate(statuses) if n not in (0, 2, 4, 6)] == [200] * 8
        for n in (0, 6):
            assert answers[n].json()["errors"][0]["field"] == "body -> input -> 1"
        for body, answer in zip(bodies, answers, strict=True):
            if answer.status_code == 200:
                raw = np.stack([self.row(backend, item, None) for item in body["input"]])
                np.testing.assert_array_equal(
                    rows_of(answer.json()), truncate_and_normalize(raw, dimensions=None, normalized=True)
                )


async def test_weights_that_cannot_be_loaded(client_of, backend, monkeypatch, caplog, until) -> None:
    async def damaged(_batch: object) -> None:
        raise CheckpointError("3 tensors are missing")

    monkeypatch.setattr(backend, "aembed", damaged)
    async with client_of(backend) as client:
        service = client.app.state.service
        service.start()
        await until(lambda: service.state != "loading")
        ready, answer = await client.get("/ready"), await client.post("/v1/embeddings", json=ask())
        live = await client.get("/live")
    assert (ready.status_code, ready.json()) == (503, {"status": "failed"})
    assert (answer.status_code, answer.json()["detail"]["code"]) == (503, "SERVICE_UNAVAILABLE")
    assert (live.status_code, live.json()) == (503, {"status": "failed"})
    assert "3 tensors are missing" in caplog.text


class TestDraining:
    def test_what_is_in_hand_is_answered(self, serve, backend, eventually, monkeypatch) -> None:
        # A signal to any uvicorn server ends the event streams of all in the process, for good, once this is imported.
        monkeypatch.setattr(AppStatus, "should_exit", False)
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
            refused = session.post(f"{serving.url}/v1/embeddings", json=ask("x"), timeout=10)
        assert (ready.status_code, ready.json()) == (503, {"status": "draining"})
        assert refused.status_code == 503
        assert refused.json()["detail"]["code"] == "SERVICE_UNAVAILABLE"
        assert "Retry-After" in refused.headers


def refuses(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return True
    return False
