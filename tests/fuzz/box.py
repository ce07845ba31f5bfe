"""Runs inputs through a parser in a process of its own, under limits of memory and time, and says what went wrong.

A crash of the process (a segmentation fault, the end of its memory) and a hang are failures with the input's number,
like an exception that the parser must not raise.

    result = run_boxed("tests.fuzz.test_images:load", "png", count=2000)
    assert not result.failures, result

The target is a function of this repository that makes the inputs and tries them:
`def load(number: int, *arguments: str) -> str`. It returns a word for the outcome, which is counted, and raises what
counts as a failure.
"""

from __future__ import annotations

import faulthandler
import importlib
import json
import resource
import subprocess
import sys
import tempfile
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

SECONDS_PER_INPUT = 20
"""After so long an input counts as one that hangs: thousands of times what one takes, even on a busy machine."""

MEMORY_BYTES = 1 << 30
"""Address space that a box may take on top of what its imports took."""

MAX_FAILURES = 20
"""Failures after which a box gives up."""


@dataclass
class BoxResult:
    """What became of the inputs."""

    outcomes: Counter[str] = field(default_factory=Counter)
    """Outcome to number of inputs."""
    failures: dict[int, str] = field(default_factory=dict)
    """Number of an input to what it did."""
    peak_bytes: int = 0
    """Resident memory of the process at its highest."""

    @property
    def tried(self) -> int:
        """Inputs that were tried."""
        return self.outcomes.total() + len(self.failures)


def run_boxed(target: str, *arguments: str, count: int, start: int = 0) -> BoxResult:
    """Try the inputs `start` to `start + count` of `target`, going on behind one that ends the process."""
    total, end = BoxResult(), start + count
    while start < end and len(total.failures) < MAX_FAILURES:
        tried, death = _run_process(target, arguments, start, end, total)
        if death is None:
            break
        total.failures[start + tried] = death
        start += tried + 1
    return total


def _run_process(
    target: str, arguments: tuple[str, ...], start: int, end: int, total: BoxResult
) -> tuple[int, str | None]:
    """One process, whose outcomes are added to `total`. How many inputs it finished, and how it died if it did."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        command = [sys.executable, "-m", "tests.fuzz.box", str(log), target, str(start), str(end), *arguments]
        ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        lines = log.read_text().splitlines() if log.exists() else []
    for number, line in enumerate(lines, start):
        outcome, failure, peak = json.loads(line)
        total.peak_bytes = max(total.peak_bytes, peak)
        if failure:
            total.failures[number] = failure
        else:
            total.outcomes[outcome] += 1
    return len(lines), f"the process ended with {ran.returncode}: {ran.stderr[-2000:]}" if ran.returncode else None


def _inside(log: str, target: str, start: str, end: str, *arguments: str) -> None:
    module, _, name = target.partition(":")
    try_input = getattr(importlib.import_module(module), name)
    failures = 0
    with open(log, "w", buffering=1) as lines:  # a line goes out at once, whatever the next input does
        for number in range(int(start), int(end)):
            if number == int(start) + 1:  # by then the target has imported what it needs
                limit_memory()
            faulthandler.dump_traceback_later(SECONDS_PER_INPUT, exit=True)
            outcome = failure = ""
            try:
                outcome = try_input(number, *arguments)
            except Exception:
                failure = traceback.format_exc()[-2000:]
            failures += bool(failure)
            peak = _peak_bytes()
            lines.write(json.dumps([outcome, failure, peak]) + "\n")
            if failures >= MAX_FAILURES:
                break
    faulthandler.cancel_dump_traceback_later()


def _peak_bytes() -> int:
    """Resident memory at its highest. Not `ru_maxrss`, which begins with that of the process that started this one."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def limit_memory() -> None:
    """Let this process take `MEMORY_BYTES` more than it has now."""
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY_BYTES,) * 2)


if __name__ == "__main__":
    faulthandler.enable()
    _inside(*sys.argv[1:])
