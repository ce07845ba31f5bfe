"""Turns for many processes: arithmetic again, with messages that are late or lost."""

from __future__ import annotations

import math
import random

import pytest

from jina_clip_integrations.backends.remote.limits import Limits, RateLimiter
from jina_clip_integrations.backends.remote.limits.turns import MISSED, Turns


def turns_of(*, max_concurrency: int | None = None, **limits: int) -> Turns:
    return Turns(Limits(max_concurrency=1, **limits), max_concurrency=max_concurrency)


def ask(turns: Turns, now: float, *keys: str, tokens: int = 10) -> list[str]:
    """Who has a turn after these asked."""
    for key in keys:
        turns.ask(key, tokens, tokens)
    return [key for key, refusal in turns.advance(now)[0].items() if refusal is None]


def test_turns_come_in_the_order_in_which_they_were_asked_for() -> None:
    turns = turns_of(requests_per_minute=2)
    assert ask(turns, 0.0, "a", "b", "c", "d") == ["a", "b"]
    assert turns.advance(0.0)[1] == math.inf  # as long as both are under way nothing can be said
    turns.settle(7.0, "b", 10)
    assert turns.advance(7.0) == ({}, 60.0)
    turns.settle(9.0, "a", 10)
    assert turns.advance(66.9)[0] == {}
    assert list(turns.advance(67.0)[0]) == ["c"]
    assert list(turns.advance(69.0)[0]) == ["d"]


def test_a_request_counts_until_a_window_after_its_end() -> None:
    limiter = RateLimiter(1)
    entry = limiter.begin(1)
    assert limiter.earliest(1000.0, 1) == math.inf
    limiter.finish(entry, 100.0, 1)
    assert limiter.earliest(100.0, 1) == 160.0


def test_a_turn_that_is_given_back_goes_to_the_next() -> None:
    turns = turns_of(requests_per_minute=1, tokens_per_minute=100, token_budget=15)
    assert ask(turns, 0.0, "a", "b", "c") == ["a"]
    turns.cancel("b")  # left the queue
    turns.cancel("a")
    assert ask(turns, 1.0) == ["c"]
    assert (turns.waiting, turns.under_way) == (0, 1)


def test_requests_at_once_are_bounded() -> None:
    turns = turns_of(max_concurrency=2)
    assert ask(turns, 0.0, "a", "b", "c") == ["a", "b"]
    turns.settle(1.0, "a", 1)
    assert ask(turns, 1.0) == ["c"]


def test_the_budget_refuses_only_what_nothing_under_way_can_make_room_for() -> None:
    turns = turns_of(token_budget=25)
    assert ask(turns, 0.0, "a", "b", "c") == ["a", "b"]
    turns.settle(1.0, "a", 4)
    assert ask(turns, 1.0) == ["c"]
    turns.settle(2.0, "b", 10)
    turns.settle(2.0, "c", 10)
    turns.ask("d", 10, 10)
    decided, _ = turns.advance(2.0)
    refusal = decided["d"]
    assert refusal is not None
    assert refusal.tokens_left == 1
    assert "token_budget=25: 24 tokens are spent" in str(refusal.error)
    assert turns.waiting == 0


@pytest.mark.parametrize("started", [True, False])
def test_what_a_lost_owner_held_goes_to_the_others(started: bool) -> None:
    turns = turns_of(token_budget=20)
    assert ask(turns, 0.0, "lost", "alive", "queues") == ["lost", "alive"]
    assert turns.start("alive")
    if started:
        assert turns.start("lost")
    for at in range(MISSED):
        turns.renew(["alive", "queues"])
        assert turns.call_roll(float(at)) == []
    turns.renew(["alive", "queues"])
    assert turns.call_roll(9.0) == ["lost"]
    assert not turns.start("lost")
    turns.settle(9.0, "lost", 3)  # too late: it counts as its upper bound already
    turns.settle(9.0, "alive", 9)
    # It may have been billed once its owner knew of its turn, and only then.
    assert turns.limits.tokens_spent == (19 if started else 9)
    decided, _ = turns.advance(9.0)
    assert (decided["queues"] is None) is not started


def test_a_queue_without_its_owner_is_left() -> None:
    turns = turns_of(requests_per_minute=1)
    assert ask(turns, 0.0, "a", "gone") == ["a"]
    for _ in range(MISSED + 1):
        turns.renew(["a"])
        turns.call_roll(1.0)
    assert turns.waiting == 0
    assert turns.under_way == 1


@pytest.mark.parametrize("seed", range(6))
def test_no_window_of_the_service_holds_too_much_however_late_anything_is(seed: int, effort: int) -> None:
    """Requests are counted by the service at any time between turn and settlement, cost what they like up to their
    bound, and some owners are never heard of again."""
    for attempt in range(8 * effort):
        Run(random.Random(1000 * seed + attempt)).check()


class Run:
    """Sixty requests at the limits of one account."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.requests, self.tokens, self.budget = chance.randint(1, 8), chance.randint(20, 90), chance.randint(50, 900)
        self.turns = turns_of(
            requests_per_minute=self.requests,
            tokens_per_minute=self.tokens,
            token_budget=self.budget,
            max_concurrency=chance.choice([3, None]),
        )
        self.alive = {str(at): chance.randint(1, 20) for at in range(60)}
        self.counted: list[tuple[float, int]] = []
        """When the service counted a request, and what."""
        self.flying: dict[str, float] = {}

    def check(self) -> None:
        for key, cost in self.alive.items():
            self.turns.ask(key, cost, cost)
        now = 0.0
        for _ in range(5000):
            if not self.turns.waiting and not self.turns.under_way:
                break
            self.step(now)
            now += self.chance.random() * 8
        assert not self.turns.waiting
        assert sum(spent for _, spent in self.counted) <= self.turns.limits.tokens_spent <= self.budget
        for end, _ in self.counted:
            window = [spent for at, spent in self.counted if end - 60 < at <= end]
            assert len(window) <= self.requests
            assert sum(window) <= self.tokens

    def step(self, now: float) -> None:
        for key, refusal in self.turns.advance(now)[0].items():
            if refusal is not None:
                del self.alive[key]
            elif self.chance.random() < 0.1:  # its worker died, before it knew or with the request under way
                cost = self.alive.pop(key)
                if self.chance.random() < 0.5 and self.turns.start(key):
                    self.counted.append((now, cost))
            else:
                assert self.turns.start(key)
                self.flying[key] = now
        for key, since in list(self.flying.items()):
            if self.chance.random() < 0.2:
                del self.flying[key]
                spent = self.chance.randint(1, self.alive.pop(key))
                self.counted.append((self.chance.uniform(since, now), spent))
                self.turns.settle(now, key, spent)
        self.turns.renew(self.alive)
        self.turns.call_roll(now)
