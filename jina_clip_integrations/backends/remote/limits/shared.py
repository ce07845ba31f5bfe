"""The limits of a backend that shares those of its account with other processes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from itertools import accumulate
from typing import Protocol, runtime_checkable

from . import REQUESTS_LEFT, TOKENS_LEFT, Limits
from .budget import Reservation, Turn


@runtime_checkable
class Limiter(Protocol):
    """What hands out turns to many processes. Only `ask` waits for an answer; the rest is told, at no cost in time."""

    @property
    def tokens_per_minute(self) -> int | None:
        """Tokens that the account may use within a minute; no request should be larger."""

    @property
    def token_budget(self) -> int | None:
        """Tokens that all together may spend."""

    @property
    def tokens_left(self) -> int | None:
        """What was left of the budget when it last refused a request."""

    def ask(self, tokens: int, max_tokens: int) -> Future[Turn]:
        """Queue for a turn. Cancelling the future leaves the queue, or gives back a turn that came too late."""

    def settle(self, key: str, spent: int) -> None:
        """The request that had the turn `key` cost this."""

    def cancel(self, key: str) -> None:
        """The request that had the turn `key` was not sent."""

    def learn(self, headers: Mapping[str, str]) -> None:
        """What a response said is left of the minute."""

    def hold(self, seconds: float) -> None:
        """Let nobody start before these seconds have passed."""

    def slow_down(self, requests_per_minute: int | None, tokens_per_minute: int | None) -> None:
        """Keep to a rate that the service named."""


class SharedLimits(Limits):
    """Asks a `Limiter` for what is the account's: rates and budget. How many requests fly is still found out here."""

    def __init__(self, limiter: Limiter, *, max_concurrency: int, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(max_concurrency=max_concurrency)
        self._limiter = limiter
        self._clock = clock

    def reserve(self, _now: float, tokens: int, max_tokens: int | None = None) -> Future[Turn]:
        """Ask for a turn; a future that never fails and holds a reservation or the error that there is none."""
        return self._limiter.ask(tokens, tokens if max_tokens is None else max_tokens)

    def settle(self, reservation: Reservation, *, spent: int) -> None:
        """As in `Limits`; the limiter is told."""
        if reservation.open:
            self._limiter.settle(reservation.key, spent)
        super().settle(reservation, spent=spent)

    def cancel(self, reservation: Reservation) -> None:
        """As in `Limits`; the limiter is told."""
        if reservation.open:
            self._limiter.cancel(reservation.key)
        super().cancel(reservation)

    def learn(self, _now: float, headers: Mapping[str, str]) -> None:
        """Pass on what concerns the account."""
        told = {name: headers[name] for name in (REQUESTS_LEFT, TOKENS_LEFT) if name in headers}
        if told:
            self._limiter.learn(told)

    def hold(self, until: float) -> None:
        """Let nothing start before `until`, here and elsewhere."""
        super().hold(until)
        self._limiter.hold(max(0.0, until - self._clock()))

    def slow_down(self, *, requests_per_minute: int | None = None, tokens_per_minute: int | None = None) -> None:
        """Pass on the rate."""
        self._limiter.slow_down(requests_per_minute, tokens_per_minute)

    def affordable(self, costs: Sequence[int]) -> int:
        """As in `Limits`, by what the limiter last said; it has the last word when it is asked again."""
        left = self._limiter.tokens_left
        return len(costs) if left is None else sum(cost <= left for cost in accumulate(costs))
