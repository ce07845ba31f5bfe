"""How many processors this process may use, and whether the user has said how many threads a computation takes."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
"""Environment variables by which a user sets the threads of a computation; torch follows them, and so does this."""

CGROUPS, MEMBERSHIP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
"""Where Linux shows control groups, and which of them this process belongs to."""


def processors() -> int:
    """Processors that this process may use: those it is bound to, but no more than its container's quota buys.

    A quota of 1.5 counts as 2: it limits time, not parallelism.
    """
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota()
    return bound if quota is None else max(1, min(bound, math.ceil(quota)))


def cpu_quota(cgroups: Path = CGROUPS, membership: Path = MEMBERSHIP) -> float | None:
    """Seconds of processor time per second that the control groups allow; None for no limit, or no Linux.

    Both versions of the interface are read; the smallest limit on the way from the process's group to the root holds.
    """
    try:
        lines = membership.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    limits: list[float] = []
    for number, controllers, path in (line.split(":", 2) for line in lines if line.count(":") >= 2):
        if number == "0":
            limits += _limits(cgroups, path, "cpu.max")
        elif "cpu" in controllers.split(","):
            limits += _limits(cgroups / "cpu", path, "cpu.cfs_quota_us", "cpu.cfs_period_us")
    return min(limits, default=None)


def _limits(mount: Path, path: str, *files: str) -> Iterator[float]:
    group = PurePosixPath(path)
    for folder in (group, *group.parents):  # in a container the outer part of the path may not be there
        try:
            texts = [(mount / str(folder).lstrip("/") / file).read_text(encoding="ascii") for file in files]
        except (OSError, ValueError):
            continue
        words = " ".join(texts).split()
        if len(words) == 2 and all(word.isdigit() and int(word) > 0 for word in words):  # "max" and -1 are no limit
            yield int(words[0]) / int(words[1])


def threads_are_given(environment: Mapping[str, str] | None = None) -> bool:
    """Whether the user has said how many threads a computation takes."""
    given = os.environ if environment is None else environment
    return any(given.get(name, "").strip() for name in THREAD_VARIABLES)
