"""The tools of the other tests here: mutants are reproducible, and a box reports whatever an input does."""

from __future__ import annotations

import os
import signal
import time

from tests.fuzz import box
from tests.fuzz.box import run_boxed
from tests.fuzz.mutations import MAX_GROWTH, Field, Layout, Seed, mutants

SEED = Seed(
    b"HEAD\0\0\0\4data" + bytes(range(100)), Layout(((0, 4), (4, 12)), (Field(4, 4, "big"),)), lambda data: data + b"!"
)


def test_mutants_are_the_same_every_time_and_differ_from_each_other() -> None:
    first, second = (list(mutants([SEED, Seed(b"other")], 400)) for _ in range(2))
    assert first == second
    assert len(set(first)) > 250
    assert all(len(data) <= len(SEED.data) + MAX_GROWTH + 1 for data in first)
    assert first[10:20] == list(mutants([SEED, Seed(b"other")], 10, start=10))


def test_mutants_reach_numbers_blocks_and_checksums() -> None:
    made = list(mutants([SEED], 400))
    assert any(data[4:8] == b"\xff\xff\xff\xff" and data[8:12] == b"data" for data in made)
    assert any(data.count(b"HEAD") > 1 for data in made)
    assert any(not data.startswith(b"HEAD") and b"data" in data for data in made)
    assert 100 < sum(data.endswith(b"!") for data in made) < 300


def misbehave(number: int, *arguments: str) -> str:
    """The target of the test below: each input does another thing."""
    if number == 3:
        raise ValueError("a foreign error")
    if number == 5:
        os.kill(os.getpid(), signal.SIGSEGV)
    if number == 7:
        bytearray(4 * box.MEMORY_BYTES)
    if number == 9:
        box.faulthandler.dump_traceback_later(0.2, exit=True)  # as the box does, only sooner
        time.sleep(60)
    return f"fine {arguments[0]}"


def test_a_box_names_errors_crashes_hangs_and_hunger_and_goes_on() -> None:
    result = run_boxed("tests.fuzz.test_mutations:misbehave", "so far", count=12)
    assert sorted(result.failures) == [3, 5, 7, 9]
    assert "a foreign error" in result.failures[3]
    assert "-11" in result.failures[5]
    assert "MemoryError" in result.failures[7]
    assert "Timeout" in result.failures[9]
    assert result.outcomes["fine so far"] >= 1
