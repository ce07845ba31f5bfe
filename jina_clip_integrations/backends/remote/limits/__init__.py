"""How much, how fast and how many at once: arithmetic on times that are handed in, no clock of its own.

One `Limits` belongs to one backend and is shared by all threads and tasks that use it. Where many processes share the
limits of one account, each has a `SharedLimits`, which asks a `Limiter` for its turns; `Turns` is what such a limiter
hands out. Three parts:

- `ConcurrencyLimiter`: requests in flight.
- `RateLimiter` and `RemainingQuota`: requests and tokens per minute, from settings, from the service's headers, and
  from its refusals.
- `TokenBudget`: tokens that may be spent at all.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future

from .budget import Reservation, TokenBudget, Turn
from .concurrency import ConcurrencyLimiter, Ticket
from .rate import WINDOW_S, RateLimiter, RemainingQuota

__all__ = [
    "REQUESTS_LEFT",
    "TOKENS_LEFT",
    "WINDOW_S",
    "ConcurrencyLimiter",
    "Limits",
    "RateLimiter",
    "RemainingQuota",
    "Reservation",
    "Ticket",
    "TokenBudget",
    "Turn",
]

REQUESTS_LEFT = "x-ratelimit-remaining-requests"
TOKENS_LEFT = "x-ratelimit-remaining-tokens"


class Limits:
    """All limits of one backend. Thread-safe; times are seconds on one monotonic clock."""

    def __init__(
        self,
        *,
        max_concurrency: int,
        requests_per_minute: int | None = None,
        tokens_per_minute: int | None = None,
        token_budget: int | None = None,
        tokens_spent: int = 0,
        window_s: float = WINDOW_S,
    ) -> None:
        """`tokens_spent` were spent of the budget before; `window_s` is what the service means by a minute."""
        self.concurrency = ConcurrencyLimiter(max_concurrency)
        self.item_cap: int | None = None
        """Items per request that the service turned out to allow."""
        self._budget = None if token_budget is None else TokenBudget(token_budget, tokens_spent)
        self._spent = 0
        self._window_s = window_s
        self._requests = RateLimiter(requests_per_minute, window_s) if requests_per_minute else None
        self._tokens = RateLimiter(tokens_per_minute, window_s) if tokens_per_minute else None
        self._requests_left: RemainingQuota | None = None  # until a header speaks of it
        self._tokens_left: RemainingQuota | None = None
        self._held_until = -math.inf
        self._lock = threading.Lock()

    def reserve(
        self, now: float, tokens: int, max_tokens: int | None = None
    ) -> Reservation | Future[None] | Future[Turn]:
        """Reserve a start time for `tokens` by estimate, and a share of the budget for the `max_tokens` it may cost.

        A future, and nothing reserved, if the budget's room depends on requests under way: try again when it is done.
        Raises `BudgetExceededError`, and then reserves nothing either.
        """
        # The budget first, since it may refuse; and under one lock with the future, so that no settlement slips in
        # between and leaves the future waiting for another one.
        with self._lock:
            share = 0
            if self._budget is not None:
                reserved = self._budget.reserve(tokens if max_tokens is None else max_tokens)
                if reserved is None:
                    return self._budget.next_settlement()
                share = reserved
            for limiter in (self._requests, self._tokens):
                if limiter is not None:
                    limiter.forget(now)
            start = self._earliest(now, tokens)
            request_entry = self._requests.take(start, 1) if self._requests else None
            token_entry = self._tokens.take(start, tokens) if self._tokens else None
            if self._requests_left:
                self._requests_left.take(start, 1)
            if self._tokens_left:
                self._tokens_left.take(start, tokens)
            return Reservation(start, share, token_entry, request_entry, tokens)

    def begin(self, now: float, tokens: int, max_tokens: int) -> Reservation | float:
        """A reservation for a request that begins now, at a time that only its sender knows, and ends with `finish`.

        Or, if it may not, the seconds until asking again is worth it; infinite = when a request under way is settled.
        Raises `BudgetExceededError`.
        """
        with self._lock:
            share = 0 if self._budget is None else self._budget.reserve(max_tokens)
            if share is None:
                return math.inf
            for limiter in (self._requests, self._tokens):
                if limiter is not None:
                    limiter.forget(now)
            if (start := self._earliest(now, tokens)) > now:
                if self._budget is not None:
                    self._budget.settle(share, 0)
                return start - now
            if self._requests_left:
                self._requests_left.take(now, 1)
            if self._tokens_left:
                self._tokens_left.take(now, tokens)
            token_entry = self._tokens.begin(tokens) if self._tokens else None
            return Reservation(now, share, token_entry, self._requests.begin(1) if self._requests else None, tokens)

    def finish(self, now: float, reservation: Reservation, *, spent: int) -> None:
        """`settle` what `begin` gave."""
        with self._lock:
            if reservation.open and self._requests and reservation.request_entry is not None:
                self._requests.finish(reservation.request_entry, now, 1)
            if reservation.open and self._tokens and reservation.token_entry is not None:
                self._tokens.finish(reservation.token_entry, now, spent)
        self.settle(reservation, spent=spent)

    def settle(self, reservation: Reservation, *, spent: int) -> None:
        """Close a reservation with the tokens that the service counted, 0 for a request that failed. Once only."""
        with self._lock:
            if not reservation.open:
                return
            reservation.open = False
            self._spent += spent
            if self._budget is not None:
                self._budget.settle(reservation.reserved, spent)
            # The rate limiter goes on with what was counted instead of the estimate.
            if reservation.token_entry is not None:
                reservation.token_entry[1] = float(spent)

    def cancel(self, reservation: Reservation) -> None:
        """Give back what was reserved for a request that was not sent and will not be."""
        with self._lock:
            if not reservation.open:
                return
            reservation.open = False
            if self._budget is not None:
                self._budget.settle(reservation.reserved, 0)
            if self._requests:
                self._requests.give_back(reservation.request_entry)
            if self._tokens:
                self._tokens.give_back(reservation.token_entry)
            if self._requests_left:
                self._requests_left.give_back(1)
            if self._tokens_left:
                self._tokens_left.give_back(reservation.tokens)

    def learn(self, now: float, headers: Mapping[str, str]) -> None:
        """Note the remaining-headers of a response, seen at `now`."""
        if REQUESTS_LEFT not in headers and TOKENS_LEFT not in headers:  # most servers; no lock needed
            return
        with self._lock:
            self._requests_left = self._requests_left or RemainingQuota(self._window_s)
            self._tokens_left = self._tokens_left or RemainingQuota(self._window_s)
            self._requests_left.learn(now, headers.get(REQUESTS_LEFT))
            self._tokens_left.learn(now, headers.get(TOKENS_LEFT))

    def hold(self, until: float) -> None:
        """Let nothing start before `until`."""
        with self._lock:
            self._held_until = max(self._held_until, until)

    def held_until(self) -> float:
        """The time before which nothing may start."""
        with self._lock:
            return self._held_until

    def slow_down(self, *, requests_per_minute: int | None = None, tokens_per_minute: int | None = None) -> None:
        """Keep to a rate that the service named, unless a slower one is kept already."""
        with self._lock:
            self._requests = self._slowed(self._requests, requests_per_minute)
            self._tokens = self._slowed(self._tokens, tokens_per_minute)

    def _slowed(self, limiter: RateLimiter | None, per_minute: int | None) -> RateLimiter | None:
        if per_minute and limiter is None:
            return RateLimiter(per_minute, self._window_s)
        if per_minute and limiter is not None:  # the same one, since what it has booked counts on
            limiter.limit = min(limiter.limit, per_minute)
        return limiter

    def cap_items(self, cap: int) -> None:
        """Remember that the service takes at most `cap` items per request."""
        with self._lock:
            self.item_cap = cap if self.item_cap is None else min(self.item_cap, cap)

    def affordable(self, costs: Sequence[int]) -> int:
        """How many of these items, from the first on, the budget has room for; `costs` are upper bounds."""
        with self._lock:
            return len(costs) if self._budget is None else self._budget.affordable(costs)

    @property
    def tokens_left(self) -> int | None:
        """The largest upper bound of a cost that the budget has room for; None without a budget."""
        with self._lock:
            return None if self._budget is None else self._budget.left

    @property
    def tokens_spent(self) -> int:
        """Tokens that the service counted so far."""
        return self._spent

    def _earliest(self, now: float, tokens: int) -> float:
        """First time, not before `now`, that every limit allows. Repeated until no limit puts it off any further."""
        needs = ((self._requests_left, 1), (self._tokens_left, tokens), (self._requests, 1), (self._tokens, tokens))
        start = max(now, self._held_until)
        while True:
            later = start
            for limit, amount in needs:
                if limit is not None:
                    later = limit.earliest(later, amount)
            if later <= start:
                return start
            start = later
