"""Blocking calls under a running loop, awaiting calls that leave it free, cancellation."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import numpy as np
import pytest
from PIL import Image

from jina_clip_integrations import BatchResult, JinaClipEncoder
from jina_clip_integrations.cache import MemoryCache
from tests.fakes import (
    KINDS,
    AwaitableBackend,
    BlockingBackend,
    LoopBoundBackend,
    SlowBackend,
    StreamingFake,
    text_vector,
    unit,
)

PICTURE = Image.new("RGB", (4, 4), (200, 10, 10))


@pytest.mark.parametrize("kind", KINDS)
async def test_blocking_methods_work_where_a_loop_runs(kind: str) -> None:
    rows = JinaClipEncoder(backend=KINDS[kind]()).encode_text(["a", "b"])
    np.testing.assert_allclose(rows, unit(np.stack([text_vector("a"), text_vector("b")])), atol=1e-6)


def test_blocking_methods_never_start_a_loop_here(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **options: Any) -> None:
        raise AssertionError("an event loop was started")

    monkeypatch.setattr(asyncio, "run", refuse)
    monkeypatch.setattr(asyncio.BaseEventLoop, "run_until_complete", refuse)
    for backend in (BlockingBackend(), StreamingFake(), AwaitableBackend()):
        encoder = JinaClipEncoder(backend=backend, cache=MemoryCache())
        encoder.encode([{"text": "a"}, {"image": PICTURE}])
        list(encoder.iter_encode([{"text": "b"}]))


def test_a_backend_that_can_only_be_awaited_keeps_its_loop() -> None:
    encoder = JinaClipEncoder(backend=LoopBoundBackend())
    for _ in range(3):
        encoder.encode_text("a")
    threads = [threading.Thread(target=encoder.encode_text, args=("b",)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(encoder.backend.batches) == 6


def test_a_blocking_backend_runs_in_the_callers_thread() -> None:
    encoder = JinaClipEncoder(backend=BlockingBackend(), cache=MemoryCache())
    encoder.encode([{"text": "a"}, {"image": PICTURE}])
    assert set(encoder.backend.threads) == {threading.current_thread().name}


class Ticker:
    """Counts how often the event loop came round."""

    async def __aenter__(self) -> Ticker:
        self.ticks = 0
        self._task = asyncio.create_task(self._run())
        return self

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(0.005)
            self.ticks += 1

    async def __aexit__(self, *raised: object) -> None:
        self._task.cancel()


class SlowStream(StreamingFake):
    astream = None  # type: ignore[assignment]  # only the blocking face is there

    def _some(self, batch: Any, positions: Any) -> BatchResult:
        time.sleep(0.1)
        return super()._some(batch, positions)


class SlowCache(MemoryCache):
    def get_many(self, keys: Any) -> Any:
        time.sleep(0.1)
        return super().get_many(keys)

    def set_many(self, entries: Any) -> None:
        time.sleep(0.1)
        super().set_many(entries)


class SlowFile:
    def read(self) -> bytes:
        time.sleep(0.2)
        import io

        buffer = io.BytesIO()
        PICTURE.save(buffer, "PNG")
        return buffer.getvalue()


@pytest.mark.parametrize(
    "encoder",
    [
        pytest.param(lambda: JinaClipEncoder(backend=SlowBackend()), id="embed"),
        pytest.param(lambda: JinaClipEncoder(backend=SlowStream()), id="stream"),
        pytest.param(lambda: JinaClipEncoder(backend=AwaitableBackend(), cache=SlowCache()), id="cache"),
        pytest.param(lambda: JinaClipEncoder(backend=StreamingFake(), cache=SlowCache()), id="cache and stream"),
        pytest.param(lambda: JinaClipEncoder(backend=AwaitableBackend()), id="reading"),
    ],
)
async def test_the_loop_stays_free(encoder: Any) -> None:
    async with Ticker() as ticker:
        await encoder().aencode([{"text": "a"}, {"image": SlowFile()}, {"image": PICTURE}])
        assert ticker.ticks >= 15


async def test_calls_overlap() -> None:
    class Waiting(AwaitableBackend):
        async def aembed(self, batch: Any) -> BatchResult:
            await asyncio.sleep(0.2)
            return await super().aembed(batch)

    encoder = JinaClipEncoder(backend=Waiting())
    started = time.monotonic()
    rows = await asyncio.gather(*(encoder.aencode_text(f"{number}") for number in range(20)))
    assert time.monotonic() - started < 2  # 4 s one after the other
    np.testing.assert_allclose(rows, unit(np.stack([text_vector(f"{number}") for number in range(20)])), atol=1e-6)


async def test_cancelling_closes_the_stream_and_stops_what_follows() -> None:
    class Endless(StreamingFake):
        async def astream(self, batch: Any) -> Any:
            try:
                for positions in self._groups(batch):
                    yield self._some(batch, positions)
                    await asyncio.sleep(0.05)
            finally:
                self.streams_closed += 1

    encoder = JinaClipEncoder(backend=Endless())
    task = asyncio.create_task(encoder.aencode_text([f"{number}" for number in range(600)]))
    await asyncio.sleep(0.12)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert encoder.backend.streams_closed == 1
    assert 1 <= len(encoder.backend.batches) <= 5
    assert encoder.usage.items == 3 * len(encoder.backend.batches)


async def test_cancelling_a_blocking_stream_stops_it_after_the_batch_in_hand() -> None:
    encoder = JinaClipEncoder(backend=SlowStream())
    task = asyncio.create_task(encoder.aencode_text([f"{number}" for number in range(600)]))
    await asyncio.sleep(0.15)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0.3)
    assert encoder.backend.streams_closed == 1
    assert len(encoder.backend.batches) <= 3


async def test_async_iterables_are_taken_as_they_come() -> None:
    taken: list[int] = []

    async def items() -> Any:
        for number in range(7):
            taken.append(number)
            yield {"text": f"{number}"}

    seen = []
    async for rows in JinaClipEncoder(backend=AwaitableBackend()).aiter_encode(items(), chunk_size=3):
        seen.append((len(rows), len(taken)))
    assert seen == [(3, 3), (3, 6), (1, 7)]


def test_iterables_are_taken_as_they_come() -> None:
    taken: list[int] = []

    def items() -> Any:
        for number in range(7):
            taken.append(number)
            yield {"text": f"{number}"}

    chunks = JinaClipEncoder(backend=BlockingBackend()).iter_encode(items(), chunk_size=3)
    assert taken == []
    assert [(len(rows), len(taken)) for rows in chunks] == [(3, 3), (3, 6), (1, 7)]


async def test_many_encoders_in_many_threads_and_loops() -> None:
    encoder = JinaClipEncoder(backend=AwaitableBackend(), cache=MemoryCache())

    def work(number: int) -> Any:
        if number % 2:
            return encoder.encode_text([f"{number}", "same"])
        return asyncio.run(encoder.aencode_text([f"{number}", "same"]))

    rows = await asyncio.gather(*(asyncio.to_thread(work, number) for number in range(12)))
    expected = [unit(np.stack([text_vector(f"{number}"), text_vector("same")])) for number in range(12)]
    np.testing.assert_allclose(rows, expected, atol=1e-6)
