"""Limits: pure arithmetic on times that are handed in."""

from __future__ import annotations

import threading
from concurrent.futures import Future

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jina_clip_integrations.backends.remote.limits import (
    REQUESTS_LEFT,
    TOKENS_LEFT,
    ConcurrencyLimiter,
    Limits,
    RateLimiter,
    Reservation,
    TokenBudget,
)
from jina_clip_integrations.errors import BudgetExceededError


@pytest.mark.obligation("18")
def test_the_limiter_starts_with_two_and_doubles_up_to_its_ceiling() -> None:
    concurrency = ConcurrencyLimiter(20)
    limits_seen = [concurrency.limit]
    for _ in range(5):
        for _ in range(concurrency.limit):  # all that fit are answered
            concurrency.raise_limit()
        limits_seen.append(concurrency.limit)
    assert limits_seen == [2, 4, 8, 16, 20, 20]


def test_once_found_too_high_the_limiter_grows_by_one() -> None:
    concurrency = ConcurrencyLimiter(20, initial=8)
    concurrency.lower_limit(concurrency.acquire())
    limits_seen = []
    for _ in range(10):
        limits_seen.append(concurrency.limit)
        concurrency.raise_limit()
    assert limits_seen == [4, 4, 4, 4, 5, 5, 5, 5, 5, 6]


def test_a_ceiling_of_one_is_kept() -> None:
    assert ConcurrencyLimiter(1).limit == 1


def test_tickets_are_granted_in_order_and_returned() -> None:
    concurrency = ConcurrencyLimiter(2)
    first, second, third, fourth = (concurrency.acquire() for _ in range(4))
    assert [ticket.done() for ticket in (first, second, third, fourth)] == [True, True, False, False]
    concurrency.release(third)  # gives up waiting
    concurrency.release(first)
    assert fourth.done()
    assert not fourth.cancelled()
    concurrency.release(first)  # twice does no harm
    concurrency.release(second)
    concurrency.release(fourth)
    assert [concurrency.acquire().done(), concurrency.acquire().done(), concurrency.acquire().done()] == [
        True,
        True,
        False,
    ]


def test_growing_lets_a_waiting_ticket_in() -> None:
    concurrency = ConcurrencyLimiter(3)
    tickets = [concurrency.acquire() for _ in range(3)]
    assert not tickets[2].done()
    concurrency.raise_limit()
    concurrency.raise_limit()
    assert tickets[2].done()


@pytest.mark.obligation("18")
def test_one_burst_of_refusals_shrinks_once() -> None:
    concurrency = ConcurrencyLimiter(8, initial=8)
    tickets = [concurrency.acquire() for _ in range(8)]
    for ticket in tickets:
        concurrency.lower_limit(ticket)
    assert concurrency.limit == 4
    for ticket in tickets:
        concurrency.release(ticket)
    concurrency.lower_limit(concurrency.acquire())
    assert concurrency.limit == 2


def test_the_limit_that_the_service_names_becomes_the_ceiling() -> None:
    concurrency = ConcurrencyLimiter(64, initial=16)
    concurrency.lower_limit(concurrency.acquire(), 5)
    assert (concurrency.limit, concurrency.ceiling) == (5, 5)
    for _ in range(100):
        concurrency.raise_limit()
    assert concurrency.limit == 5
    concurrency.lower_limit(concurrency.acquire(), 0)  # nonsense
    assert concurrency.ceiling == 5


def test_the_limiter_never_goes_below_one() -> None:
    concurrency = ConcurrencyLimiter(2)
    for _ in range(5):
        ticket = concurrency.acquire()
        concurrency.lower_limit(ticket)
        concurrency.release(ticket)
    assert concurrency.limit == 1
    assert concurrency.acquire().done()


def test_the_limiter_under_threads_never_lets_too_many_in() -> None:
    concurrency = ConcurrencyLimiter(3, initial=3)
    inside, most, lock = [0], [0], threading.Lock()

    def visit() -> None:
        for _ in range(50):
            ticket = concurrency.acquire()
            ticket.result(10)
            with lock:
                inside[0] += 1
                most[0] = max(most[0], inside[0])
            with lock:
                inside[0] -= 1
            concurrency.release(ticket)

    threads = [threading.Thread(target=visit) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 1 <= most[0] <= 3
    assert inside[0] == 0


amounts = st.lists(st.tuples(st.floats(0, 40), st.integers(1, 15)), min_size=1, max_size=40)


@pytest.mark.obligation("27")
@settings(max_examples=60, deadline=None)
@given(amounts)
def test_no_minute_ever_holds_more_than_its_limit(steps: list[tuple[float, int]]) -> None:
    limit, minute, now, booked = 10, RateLimiter(10), 0.0, []
    for pause, amount in steps:
        now += pause
        start = minute.earliest(now, amount)
        assert start >= now
        minute.take(start, amount)
        booked.append((start, min(amount, limit)))
    for start, _ in booked:
        assert sum(amount for when, amount in booked if start <= when < start + 60.0 - 1e-6) <= limit


def test_nothing_waits_without_need() -> None:
    minute = RateLimiter(10)
    minute.take(minute.earliest(0.0, 10), 10)
    assert minute.earliest(1.0, 1) == 60.0
    assert minute.earliest(60.0, 10) == 60.0


def limits(**how: int) -> Limits:
    return Limits(max_concurrency=4, **how)


@pytest.mark.obligation("27")
def test_requests_and_tokens_per_minute_are_both_kept() -> None:
    paced = limits(requests_per_minute=3, tokens_per_minute=100)
    starts = [paced.reserve(0.0, tokens).starts_at for tokens in (60, 60, 10, 10)]
    assert starts == [0.0, 60.0, 60.0, 60.0]
    assert paced.reserve(61.0, 10).starts_at == 120.0  # the third request after 60.0 was the last of that minute


def test_what_the_service_counts_replaces_the_estimate() -> None:
    paced = limits(tokens_per_minute=100)
    reservation = paced.reserve(0.0, 90)
    paced.settle(reservation, spent=10)
    assert paced.reserve(1.0, 90).starts_at == 1.0


def test_a_single_request_above_the_limit_waits_for_an_empty_minute_and_goes() -> None:
    paced = limits(tokens_per_minute=100)
    paced.reserve(0.0, 50)
    assert paced.reserve(0.0, 5000).starts_at == 60.0


def test_a_pace_that_the_service_names_is_kept_from_then_on() -> None:
    told = limits(requests_per_minute=50)
    told.slow_down(requests_per_minute=2, tokens_per_minute=100)
    told.slow_down(requests_per_minute=3)
    assert [told.reserve(0.0, 10).starts_at for _ in range(3)] == [0.0, 0.0, 60.0]
    assert told.reserve(60.0, 95).starts_at == 120.0


def test_hold() -> None:
    held = limits()
    held.hold(5.0)
    held.hold(3.0)
    assert held.held_until() == 5.0
    assert held.reserve(1.0, 1).starts_at == 5.0


@pytest.mark.obligation("27")
def test_headers_that_say_nothing_is_left_stop_until_the_minute_is_over() -> None:
    told = limits()
    told.learn(0.0, {REQUESTS_LEFT: "9"})
    told.learn(20.0, {REQUESTS_LEFT: "0"})
    assert told.reserve(21.0, 1).starts_at == 60.0
    assert told.reserve(61.0, 1).starts_at == 61.0


def test_headers_about_tokens_count_what_is_booked() -> None:
    told = limits()
    told.learn(0.0, {TOKENS_LEFT: "100"})
    assert told.reserve(1.0, 60).starts_at == 1.0
    assert told.reserve(1.0, 60).starts_at == 60.0


def test_a_rise_of_the_header_begins_a_new_minute() -> None:
    told = limits()
    told.learn(0.0, {REQUESTS_LEFT: "1"})
    told.learn(50.0, {REQUESTS_LEFT: "100"})
    told.learn(55.0, {REQUESTS_LEFT: "0"})
    assert told.reserve(56.0, 1).starts_at == 110.0


@pytest.mark.parametrize("value", ["", "many", "nan", "inf", "-1", "1,000"])
def test_headers_that_do_not_parse_are_ignored(value: str) -> None:
    told = limits()
    told.learn(0.0, {REQUESTS_LEFT: value, TOKENS_LEFT: value})
    assert told.reserve(0.0, 10).starts_at == 0.0


@pytest.mark.obligation("27")
def test_a_header_that_lies_costs_one_minute_and_no_more() -> None:
    told = limits()
    now, waits = 0.0, []
    for _ in range(6):
        start = told.reserve(now, 1).starts_at
        waits.append(start - now)
        now = start + 0.1
        told.learn(now, {REQUESTS_LEFT: "0"})
    assert sum(waits) < 61.0
    assert waits[-1] == 0.0


def test_item_cap_only_shrinks() -> None:
    capped = limits()
    capped.cap_items(512)
    capped.cap_items(2048)
    assert capped.item_cap == 512


@pytest.mark.obligation("26")
def test_budget_counts_what_is_under_way() -> None:
    bound = limits(token_budget=100)
    first = booked(bound, 60)
    with pytest.raises(BudgetExceededError, match="60 under way"):
        bound.reserve(0.0, 101)
    waiting = bound.reserve(0.0, 60)  # fits if the first costs less than it may
    assert isinstance(waiting, Future)
    assert not waiting.done()
    bound.settle(first, spent=20)
    assert waiting.done()
    bound.settle(first, spent=999)  # once only
    second = booked(bound, 80)
    bound.settle(second, spent=0)  # failed requests cost nothing
    assert bound.tokens_spent == 20
    with pytest.raises(BudgetExceededError, match="20 tokens are spent"):
        bound.reserve(0.0, 81)


def booked(bound: Limits, tokens: int) -> Reservation:
    reservation = bound.reserve(0.0, tokens)
    assert isinstance(reservation, Reservation)
    return reservation


def test_a_budget_counts_the_most_and_a_pace_the_estimate() -> None:
    bound = limits(token_budget=100, tokens_per_minute=20)
    assert bound.reserve(0.0, 10, 80).starts_at == 0.0
    assert isinstance(bound.reserve(0.0, 10, 30), Future)
    assert bound.reserve(0.0, 10, 20).starts_at == 0.0


def test_a_service_that_counts_more_than_was_thought_possible_is_believed_from_then_on() -> None:
    bound = limits(token_budget=1000)
    bound.settle(booked(bound, 100), spent=250)
    assert bound.affordable([100] * 9) == 3  # 750 are left
    with pytest.raises(BudgetExceededError, match="may need 1,000"):
        bound.reserve(0.0, 400)


def test_how_many_items_a_budget_has_room_for() -> None:
    assert limits().affordable([10] * 7) == 7
    bound = limits(token_budget=35)
    booked(bound, 30)
    assert bound.affordable([10, 20, 10]) == 2  # what is under way may turn out to cost nothing
    assert bound.affordable([36, 1]) == 0
    assert bound.affordable([]) == 0


def test_who_stops_waiting_for_the_budget_disturbs_nobody() -> None:
    bound = limits(token_budget=10)
    first = booked(bound, 10)
    gone, waiting = bound.reserve(0.0, 10), bound.reserve(0.0, 10)
    assert isinstance(gone, Future)
    assert isinstance(waiting, Future)
    gone.cancel()
    bound.settle(first, spent=0)
    assert waiting.done()


def test_a_refused_booking_reserves_nothing() -> None:
    bound = limits(token_budget=10, requests_per_minute=1)
    for _ in range(3):
        with pytest.raises(BudgetExceededError):
            bound.reserve(0.0, 11)
    assert bound.reserve(0.0, 10).starts_at == 0.0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), max_size=30), st.integers(0, 200))
def test_a_budget_is_never_overspent_by_honest_estimates(steps: list[tuple[int, int]], total: int) -> None:
    budget = TokenBudget(total)
    for estimate, spent in steps:
        try:
            assert budget.reserve(estimate) == estimate
        except BudgetExceededError:
            continue
        budget.settle(estimate, min(spent, estimate))
    assert budget.spent <= total
    assert budget.pending == 0


def test_who_gives_up_before_sending_gives_everything_back() -> None:
    bound = limits(requests_per_minute=1, tokens_per_minute=100, token_budget=1000)
    bound.learn(0.0, {REQUESTS_LEFT: "2", TOKENS_LEFT: "150"})
    sent = booked(bound, 100)
    for _ in range(3):
        waiting = booked(bound, 100)
        assert waiting.starts_at == 60.0  # not 120 and 180, behind those who gave up
        bound.cancel(waiting)
        bound.cancel(waiting)  # twice does no harm
    bound.settle(sent, spent=100)
    bound.cancel(sent)  # nor does it for one that was sent
    assert bound.tokens_spent == 100
    assert bound.affordable([900, 1]) == 1


def test_a_quota_gets_back_what_was_not_sent() -> None:
    bound = limits()
    bound.learn(0.0, {REQUESTS_LEFT: "1", TOKENS_LEFT: "50"})
    bound.cancel(booked(bound, 50))
    assert booked(bound, 50).starts_at == 0.0
    assert booked(bound, 1).starts_at == 60.0
