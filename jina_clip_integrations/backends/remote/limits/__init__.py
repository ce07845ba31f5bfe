"""How much, how fast and how many at once: arithmetic on times that are handed in, no clock of its own.

One `Limits` belongs to one backend and is shared by all threads and tasks that use it. Three parts:

- `ConcurrencyLimiter`: requests in flight. Starts with few, grows while the service is content, shrinks when it objects.
- `Pace`: requests and tokens per minute, from settings, from the service's remaining-headers, from its refusals.
- `TokenBudget`: tokens that may be spent at all, counting the most that requests still under way may cost.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import accumulate

from ...errors import BudgetExceededError

WINDOW_S = 60.0
"""Services count by the minute."""

FIRST_WIDTH = 2
"""Requests in flight to begin with: what the smallest published tier allows."""

REQUESTS_LEFT = "x-ratelimit-remaining-requests"
TOKENS_LEFT = "x-ratelimit-remaining-tokens"


class Ticket(Future[None]):
    """A place in the gate's queue; done when it is one's turn. Waited for by threads and tasks alike."""

    generation = 0


class ConcurrencyLimiter:
    """Bounds the requests in flight at `width`, which adapts between 1 and `ceiling`."""

    def __init__(self, ceiling: int, *, first: int = FIRST_WIDTH) -> None:
        self.ceiling = ceiling
        self.width = min(first, ceiling)
        self._lock = threading.Lock()
        self._inside: set[Ticket] = set()
        self._queue: deque[Ticket] = deque()
        self._generation = 0
        self._content = 0
        self._found = False
        """Whether the service has said that it was too many."""

    def enter(self) -> Ticket:
        """A turn, done already if there is room. Give it back with `leave`, whatever became of it."""
        turn = Ticket()
        with self._lock:
            self._queue.append(turn)
            self._admit()
        return turn

    def leave(self, turn: Ticket) -> None:
        """Give a turn back, used or not."""
        turn.cancel()
        with self._lock:
            self._inside.discard(turn)
            self._admit()

    def content(self) -> None:
        """A request went well, so one more may be in flight: the width doubles each time that all have been answered.

        Once the service has found it too many, it takes as many as fit at once for one more.
        """
        with self._lock:
            self._content += 1
            if self.width < self.ceiling and (not self._found or self._content >= self.width):
                self.width += 1
                self._content = 0
            self._admit()

    def overloaded(self, turn: Ticket, limit: int | None = None) -> None:
        """The service found too many in flight. Requests that started before the last shrinking do not shrink again.

        `limit` is what the service says it allows; it becomes the ceiling.
        """
        with self._lock:
            if limit is not None and limit >= 1:
                self.ceiling = min(self.ceiling, limit)
            if turn.generation == self._generation:
                self.width = max(1, self.width // 2)
                self._generation += 1
            self._found = True
            self.width = min(self.width, self.ceiling)
            self._content = 0

    def _admit(self) -> None:
        while self._queue and len(self._inside) < self.width:
            turn = self._queue.popleft()
            if turn.set_running_or_notify_cancel():
                turn.generation = self._generation
                self._inside.add(turn)
                turn.set_result(None)


class RateLimiter:
    """At most `limit` units in any 60 seconds. An amount above the limit counts as the limit."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._taken: deque[list[float]] = deque()  # [when, amount], in order of time

    def earliest(self, now: float, amount: float) -> float:
        """First time, not before `now`, at which `amount` more units fit."""
        self._forget(now)
        amount = min(amount, self.limit)
        start = max(now, self._taken[-1][0]) if self._taken else now
        used = sum(entry[1] for entry in self._taken)
        for when, taken in self._taken:
            if used + amount <= self.limit:
                break
            used -= taken
            start = max(start, when + WINDOW_S)
        return start

    def take(self, when: float, amount: float) -> list[float]:
        """Book `amount` units at `when`; the entry may be corrected later."""
        entry = [when, min(amount, self.limit)]
        self._taken.append(entry)
        return entry

    def _forget(self, now: float) -> None:
        while self._taken and self._taken[0][0] + WINDOW_S <= now:
            self._taken.popleft()


class RemainingQuota:
    """What the service says is left of the current minute. A header that cannot be true is ignored from then on."""

    def __init__(self) -> None:
        self._said: float | None = None  # last value of the header
        self._left: float | None = None  # the same, less what was booked since
        self._began = -math.inf
        self._waited = False
        self._lying = False

    def learn(self, now: float, value: str | None) -> None:
        """Note a header's value, seen at `now`. What does not parse is ignored."""
        try:
            left = float(value) if value is not None else math.nan
        except ValueError:
            return
        if not math.isfinite(left) or left < 0 or self._lying:
            return
        self._lying = left <= 0 and self._waited  # a whole minute was waited for, and still nothing is left
        if self._said is None or left > self._said or self._over(now):
            self._began = now
        self._said = self._left = left
        self._waited = False

    def earliest(self, now: float, amount: float) -> float:
        """First time, not before `now`, at which `amount` fits, as far as is known."""
        if self._lying or self._left is None or self._over(now) or amount <= self._left:
            return now
        return self._began + WINDOW_S

    def take(self, when: float, amount: float) -> None:
        """Count `amount` as used from `when` on."""
        if self._left is None:
            return
        if self._over(when):
            self._waited, self._left = self._left < amount, None
        else:
            self._left -= amount

    def _over(self, now: float) -> bool:
        return now >= self._began + WINDOW_S


@dataclass
class Reservation:
    """A request's place in time and its share of the budget, until the service has counted."""

    starts_at: float
    """When it may be sent, on the clock that was handed in."""
    reserved: int
    """Tokens set aside in the budget."""
    token_entry: list[float] | None = None
    open: bool = True


class TokenBudget:
    """Tokens that may be spent in all; None = no bound. What is set aside for a request is the most it can cost."""

    def __init__(self, total: int | None) -> None:
        self.total = total
        self.spent = 0
        self.pending = 0
        self._excess = 1.0
        """How many times the most that was thought possible the service once counted."""
        self._waiting: list[Future[None]] = []

    def reserve(self, tokens: int) -> int | None:
        """Set aside what a request of at most `tokens` may cost; None if what is under way has to be known first.

        Raises `BudgetExceededError` if it could overspend even if nothing under way cost anything.
        """
        needed = math.ceil(tokens * self._excess)
        if self.total is not None and self.spent + self.pending + needed > self.total:
            if self.pending and self.spent + needed <= self.total:
                return None
            raise BudgetExceededError(
                f"token_budget={self.total:,}: {self.spent:,} tokens are spent, {self.pending:,} under way, and the "
                f"next request may need {needed:,}; raise token_budget or send less. Nothing more was sent"
            )
        self.pending += needed
        return needed

    def affordable(self, costs: Iterable[int]) -> int:
        """How many of these costs, from the first on, could be met if nothing under way cost anything."""
        if self.total is None:
            return len(list(costs))
        left = self.total - self.spent
        return sum(math.ceil(cost * self._excess) <= left for cost in accumulate(costs))

    def settled(self) -> Future[None]:
        """Done as soon as something under way was settled."""
        self._waiting.append(Future())
        return self._waiting[-1]

    def settle(self, reserved: int, spent: int) -> None:
        """Replace what was set aside by what was spent."""
        self.pending -= reserved
        self.spent += spent
        if reserved and spent > reserved:
            self._excess *= spent / reserved
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if future.set_running_or_notify_cancel():
                future.set_result(None)


class Limits:
    """All limits of one backend. Thread-safe; times are seconds on one monotonic clock."""

    def __init__(
        self,
        *,
        max_concurrency: int,
        requests_per_minute: int | None = None,
        tokens_per_minute: int | None = None,
        token_budget: int | None = None,
    ) -> None:
        self.gate = ConcurrencyLimiter(max_concurrency)
        self.item_cap: int | None = None
        """Items per request that the service turned out to allow."""
        self._budget = TokenBudget(token_budget)
        self._requests = RateLimiter(requests_per_minute) if requests_per_minute else None
        self._tokens = RateLimiter(tokens_per_minute) if tokens_per_minute else None
        self._requests_left = RemainingQuota()
        self._tokens_left = RemainingQuota()
        self._held_until = -math.inf
        self._lock = threading.Lock()

    def book(self, now: float, tokens: int, most: int | None = None) -> Reservation | Future[None]:
        """Reserve a start time for `tokens` by estimate, and a share of the budget for the `most` it may cost.

        A future, and nothing reserved, if what is under way decides whether the budget has room: try again when it is
        done. Raises `BudgetExceededError`, and then reserves nothing either.
        """
        with self._lock:
            reserved = self._budget.reserve(tokens if most is None else most)
            if reserved is None:
                return self._budget.settled()
            start = self._earliest(now, tokens)
            if self._requests:
                self._requests.take(start, 1)
            entry = self._tokens.take(start, tokens) if self._tokens else None
            self._requests_left.take(start, 1)
            self._tokens_left.take(start, tokens)
            return Reservation(start, reserved, entry)

    def settle(self, booking: Reservation, *, spent: int) -> None:
        """Close a booking with the tokens that the service counted, 0 for a request that failed. Once only."""
        with self._lock:
            if booking.open:
                booking.open = False
                self._budget.settle(booking.reserved, spent)
                if booking.token_entry is not None:
                    booking.token_entry[1] = float(spent)

    def learn(self, now: float, headers: Mapping[str, str]) -> None:
        """Note the remaining-headers of an answer."""
        with self._lock:
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
        """Keep to a pace that the service named, unless a slower one is kept already."""
        with self._lock:
            if requests_per_minute and (self._requests is None or requests_per_minute < self._requests.limit):
                self._requests = RateLimiter(requests_per_minute)
            if tokens_per_minute and (self._tokens is None or tokens_per_minute < self._tokens.limit):
                self._tokens = RateLimiter(tokens_per_minute)

    def cap_items(self, cap: int) -> None:
        """Remember that the service takes at most `cap` items per request."""
        with self._lock:
            self.item_cap = cap if self.item_cap is None else min(self.item_cap, cap)

    def affordable(self, costs: Iterable[int]) -> int:
        """How many items that may cost as much, from the first on, the budget has room for."""
        with self._lock:
            return self._budget.affordable(costs)

    @property
    def tokens_spent(self) -> int:
        """Tokens that the service counted so far."""
        return self._budget.spent

    def _earliest(self, now: float, tokens: int) -> float:
        start = max(now, self._held_until)
        while True:
            later = self._requests_left.earliest(start, 1)
            later = self._tokens_left.earliest(later, tokens)
            later = self._requests.earliest(later, 1) if self._requests else later
            later = self._tokens.earliest(later, tokens) if self._tokens else later
            if later <= start:
                return start
            start = later
