"""The limits of one account for many processes: who may send next, and what becomes of a process that is gone.

Arithmetic again, without a clock and without anything that carries messages; `ray/limiter.py` puts it into an actor.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ....errors import BudgetExceededError
from .budget import Reservation

if TYPE_CHECKING:
    from . import Limits

MISSED = 4
"""Roll calls in a row that a lease may miss. Counted and not timed: a limiter that was itself held up for a while finds
the answers in its mailbox only after it has looked for them once."""


@dataclass
class Lease:
    """What one request was promised, from its asking for a turn to its end."""

    key: str
    tokens: int
    max_tokens: int
    reservation: Reservation | None = None
    """None while it queues."""
    started: bool = False
    """Whether its owner knows of its turn, so that it may have been sent."""
    missed: int = 0
    """Roll calls since its owner was last heard of."""


@dataclass(frozen=True)
class Refusal:
    """A request that the budget has no room for."""

    error: BudgetExceededError
    tokens_left: int
    """Tokens that could still be spent, were nothing under way to cost anything."""


class Turns:
    """Hands out turns in the order in which they were asked for. Not thread-safe. Times are seconds on one clock.

    A request counts against the rates from its turn until a window after its end, whenever in between it was sent and
    counted by the service: so no window of the service's holds more than is allowed, however late messages are.
    """

    def __init__(self, limits: Limits, *, max_concurrency: int | None = None) -> None:
        self.limits = limits
        self.max_concurrency = max_concurrency
        self._queue: deque[Lease] = deque()
        self._leases: dict[str, Lease] = {}
        """All that queue or have their turn, by key."""

    @property
    def waiting(self) -> int:
        """Requests that queue."""
        return len(self._queue)

    @property
    def under_way(self) -> int:
        """Requests that have their turn and are not settled."""
        return len(self._leases) - len(self._queue)

    def ask(self, key: str, tokens: int, max_tokens: int) -> None:
        """Queue for a turn; `tokens` are an estimate, `max_tokens` the upper bound of the cost."""
        lease = self._leases[key] = Lease(key, tokens, max_tokens)
        self._queue.append(lease)

    def advance(self, now: float) -> tuple[Mapping[str, Refusal | None], float]:
        """Who has his turn now (None) or never (`Refusal`), and in how many seconds to look again at the latest.

        Infinite where only a message can change anything.
        """
        decided: dict[str, Refusal | None] = {}
        wait_s = math.inf
        while self._queue and (self.max_concurrency is None or self.under_way < self.max_concurrency):
            lease = self._queue[0]
            try:
                answer = self.limits.begin(now, lease.tokens, lease.max_tokens)
            except BudgetExceededError as error:
                decided[lease.key] = Refusal(error, self.limits.tokens_left or 0)
                self.cancel(lease.key)
                continue
            if not isinstance(answer, Reservation):
                wait_s = answer
                break
            lease.reservation = answer
            self._queue.popleft()
            decided[lease.key] = None
        return decided, wait_s

    def start(self, key: str) -> bool:
        """The owner knows of its turn. False if it took so long that the turn was given to others: ask again."""
        lease = self._leases.get(key)
        if lease is None or lease.reservation is None:
            return False
        lease.started = True
        return True

    def settle(self, now: float, key: str, spent: int) -> None:
        """The request is over and cost `spent` tokens. What is not known is passed over."""
        lease = self._leases.get(key)
        if lease is not None and lease.reservation is not None:
            del self._leases[key]
            self.limits.finish(now, lease.reservation, spent=spent)

    def cancel(self, key: str) -> None:
        """The request was not sent and will not be."""
        lease = self._leases.pop(key, None)
        if lease is None:
            return
        if lease.reservation is None:
            self._queue.remove(lease)
        else:
            self.limits.cancel(lease.reservation)

    def renew(self, keys: Iterable[str]) -> None:
        """The owner of these is alive."""
        for key in keys:
            if (lease := self._leases.get(key)) is not None:
                lease.missed = 0

    def call_roll(self, now: float) -> list[str]:
        """Take back what belongs to owners that were not heard of for `MISSED` roll calls, and say which."""
        for lease in self._leases.values():
            lease.missed += 1
        lost = [lease for lease in self._leases.values() if lease.missed > MISSED]
        for lease in lost:
            # One that started may have been sent and billed, at most for its upper bound.
            if lease.started:
                self.settle(now, lease.key, lease.max_tokens)
            else:
                self.cancel(lease.key)
        return [lease.key for lease in lost]
