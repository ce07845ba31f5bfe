"""Tokens that may be spent at all, with an upper bound for the requests still under way."""

from __future__ import annotations

import math
from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import accumulate
from typing import TypeAlias

from ....errors import BudgetExceededError, JinaClipError


@dataclass
class Reservation:
    """A request's place in time and its share of the budget, until the service has counted its tokens."""

    starts_at: float
    """When it may be sent, on the clock that was handed in."""
    reserved: int
    """Tokens set aside in the budget."""
    token_entry: list[float] | None = None
    request_entry: list[float] | None = None
    tokens: int = 0
    """Its tokens by estimate."""
    open: bool = True
    key: str = ""
    """What a limiter of many processes knows it by."""


Turn: TypeAlias = Reservation | JinaClipError
"""What a limiter of many processes answers: a turn, or why there will be none."""


class TokenBudget:
    """At most `total` tokens are spent; for each request the upper bound of its cost is set aside. Not thread-safe."""

    def __init__(self, total: int, spent: int = 0) -> None:
        self.total = total
        self.spent = spent
        self.pending = 0
        self._excess = 1.0
        """By what factor the service once exceeded the upper bound; bounds are multiplied by it from then on."""
        self._waiting: list[Future[None]] = []

    def reserve(self, tokens: int) -> int | None:
        """Set aside the cost of a request of at most `tokens`; None if requests under way have to be settled first.

        Raises `BudgetExceededError` if it could overspend even if nothing under way cost anything.
        """
        needed = math.ceil(tokens * self._excess)
        if self.spent + self.pending + needed > self.total:
            if self.pending and self.spent + needed <= self.total:  # they may cost less than their upper bounds
                return None
            raise BudgetExceededError(
                f"token_budget={self.total:,}: {self.spent:,} tokens are spent, {self.pending:,} under way, and the "
                f"next request may need {needed:,}; raise token_budget or send less. Nothing more was sent"
            )
        self.pending += needed
        return needed

    @property
    def left(self) -> int:
        """The largest upper bound that could still be met if nothing under way cost anything."""
        return max(0, math.floor((self.total - self.spent) / self._excess))

    def affordable(self, costs: Iterable[int]) -> int:
        """How many of these costs, from the first on, could be met if nothing under way cost anything."""
        return sum(cost <= self.left for cost in accumulate(costs))

    def next_settlement(self) -> Future[None]:
        """Done as soon as something under way was settled."""
        self._waiting.append(Future())
        return self._waiting[-1]

    def settle(self, reserved: int, spent: int) -> None:
        """Replace what was set aside by what was spent."""
        self.pending -= reserved
        self.spent += spent
        # A service may count otherwise than documented; it is believed, or the next requests would overspend too.
        if reserved and spent > reserved:
            self._excess *= spent / reserved
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if future.set_running_or_notify_cancel():  # False: whoever waited was cancelled
                future.set_result(None)
