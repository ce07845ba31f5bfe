"""Dynamic batching: which inputs share a call, the order of requests, and what a failure costs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import numpy as np
import pytest

from jina_clip_integrations.errors import CheckpointError, InputError
from jina_clip_integrations.server.batching import Batcher, InputFailedError, Kind

TEXT, QUERY, IMAGE = Kind("text"), Kind("text", "retrieval.query"), Kind("image")


class Calls:
    """An `embed` that returns each input's number as its row, and can be held up."""

    def __init__(self) -> None:
        self.made: list[tuple[Kind, list[int]]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.now = 0
        self.max_concurrent = 0
        self.bad: dict[int, Exception] = {}
        self.deadly: dict[int, Exception] = {}

    async def __call__(self, kind: Kind, inputs: Sequence[int]) -> tuple[np.ndarray, dict[int, Exception]]:
        self.made.append((kind, list(inputs)))
        self.now += 1
        self.max_concurrent = max(self.max_concurrent, self.now)
        try:
            await self.gate.wait()
        finally:
            self.now -= 1
        for number in inputs:
            if number in self.deadly:
                raise self.deadly[number]
        errors = {place: self.bad[number] for place, number in enumerate(inputs) if number in self.bad}
        return np.array([[number, len(inputs)] for number in inputs], np.float32), errors

    @property
    def sizes(self) -> list[int]:
        return [len(inputs) for _, inputs in self.made]


def batcher(calls: Calls, *, max_batch: int = 8, wait_s: float = 0.0, max_running: int = 2) -> Batcher:
    return Batcher(calls, max_batch=max_batch, wait_s=wait_s, max_running=max_running)


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def start(work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    return asyncio.ensure_future(work)


class TestGathering:
    async def test_requests_that_come_together_share_one_call_and_keep_their_rows(self) -> None:
        calls = Calls()
        batch = batcher(calls, max_batch=100, wait_s=0.1)
        answers = await asyncio.gather(*(batch.embed(TEXT, [10 * n, 10 * n + 1]) for n in range(20)))
        assert calls.sizes == [40]
        assert [rows[:, 0].tolist() for rows in answers] == [[10 * n, 10 * n + 1] for n in range(20)]

    async def test_a_full_batch_does_not_wait(self) -> None:
        calls = Calls()
        batch = batcher(calls, max_batch=4, wait_s=60)
        await asyncio.wait_for(asyncio.gather(*(batch.embed(TEXT, [n]) for n in range(4))), 5)
        assert calls.sizes == [4]

    async def test_a_lone_input_waits_no_longer_than_told(self) -> None:
        batch = batcher(Calls(), wait_s=0.1)
        rows = await asyncio.wait_for(batch.embed(TEXT, [5]), 5)
        assert rows.tolist() == [[5, 1]]

    async def test_no_call_is_larger_than_the_limit(self) -> None:
        calls = Calls()
        rows = await batcher(calls, max_batch=8).embed(TEXT, range(50))
        assert rows[:, 0].tolist() == list(range(50))
        assert max(calls.sizes) <= 8
        assert sum(calls.sizes) == 50

    async def test_kinds_never_mix(self) -> None:
        calls = Calls()
        batch = batcher(calls, wait_s=0.1)
        await asyncio.gather(*(batch.embed(kind, [n]) for n in range(3) for kind in (TEXT, QUERY, IMAGE)))
        assert len(calls.made) == 3
        assert dict(calls.made) == {kind: [0, 1, 2] for kind in (TEXT, QUERY, IMAGE)}

    async def test_what_comes_while_a_call_runs_is_gathered_for_the_next(self) -> None:
        calls = Calls()
        calls.gate.clear()
        batch = batcher(calls, max_batch=100)
        tasks = [start(batch.embed(TEXT, [0]))]
        await settle()
        tasks += [start(batch.embed(TEXT, [n])) for n in range(1, 30)]
        await settle()
        assert calls.sizes == [1]
        calls.gate.set()
        await asyncio.gather(*tasks)
        assert calls.sizes == [1, 29]


class TestFairness:
    async def test_calls_at_a_time_are_bounded_and_only_full_ones_double_up(self) -> None:
        calls = Calls()
        calls.gate.clear()
        batch = batcher(calls, max_batch=4, max_running=2)
        task = start(batch.embed(TEXT, range(11)))
        await settle()
        assert calls.sizes == [4, 4]  # the last three are no full batch
        calls.gate.set()
        await task
        assert calls.sizes == [4, 4, 3]
        assert calls.max_concurrent == 2

    async def test_one_flood_does_not_keep_others_waiting(self) -> None:
        calls = Calls()
        batch = batcher(calls, max_batch=4, max_running=1)
        flood = start(batch.embed(TEXT, range(400)))
        await settle_until(lambda: len(calls.made) >= 3)
        small = await batch.embed(TEXT, [9999])
        assert small[0, 0] == 9999
        assert not flood.done()
        await flood

    async def test_one_kind_does_not_starve_another(self) -> None:
        calls = Calls()
        batch = batcher(calls, max_batch=4, max_running=1)
        flood = start(batch.embed(TEXT, range(400)))
        await settle_until(lambda: len(calls.made) >= 3)
        before = len(calls.made)
        await batch.embed(IMAGE, [1])
        assert [kind for kind, _ in calls.made[before : before + 3]].count(IMAGE) == 1
        assert not flood.done()
        await flood

    async def test_a_large_request_is_not_starved_by_small_ones(self) -> None:
        calls = Calls()
        batch = batcher(calls, max_batch=4, max_running=1)
        large = start(batch.embed(TEXT, range(8)))
        number = 100
        while not large.done():
            await asyncio.gather(*(batch.embed(TEXT, [number + n]) for n in range(6)))
            number += 6
            assert number < 400, "the large request never came to an end"


class TestCancelling:
    async def test_the_inputs_of_a_cancelled_request_are_removed(self) -> None:
        calls = Calls()
        calls.gate.clear()
        batch = batcher(calls, max_batch=4, max_running=1)
        first, second = start(batch.embed(TEXT, [1])), start(batch.embed(TEXT, range(100, 200)))
        await settle()
        assert batch.waiting > 90
        second.cancel()
        await settle()
        assert batch.waiting == 0
        calls.gate.set()
        assert (await first)[0, 0] == 1
        await settle()
        assert sum(calls.sizes) <= 5

    async def test_the_wait_of_a_cancelled_request_is_forgotten(self) -> None:
        calls = Calls()
        batch = batcher(calls, wait_s=0.2)
        gone = start(batch.embed(TEXT, [1]))
        await settle()
        gone.cancel()
        await asyncio.sleep(0.25)
        tasks = [start(batch.embed(TEXT, [2]))]
        await asyncio.sleep(0.02)
        tasks.append(start(batch.embed(TEXT, [3])))
        await asyncio.gather(*tasks)
        assert calls.sizes == [2]

    async def test_a_request_cancelled_in_its_call_does_not_disturb_the_others_in_it(self) -> None:
        calls = Calls()
        calls.gate.clear()
        batch = batcher(calls, wait_s=0.1)
        tasks = [start(batch.embed(TEXT, [n])) for n in range(4)]
        await settle_until(lambda: bool(calls.made))
        tasks[1].cancel()
        calls.gate.set()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(done[1], asyncio.CancelledError)
        assert [done[n][0, 0] for n in (0, 2, 3)] == [0, 2, 3]

    async def test_close_finishes_the_accepted_jobs_and_refuses_more(self) -> None:
        calls = Calls()
        batch = batcher(calls, max_batch=4, wait_s=60)
        tasks = [start(batch.embed(TEXT, [n])) for n in range(3)]
        await settle()
        assert calls.made == []
        await asyncio.wait_for(batch.close(), 5)
        assert [(await task)[0, 0] for task in tasks] == [0, 1, 2]
        with pytest.raises(RuntimeError, match="closed"):
            await batch.embed(TEXT, [1])


class TestFailures:
    async def test_a_bad_input_fails_its_own_request_and_says_which(self) -> None:
        calls = Calls()
        calls.bad = {21: InputError("no good")}
        batch = batcher(calls, max_batch=100, wait_s=0.1)
        good, bad = await asyncio.gather(
            batch.embed(TEXT, [1, 2]), batch.embed(TEXT, [20, 21, 22]), return_exceptions=True
        )
        assert good[:, 0].tolist() == [1, 2]
        assert isinstance(bad, InputFailedError)
        assert bad.position == 1
        assert str(bad.__cause__) == "no good"
        assert calls.sizes == [5]

    async def test_a_call_that_fails_as_a_whole_is_narrowed_down_to_the_request_at_fault(self) -> None:
        calls = Calls()
        calls.deadly = {13: RuntimeError("out of memory")}
        batch = batcher(calls, max_batch=100, wait_s=0.1)
        answers = await asyncio.gather(*(batch.embed(TEXT, [n]) for n in range(16)), return_exceptions=True)
        assert isinstance(answers[13], RuntimeError)
        assert [rows[0, 0] for n, rows in enumerate(answers) if n != 13] == [n for n in range(16) if n != 13]
        assert len(calls.made) <= 10

    async def test_a_backend_that_names_the_input_when_alone_is_understood(self) -> None:
        calls = Calls()
        calls.deadly = {7: InputError("no good", index=1)}
        with pytest.raises(InputFailedError) as caught:
            await batcher(calls).embed(TEXT, [6, 7])
        assert caught.value.position == 1

    async def test_a_damaged_checkpoint_is_not_tried_in_halves(self) -> None:
        calls = Calls()
        calls.deadly = {3: CheckpointError("weights are missing")}
        batch = batcher(calls, max_batch=100, wait_s=0.1)
        answers = await asyncio.gather(*(batch.embed(TEXT, [n]) for n in range(8)), return_exceptions=True)
        assert all(isinstance(answer, CheckpointError) for answer in answers)
        assert calls.sizes == [8]

    async def test_failures_leave_nothing_waiting(self) -> None:
        calls = Calls()
        calls.deadly = {0: RuntimeError("no")}
        batch = batcher(calls, max_batch=2)
        with pytest.raises(RuntimeError):
            await batch.embed(TEXT, [0, 1, 2, 3, 4, 5])
        assert batch.waiting == 0
        assert (await batch.embed(TEXT, [8]))[0, 0] == 8


async def settle_until(condition: Callable[[], bool]) -> None:
    for _ in range(10_000):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("waited in vain")
