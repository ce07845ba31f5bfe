"""Requests and tokens per minute: what the settings allow, and what the service says is left."""

from __future__ import annotations

import math
from collections import deque

WINDOW_S = 60.0
"""Services count by the minute."""


class RateLimiter:
    """A sliding window: at most `limit` units in any 60 seconds. An amount above the limit counts as the limit.

    Not thread-safe; neither is `RemainingQuota`. `Limits` holds the lock.
    """

    def __init__(self, limit: int, window_s: float = WINDOW_S) -> None:
        self.limit = limit
        self.window_s = window_s
        self._taken: deque[list[float]] = deque()  # [when, amount], in order of time
        self._under_way = 0.0
        """Units of requests that began and have no time yet."""

    def earliest(self, now: float, amount: float) -> float:
        """First time, not before `now`, at which `amount` more units fit; infinite while requests under way are in the
        way."""
        amount = min(amount, self.limit)  # a larger one would never fit
        room = self.limit - self._under_way
        if amount > room:
            return math.inf
        # Not before an entry that is booked already, so that entries stay in order of time.
        start = max(now, self._taken[-1][0]) if self._taken else now
        # `now` may be a time to come, and what lies there given back: older entries are passed over, not forgotten.
        recent = [entry for entry in self._taken if entry[0] + self.window_s > start]
        used = sum(taken for _, taken in recent)
        for when, taken in recent:
            if used + amount <= room:
                break
            used -= taken
            start = max(start, when + self.window_s)
        return start

    def take(self, when: float, amount: float) -> list[float]:
        """Book `amount` units at `when`; the entry may be corrected later."""
        entry = [when, min(amount, self.limit)]
        self._taken.append(entry)
        return entry

    def begin(self, amount: float) -> list[float]:
        """Book `amount` units for a request that somebody sends at a time of his own; they count until `finish`."""
        entry = [math.inf, min(amount, self.limit)]
        self._under_way += entry[1]
        return entry

    def finish(self, entry: list[float], now: float, amount: float) -> None:
        """A request that began is over, at `now`, and took `amount` units: a window from now on they count no more."""
        # From its end and not from its beginning: the service has counted it somewhere in between.
        self._under_way -= entry[1]
        entry[:] = [now, min(amount, self.limit)]
        self._taken.append(entry)

    def give_back(self, entry: list[float] | None) -> None:
        """Free an entry that is not used; whoever asks from now on may have its time."""
        if entry is not None and entry[0] == math.inf:
            self._under_way -= entry[1]
            return
        self._taken = deque(taken for taken in self._taken if taken is not entry)

    def forget(self, now: float) -> None:
        """Drop what is older than the window; `now` is the present."""
        while self._taken and self._taken[0][0] + self.window_s <= now:
            self._taken.popleft()


class RemainingQuota:
    """What the service says is left of the current minute. A header that cannot be true is ignored from then on."""

    def __init__(self, window_s: float = WINDOW_S) -> None:
        self._window_s = window_s
        self._last_value: float | None = None  # last value of the header
        self._left: float | None = None  # the same, less what was booked since
        self._began = -math.inf
        self._waited = False
        self._unreliable = False

    def learn(self, now: float, value: str | None) -> None:
        """Note a header's value, seen at `now`. What does not parse is ignored."""
        try:
            left = float(value) if value is not None else math.nan
        except ValueError:
            return
        if not math.isfinite(left) or left < 0 or self._unreliable:
            return
        # A whole minute was waited for, and still nothing is left: some gateways send a constant.
        self._unreliable = left <= 0 and self._waited
        # The service does not say when its minute begins; a value that rises shows that a new one has begun.
        if self._last_value is None or left > self._last_value or self._over(now):
            self._began = now
        self._last_value = self._left = left
        self._waited = False

    def earliest(self, now: float, amount: float) -> float:
        """First time, not before `now`, at which `amount` fits, as far as is known."""
        if self._unreliable or self._left is None or self._over(now) or amount <= self._left:
            return now
        return self._began + self._window_s

    def take(self, when: float, amount: float) -> None:
        """Count `amount` as used from `when` on."""
        if self._left is None:
            return
        if self._over(when):
            self._waited, self._left = self._left < amount, None
        else:
            self._left -= amount

    def give_back(self, amount: float) -> None:
        """Count `amount`, which was taken, as left."""
        if self._left is not None and self._last_value is not None:
            self._left = min(self._left + amount, self._last_value)

    def _over(self, now: float) -> bool:
        return now >= self._began + self._window_s
