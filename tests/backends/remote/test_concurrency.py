"""Threads, tasks, event loops and processes that share an `ApiBackend`."""

from __future__ import annotations

import asyncio
import copy
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest

from jina_clip_integrations import ApiBackend, errors
from tests.backends.remote.faces import (
    FACES,
    embed,
    images,
    numbered,
    photo,
    stream,
    texts,
    wait_for,
)
from tests.faulty_server import (
    KEY,
    FaultyServer,
    Refuse,
    flat,
    vector_of,
    vectors_of,
)

both = pytest.mark.parametrize("face", FACES)


# How many at once


@pytest.mark.obligation("18")
@pytest.mark.framework("llama-index/bounded-concurrency")
@both
def test_concurrency_starts_low_and_stays_below_its_ceiling(face: str, server: FaultyServer, make: Any) -> None:
    server.latency_s = 0.03
    embed(face, make(batch_size=1, max_concurrency=5), numbered(40))
    assert 3 <= server.most_in_flight <= 5


@both
def test_one_at_a_time(face: str, server: FaultyServer, make: Any) -> None:
    server.latency_s = 0.005
    embed(face, make(batch_size=1, max_concurrency=1), numbered(8))
    assert server.most_in_flight == 1


@pytest.mark.obligation("18", "28")
@both
def test_the_services_own_limit_is_found_and_kept(face: str, server: FaultyServer, make: Any) -> None:
    server.max_concurrency, server.latency_s = 3, 0.01
    backend = make(batch_size=1, max_concurrency=16, max_retries=8)
    result = embed(face, backend, numbered(60))
    np.testing.assert_array_equal(result.vectors, vectors_of(numbered(60).texts))
    assert len(server.received) - len(server.requests) <= 6  # refused for being too many


@pytest.mark.obligation("18")
@both
def test_threads_and_tasks_share_one_limit(face: str, server: FaultyServer, make: Any) -> None:
    server.latency_s = 0.01
    backend = make(batch_size=1, max_concurrency=3)
    batches = [numbered(10) for _ in range(4)]
    if face == "sync":
        with ThreadPoolExecutor(4) as pool:
            results = list(pool.map(backend.embed, batches))
    else:

        async def all_of_them() -> list[Any]:
            async with backend:
                thread = asyncio.to_thread(backend.embed, batches[0])
                return await asyncio.gather(thread, *(backend.aembed(batch) for batch in batches[1:]))

        results = asyncio.run(all_of_them())
    for result in results:
        np.testing.assert_array_equal(result.vectors, vectors_of(numbered(10).texts))
    assert server.most_in_flight <= 3


@pytest.mark.obligation("34")
@both
def test_connections_are_reused(face: str, server: FaultyServer, make: Any) -> None:
    seen: Counter[int] = Counter()
    backend = make(batch_size=1, max_concurrency=1)
    original = server.http.process_request

    def counting(request: Any, address: Any) -> None:
        seen[address[1]] += 1
        original(request, address)

    server.http.process_request = counting  # type: ignore[assignment]
    embed(face, backend, numbered(10))
    assert len(seen) == 1


@pytest.mark.obligation("22")
@both
def test_the_sync_face_works_inside_a_running_loop(face: str, make: Any) -> None:
    async def cell() -> Any:
        return make().embed(numbered(9)) if face == "sync" else await make().aembed(numbered(9))

    np.testing.assert_array_equal(asyncio.run(cell()).vectors, vectors_of(numbered(9).texts))


@pytest.mark.obligation("22")
@pytest.mark.framework("llama-index/changing-event-loops")
@both
def test_one_backend_in_several_loops(face: str, make: Any) -> None:
    backend = make()

    async def use() -> Any:
        return await backend.aembed(numbered(5)) if face == "async" else backend.embed(numbered(5))

    for _ in range(3):
        np.testing.assert_array_equal(asyncio.run(use()).vectors, vectors_of(numbered(5).texts))


@pytest.mark.obligation("22")
@both
def test_closing_the_iterator_sends_nothing_more(face: str, server: FaultyServer, make: Any) -> None:
    server.latency_s = 0.02
    backend = make(batch_size=1, max_concurrency=2)

    async def abandon() -> None:
        rows = backend.astream(numbered(200))
        await rows.__anext__()
        await rows.aclose()

    if face == "async":
        asyncio.run(abandon())
    else:
        rows = backend.stream(numbered(200))
        next(rows)
        rows.close()
    time.sleep(0.1)
    sent = len(server.received)
    assert sent < 10
    time.sleep(0.1)
    assert len(server.received) == sent


@pytest.mark.obligation("22")
def test_cancellation_releases_the_connections(server: FaultyServer, make: Any) -> None:
    server.faults.extend(["stall"] * 9)

    async def cancelled() -> Any:
        backend = make(batch_size=2, max_concurrency=4)
        task = asyncio.ensure_future(backend.aembed(numbered(20)))
        await asyncio.to_thread(wait_for, lambda: len(server.received) == 2)
        assert server.connections == 2
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.to_thread(wait_for, lambda: not server.connections)
        assert server.connections == 0  # as the server sees it
        assert len(server.received) == 2
        server.faults.clear()
        return await backend.aembed(texts("b"))

    np.testing.assert_array_equal(asyncio.run(cancelled()).vectors, [vector_of("b")])


@pytest.mark.obligation("22")
def test_cancellation_gives_a_supplied_client_its_connection_back(server: FaultyServer, make: Any) -> None:
    server.faults.append("stall")

    async def cancelled() -> Any:
        async with httpx.AsyncClient(limits=httpx.Limits(max_connections=1)) as client:
            backend = make(async_http_client=client, timeout=2.0)
            task = asyncio.ensure_future(backend.aembed(texts("a")))
            await asyncio.to_thread(wait_for, lambda: server.received)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return await backend.aembed(texts("b"))

    np.testing.assert_array_equal(asyncio.run(cancelled()).vectors, [vector_of("b")])


@pytest.mark.obligation("22")
def test_closing_ends_what_an_abandoned_job_left_on_the_wire(server: FaultyServer, make: Any) -> None:
    server.faults.extend([None, "stall", "stall"])
    server.latency_s = 0.2  # the stalled requests are sent before the first response is there
    backend = make(batch_size=2, max_concurrency=3)
    rows = backend.stream(numbered(20))
    next(rows)
    rows.close()
    wait_for(lambda: len(server.faults) < 2)  # a stalled request has arrived
    backend.close()
    wait_for(lambda: not server.connections)
    wait_for(lambda: not backend.requests_in_flight)
    server.faults.clear()
    np.testing.assert_array_equal(backend.embed(texts("a")).vectors, [vector_of("a")])


INTERRUPTED = """
import signal
import sys
from jina_clip_integrations import JinaClipEncoder

signal.signal(signal.SIGINT, signal.default_int_handler)  # shells start background jobs without it
encoder = JinaClipEncoder("jina-clip-v2", api_key=sys.argv[2], base_url=sys.argv[1], batch_size=2)
try:
    encoder.encode_text([f"text {number}" for number in range(40)])
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.obligation("22")
def test_an_interrupted_program_ends_while_requests_are_on_the_wire(server: FaultyServer) -> None:
    server.faults.extend(["stall"] * 9)
    program = subprocess.Popen([sys.executable, "-c", INTERRUPTED, server.url, KEY], stdout=subprocess.PIPE, text=True)
    try:
        wait_for(lambda: len(server.received) == 2, seconds=30)
        program.send_signal(signal.SIGINT)
        said, _ = program.communicate(timeout=30)  # the answers would be waited for three times as long
    finally:
        program.kill()
    assert (said, program.returncode) == ("interrupted\n", 0)


@pytest.mark.obligation("18")
def test_several_event_loops_and_a_thread_at_the_same_time(server: FaultyServer, make: Any) -> None:
    server.latency_s = 0.01
    backend = make(batch_size=2, max_concurrency=3)

    def in_a_loop_of_its_own() -> Any:
        return asyncio.run(backend.aembed(numbered(12)))

    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(in_a_loop_of_its_own) for _ in range(3)]
        running.append(pool.submit(backend.embed, numbered(12)))
    for each in running:
        np.testing.assert_array_equal(each.result().vectors, vectors_of(numbered(12).texts))
    assert server.most_in_flight <= 3


@pytest.mark.obligation("15")
@both
def test_waiting_requests_end_with_the_job(face: str, server: FaultyServer, make: Any) -> None:
    server.faults.extend([Refuse(503, None, {"Retry-After": "60"}), flat(403, "AUTHZ_INSUFFICIENT_BALANCE", "no")])
    began = time.monotonic()
    _, error = stream(face, make(), numbered(8))
    assert type(error) is errors.InsufficientBalanceError
    assert time.monotonic() - began < 5.0


@pytest.mark.obligation("22")
def test_the_event_loop_goes_on(server: FaultyServer, make: Any) -> None:
    ticks = 0

    def slow_key() -> str:
        time.sleep(0.2)
        return KEY

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.005)
            ticks += 1

    async def run() -> None:
        ticking = asyncio.ensure_future(tick())
        async with make(api_key=slow_key) as backend:
            await backend.aembed(images(photo(1500, 1200)))
        ticking.cancel()

    asyncio.run(run())
    assert ticks > 15


# Copies and processes


@pytest.mark.obligation("19")
@pytest.mark.parametrize("clone", [copy.deepcopy, copy.copy, lambda backend: pickle.loads(pickle.dumps(backend))])
@both
def test_copies_work_with_the_key_of_the_environment(
    face: str, server: FaultyServer, make: Any, clone: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = httpx.Client()
    original = make(
        batch_size=3,
        dialect="jina",
        headers={"X-Team": "search", "X-Api-Key": "hidden"},
        http_client=client,
        on_request=lambda record: None,
        timeout=httpx.Timeout(7.0),
    )
    copied = clone(original)
    assert copied.cache_identity == original.cache_identity
    assert copied.batch_size == 3
    monkeypatch.setenv("JINA_API_KEY", KEY)
    fresh = clone(original)
    with fresh:
        result = embed(face, fresh, numbered(5))
    np.testing.assert_array_equal(result.vectors, vectors_of(numbered(5).texts))
    assert server.received[0]["x-team"] == "search"
    assert "x-api-key" not in server.received[0]
    client.close()


@both
def test_an_unpickled_backend_of_the_hosted_service_wants_its_key_at_first_use(face: str) -> None:
    backend = pickle.loads(pickle.dumps(ApiBackend("jina-clip-v2", api_key=KEY)))
    with pytest.raises(errors.ConfigurationError, match="JINA_API_KEY"):
        embed(face, backend, texts("a"))


def _in_child(face: str, backend: ApiBackend, pipe: Any) -> None:
    try:
        pipe.send(embed(face, backend, numbered(9)).vectors)
    except BaseException as error:
        pipe.send(repr(error))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@both
def test_a_forked_child_has_connections_and_limits_of_its_own(face: str, server: FaultyServer, make: Any) -> None:
    backend = make(max_concurrency=1)
    embed("sync", backend, numbered(3))
    held = backend._service.limits.concurrency.acquire()  # as if another thread were in the middle of a request
    context = multiprocessing.get_context("fork")
    mine, theirs = context.Pipe()
    child = context.Process(target=_in_child, args=(face, backend, theirs))
    child.start()
    assert mine.poll(20)
    answer = mine.recv()
    child.join(20)
    backend._service.limits.concurrency.release(held)
    np.testing.assert_array_equal(answer, vectors_of(numbered(9).texts))
    np.testing.assert_array_equal(backend.embed(numbered(3)).vectors, vectors_of(numbered(3).texts))


@both
def test_closing_twice_and_using_it_again(face: str, make: Any) -> None:
    backend = make()
    embed(face, backend, texts("a"))
    backend.close()
    backend.close()
    asyncio.run(backend.aclose())
    np.testing.assert_array_equal(embed(face, backend, texts("a")).vectors, [vector_of("a")])


@both
def test_no_thread_is_left_behind(face: str, make: Any) -> None:
    before = set(threading.enumerate())  # the loop that the whole process shares may be among them

    def left() -> list[str]:
        return [one.name for one in set(threading.enumerate()) - before if one.name.startswith("jina-clip")]

    embed(face, make(batch_size=1), numbered(20))
    embed(face, make(batch_size=1), images(*(photo(9, 9, seed) for seed in range(5))))
    wait_for(lambda: not left())


async def test_a_call_that_gives_up_while_it_waits_takes_no_turn(server: FaultyServer, make: Any) -> None:
    async with make(requests_per_minute=1, token_budget=100_000) as backend:
        await backend.aembed(texts("a"))
        for _ in range(3):
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(backend.aembed(texts("b")), 0.05)
        limits = backend._service.limits
        assert limits.reserve(limits_now := backend._service.clock.now(), 1).starts_at - limits_now <= 60
    assert len(server.received) == 1
    assert backend.requests_in_flight == 0
