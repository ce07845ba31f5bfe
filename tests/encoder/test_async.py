"""Blocking calls under a running loop, awaiting calls that leave it free, cancellation."""

from __future__ import annotations

import asyncio
import contextvars
import io
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
    StreamingFake,
    text_vector,
    unit,
)

IMAGE = Image.new("RGB", (4, 4), (200, 10, 10))


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
        encoder.encode([{"text": "a"}, {"image": IMAGE}])
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
    encoder.encode([{"text": "a"}, {"image": IMAGE}])
    assert set(encoder.backend.threads) == {threading.current_thread().name}


class Ticker:
    """A task that shows whether the event loop comes round."""

    async def __aenter__(self) -> Ticker:
        self.ticks = 0
        self.free: list[bool] = []
        self._task = asyncio.create_task(self._run())
        return self

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(0.001)
            self.ticks += 1

    def take_long(self, *ignored: Any) -> None:
        """Block until the loop has come round three times; if it cannot, because it is blocked itself, note that."""
        goal, deadline = self.ticks + 3, time.monotonic() + 3
        while self.ticks < goal and time.monotonic() < deadline:
            time.sleep(0.001)
        self.free.append(self.ticks >= goal)

    async def __aexit__(self, *raised: object) -> None:
        self._task.cancel()


class BlockingStream(StreamingFake):
    astream = None  # type: ignore[assignment]  # only the blocking face is there


class SlowCache(MemoryCache):
    ticker: Ticker

    def get_many(self, keys: Any) -> Any:
        self.ticker.take_long()
        return super().get_many(keys)

    def set_many(self, entries: Any) -> None:
        self.ticker.take_long()
        super().set_many(entries)


class SlowFile:
    def __init__(self, ticker: Ticker) -> None:
        self.ticker = ticker

    def read(self) -> bytes:
        self.ticker.take_long()
        buffer = io.BytesIO()
        IMAGE.save(buffer, "PNG")
        return buffer.getvalue()


class TestTheLoopStaysFree:
    """A blocked loop cannot tick, so every case here would fail after a few seconds."""

    @pytest.mark.parametrize("backend", [BlockingBackend(), BlockingStream()], ids=["embed", "stream"])
    async def test_of_blocking_backends(self, backend: Any) -> None:
        async with Ticker() as ticker:
            backend.before = ticker.take_long
            await JinaClipEncoder(backend=backend).aencode([{"text": "a"}, {"image": IMAGE}])
        assert ticker.free == [True, True]

    @pytest.mark.parametrize("backend", [BlockingBackend(), AwaitableBackend(), StreamingFake()], ids=list(KINDS))
    async def test_of_caches(self, backend: Any) -> None:
        async with Ticker() as ticker:
            cache = SlowCache()
            cache.ticker = ticker
            await JinaClipEncoder(backend=backend, cache=cache).aencode([{"text": "a"}, {"image": IMAGE}])
        assert ticker.free == [True] * 4

    async def test_of_files(self) -> None:
        async with Ticker() as ticker:
            files = [{"image": SlowFile(ticker)}, {"image": SlowFile(ticker)}]
            await JinaClipEncoder(backend=AwaitableBackend()).aencode(files)
        assert ticker.free == [True, True]

    async def test_of_opening_a_backend(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async with Ticker() as ticker:

            class Unread(BlockingBackend):
                @property
                def dimensions(self) -> int:
                    ticker.take_long()
                    return 8

                @dimensions.setter
                def dimensions(self, width: int) -> None: ...

            encoder = JinaClipEncoder(backend=Unread(model="some/checkpoint"))
            assert ticker.free == []
            await encoder.aencode_text("a")
        assert ticker.free
        assert all(ticker.free)


async def test_threads_know_the_callers_context() -> None:
    span: contextvars.ContextVar[str] = contextvars.ContextVar("span", default="none")
    seen: list[str] = []
    encoder = JinaClipEncoder(backend=BlockingBackend())
    encoder.backend.before = lambda batch: seen.append(span.get())
    span.set("mine")
    await encoder.aencode_text("a")
    assert seen == ["mine"]


async def test_calls_overlap() -> None:
    class Meeting(AwaitableBackend):
        """Answers nobody before all twenty have asked."""

        async def aembed(self, batch: Any) -> BatchResult:
            await asyncio.wait_for(everybody.wait(), 10)
            return await super().aembed(batch)

    class Barrier(asyncio.Event):
        asked = 0

        async def wait(self) -> Any:
            self.asked += 1
            if self.asked == 20:
                self.set()
            return await super().wait()

    everybody = Barrier()
    encoder = JinaClipEncoder(backend=Meeting())
    rows = await asyncio.gather(*(encoder.aencode_text(f"{number}") for number in range(20)))
    np.testing.assert_allclose(rows, unit(np.stack([text_vector(f"{number}") for number in range(20)])), atol=1e-6)


async def test_cancelling_closes_the_stream_and_keeps_the_count() -> None:
    begun = asyncio.Event()

    class Endless(StreamingFake):
        async def astream(self, batch: Any) -> Any:
            try:
                yield self._some(batch, range(3))
                begun.set()
                await asyncio.sleep(60)
            finally:
                self.streams_closed += 1

    encoder = JinaClipEncoder(backend=Endless())
    task = asyncio.create_task(encoder.aencode_text([f"{number}" for number in range(600)]))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert encoder.backend.streams_closed == 1
    assert encoder.usage.items == 3


async def test_cancelling_a_blocking_stream_stops_it_after_the_batch_in_hand() -> None:
    in_hand, go_on, closed = threading.Event(), threading.Event(), threading.Event()

    class Held(BlockingStream):
        def stream(self, batch: Any) -> Any:
            try:
                yield self._some(batch, range(3))
                in_hand.set()
                go_on.wait(10)
                yield self._some(batch, range(3, 6))
                yield self._some(batch, range(6, 9))
            finally:
                closed.set()

    encoder = JinaClipEncoder(backend=Held())
    task = asyncio.create_task(encoder.aencode_text([f"{number}" for number in range(600)]))
    await asyncio.to_thread(in_hand.wait, 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    go_on.set()
    assert await asyncio.to_thread(closed.wait, 10)
    assert len(encoder.backend.batches) == 2


async def test_async_iterables_are_taken_as_they_come() -> None:
    taken: list[int] = []

    async def items() -> Any:
        for number in range(7):
            taken.append(number)
            yield {"text": f"{number}"}

    chunks = JinaClipEncoder(backend=AwaitableBackend()).aiter_encode(items(), chunk_size=3)
    assert [(len(rows), len(taken)) async for rows in chunks] == [(3, 3), (3, 6), (1, 7)]


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
