"""Admission control: what is refused with 429, and when there is room again."""

from __future__ import annotations

import asyncio

from tests.server.bodies import ask, check_flat


async def test_the_queue_is_full(client_of, backend, until) -> None:
    backend.held = True
    async with client_of(backend, max_queue=10, max_items=10) as client:
        waiting = [asyncio.ensure_future(client.post("/v1/embeddings", json=ask(["x"] * 4))) for _ in range(2)]
        await until(lambda: client.app.state.service.admission.inputs == 8)
        refused = await client.post("/v1/embeddings", json=ask(["x"] * 3))
        fits = asyncio.ensure_future(client.post("/v1/embeddings", json=ask(["x"] * 2)))
        await asyncio.sleep(0.01)
        backend.held = False
        answered = await asyncio.gather(*waiting, fits)
        after = await client.post("/v1/embeddings", json=ask(["x"] * 10))
    assert refused.status_code == 429
    check_flat(refused.json(), "RATE_CONCURRENCY_LIMIT_EXCEEDED")
    assert int(refused.headers["Retry-After"]) >= 1
    assert [answer.status_code for answer in [*answered, after]] == [200] * 4


async def test_too_many_requests_are_refused_before_their_bodies_are_read(client_of, backend, until) -> None:
    backend.held = True
    async with client_of(backend, max_requests=1) as client:
        waiting = asyncio.ensure_future(client.post("/v1/embeddings", json=ask()))
        await until(lambda: backend.calls)
        refused = await client.post("/v1/embeddings", content=never_read())
        backend.held = False
        assert (await waiting).status_code == 200
    assert refused.status_code == 429
    assert "1/1 concurrent requests" in refused.json()["detail"]


async def test_bodies_together_are_bounded(client_of, backend, until) -> None:
    backend.held = True
    async with client_of(backend, max_buffered_bytes=3000) as client:
        waiting = asyncio.ensure_future(client.post("/v1/embeddings", json=ask("x" * 2000)))
        await until(lambda: backend.calls)
        refused = await client.post("/v1/embeddings", json=ask("x" * 2000))
        backend.held = False
        assert (await waiting).status_code == 200
        assert (await client.post("/v1/embeddings", json=ask("x" * 2000))).status_code == 200
    assert refused.status_code == 429


async def never_read():
    raise AssertionError("the body was read")
    yield b""
