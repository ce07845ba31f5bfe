"""What is freed stays with the process: seen by the pages that the system has to deliver."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from jina_clip_integrations.backends.local.allocator import SET_BY_USER, is_chosen_by_user, keep_freed_memory

FAULTS = """
import resource, sys
import torch
from jina_clip_integrations.backends.local.allocator import keep_freed_memory

keep = keep_freed_memory() if sys.argv[1] == "keep" else None
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    [torch.ones(6 * 2**20) for _ in range(10)]  # 24 MB each, 6,144 pages
print(keep, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(mode: str, **environment: str) -> tuple[str, int]:
    """What `keep_freed_memory` says, and the page faults of the work after it."""
    own = {name: value for name, value in os.environ.items() if name not in SET_BY_USER}
    command = [sys.executable, "-c", FAULTS, mode]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, env={**own, **environment}).stdout
    keep, count = printed.split()
    return keep, int(count)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library decides by itself")
def test_pages_are_delivered_once() -> None:
    """20 rounds of 240 MB are 1,228,800 pages, of which 61,440 are enough where memory is kept."""
    _, fetched_again = faults("leave")
    said, fetched = faults("keep")
    assert said == "True"
    assert fetched < 80_000
    assert fetched < fetched_again  # by how much differs: glibc by itself returns memory now and then, or always


def test_who_has_chosen_keeps_the_choice() -> None:
    assert not is_chosen_by_user({"PATH": "/bin", "MALLOC_TRIM_THRESHOLD_": ""})
    for name in SET_BY_USER:
        assert is_chosen_by_user({name: "1000000"})
    said, _ = faults("keep", MALLOC_TRIM_THRESHOLD_="1000000")
    assert said == "False"


def test_it_is_asked_once() -> None:
    assert keep_freed_memory() is keep_freed_memory()
