"""How long to wait before trying again: pure functions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import timezone
from email.utils import parsedate_to_datetime

from ..settings import RetryPolicy

NEVER_S = 10 * 365 * 86400.0
"""A wait from which on a server talks nonsense."""

JITTER = 0.25
"""Waits are lengthened by up to this share, so that clients that failed together do not return together."""


def retry_wait(policy: RetryPolicy, kind: str, attempt: int, retry_after_s: float | None, chance: float) -> float:
    """Seconds to wait after attempt number `attempt` (from 1); never less than the server asks for.

    `chance` in [0, 1) spreads the wait by up to `JITTER`, upwards.
    """
    # Jitter on a wait that the server names stays below a quarter of a second, so that it is not stretched much.
    if retry_after_s is not None and retry_after_s > 0:
        return retry_after_s + min(retry_after_s, 1.0) * JITTER * chance
    first, ceiling = policy.first_wait_s, policy.longest_wait_s
    if kind == "requests":
        first = policy.request_limit_wait_s
    elif kind == "tokens":
        first, ceiling = policy.token_limit_wait_s, max(ceiling, 60.0)  # the limit is over after a minute at most
    doubled = first * 2.0 ** min(attempt - 1, 30)  # beyond that a float may overflow
    return min(doubled, ceiling) * (1 + JITTER * chance)


def read_retry_after(headers: Mapping[str, str], wall: float) -> float | None:
    """The wait that a server asks for, in seconds from `wall` (Unix time); None if it asks for none or talks nonsense.

    Understands `retry-after-ms`, `retry-after` in seconds (fractions too) and as a date, which is measured against
    the server's own `date` where it sends one.
    """
    milliseconds = _seconds(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    text = headers.get("retry-after")
    seconds = _seconds(text)
    if seconds is not None or text is None:
        return seconds
    until = _unix(text)
    if until is None:
        return None
    there = _unix(headers.get("date", ""))  # by the server's clock, which may not agree with ours
    return max(0.0, until - (wall if there is None else there))


def _seconds(text: str | None) -> float | None:
    try:
        seconds = float((text or "").strip().rstrip("sS"))
    except ValueError:
        return None
    # Python reads "nan" and "inf" as numbers; neither is a wait.
    return seconds if math.isfinite(seconds) and 0 <= seconds < NEVER_S else None


def _unix(text: str) -> float | None:
    try:
        when = parsedate_to_datetime(text)
        # HTTP dates are in GMT (RFC 9110, section 5.6.7), said or not.
        return (when if when.tzinfo else when.replace(tzinfo=timezone.utc)).timestamp()
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
