"""Freed memory stays with the process, so that a forward pass does not fetch the same pages from the system every time.

A layer's results take megabytes, each of which the C library would return to the system when it is freed and get back,
page by page and filled with zeros, for the next layer. glibc, the C library of most
Linux systems, can be told to keep it.
"""

from __future__ import annotations

import ctypes
import functools
import os
import platform
from collections.abc import Mapping

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3
"""Parameters of `mallopt(3)`."""

KEPT_BYTES = 512 * 2**20
"""Free memory at the end of the heap up to which nothing is returned."""

LARGEST_BYTES = 32 * 2**20
"""Size up to which blocks come from the heap; glibc takes no larger value."""

STEP_BYTES = 64 * 2**20
"""Address space by which a heap grows, and which it keeps: a thread's heaps are of this size."""

SET_BY_USER = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES", "LD_PRELOAD")
"""Environment variables of somebody who has chosen an allocator or its parameters already."""


@functools.cache
def keep_freed_memory() -> bool:
    """Let this process keep what it frees, up to `KEPT_BYTES`; returns whether it does so now.

    Nothing changes without glibc, or where the environment says how memory is to be handled.
    """
    if platform.libc_ver()[0] != "glibc" or is_chosen_by_user(os.environ):
        return False
    mallopt = ctypes.CDLL(None).mallopt
    parameters = {M_MMAP_THRESHOLD: LARGEST_BYTES, M_TRIM_THRESHOLD: KEPT_BYTES, M_TOP_PAD: STEP_BYTES}
    taken = [mallopt(parameter, value) for parameter, value in parameters.items()]  # 1 for yes; all are tried
    return all(taken)


def is_chosen_by_user(environment: Mapping[str, str]) -> bool:
    """Whether one of `SET_BY_USER` is set."""
    return any(environment.get(name) for name in SET_BY_USER)
