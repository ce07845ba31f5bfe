"""Requests in flight: few at first, more while the service keeps up, fewer when it objects."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future

INITIAL_LIMIT = 2
"""Requests in flight to begin with: what the smallest published tier allows."""


class Ticket(Future[None]):
    """A place in the queue; done when the request may be sent. A future, so that threads and tasks can wait for it."""

    generation = 0
    """How often the limit had been lowered when the ticket was granted."""


class ConcurrencyLimiter:
    """Bounds the requests in flight by `limit`, which adapts between 1 and `ceiling`. Thread-safe."""

    def __init__(self, ceiling: int, *, initial: int = INITIAL_LIMIT) -> None:
        self.ceiling = ceiling
        self.limit = min(initial, ceiling)
        self._lock = threading.Lock()
        self._in_flight: set[Ticket] = set()
        self._queue: deque[Ticket] = deque()
        self._generation = 0
        self._successes = 0
        """Requests that went well since the limit was last changed."""
        self._limit_was_hit = False
        """Whether the service has said that it was too many."""

    @property
    def in_flight(self) -> int:
        """Tickets that are granted and not given back."""
        return len(self._in_flight)

    def acquire(self) -> Ticket:
        """A ticket, done already if there is room. Give it back with `release` in any case."""
        ticket = Ticket()
        with self._lock:
            self._queue.append(ticket)
            self._grant()
        return ticket

    def release(self, ticket: Ticket) -> None:
        """Give a ticket back, used or not."""
        ticket.cancel()  # one that still queues must not be granted to nobody
        with self._lock:
            self._in_flight.discard(ticket)
            self._grant()

    def raise_limit(self) -> None:
        """A request succeeded, so one more may be in flight: the limit doubles with every round of requests.

        Once the service has found it too many, it grows by one per round.
        """
        # Slow start, then additive increase, multiplicative decrease: what TCP does to find an unknown capacity.
        with self._lock:
            self._successes += 1
            if self.limit < self.ceiling and (not self._limit_was_hit or self._successes >= self.limit):
                self.limit += 1
                self._successes = 0
            self._grant()

    def lower_limit(self, ticket: Ticket, allowed: int | None = None) -> None:
        """The service found too many requests in flight.

        Of one burst of refusals only the first halves the limit: a request that was sent before the last halving says
        nothing about the limit since. `allowed` is what the service says it allows; it becomes the ceiling.
        """
        with self._lock:
            if allowed is not None and allowed >= 1:  # 0 would stop everything
                self.ceiling = min(self.ceiling, allowed)
            if ticket.generation == self._generation:
                self.limit = max(1, self.limit // 2)
                self._generation += 1
            self._limit_was_hit = True
            self.limit = min(self.limit, self.ceiling)
            self._successes = 0

    def _grant(self) -> None:  # with the lock held
        while self._queue and len(self._in_flight) < self.limit:
            ticket = self._queue.popleft()
            if ticket.set_running_or_notify_cancel():  # False: it was given back while it queued
                ticket.generation = self._generation
                self._in_flight.add(ticket)
                ticket.set_result(None)
