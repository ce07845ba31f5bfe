"""Seconds of a piece of work, and of two pieces in turns, so that what disturbs the machine disturbs both."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping


def seconds(work: Callable[[], object]) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


LONG_S = 5.0
"""A call that takes longer is not repeated: its start is nothing beside it."""


def best_of(work: Callable[[], object], *, runs: int = 3) -> float:
    """Seconds of the fastest of some calls after one warm-up, or of the warm-up alone if that takes long."""
    first = seconds(work)
    return first if first > LONG_S else min(seconds(work) for _ in range(runs))


def in_turns(works: Mapping[str, Callable[[], object]], *, rounds: int = 5, warm_up: bool = True) -> dict[str, float]:
    """Median seconds of several pieces of work that run one after the other, round by round.

    Every one is called once before, unless `warm_up` is False because a call takes so long that its start is nothing.
    """
    for work in works.values() if warm_up else ():
        work()
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            times[name].append(seconds(work))
    return {name: statistics.median(taken) for name, taken in times.items()}
