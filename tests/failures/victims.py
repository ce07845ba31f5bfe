"""Processes that tests kill: forks of one server process in which everything is imported, so that a start takes 20 ms.

    with start(embed_words, folder) as victim:
        victim.kill_after(0.05)

What a victim reports with `report(...)` comes back in `victim.reports()`, also from one that was killed.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from jina_clip_integrations.backends.base import Batch, BatchResult
from tests.fakes import BlockingBackend

BATCH_S = 0.002
"""What a batch takes at least, so that a kill meets the computation as well as the writing."""

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.failures.preloaded"])

_reports: Connection | None = None


class SlowBackend(BlockingBackend):
    """Content-derived vectors; takes its time for every batch."""

    batch_size = 8
    cache_identity = "victim"

    def embed(self, batch: Batch) -> BatchResult:
        time.sleep(BATCH_S)
        return super().embed(batch)


def make_backend() -> SlowBackend:
    """For `--backend tests.failures.victims:make_backend`."""
    return SlowBackend()


BACKEND = ("--backend", "tests.failures.victims:make_backend")


def report(value: Any) -> None:
    """Tell the test something, at once."""
    if _reports is not None:
        _reports.send(value)


def run_command(*arguments: str) -> None:
    """A run of the command line; its exit code and what it wrote to stderr are reported."""
    import io

    from jina_clip_integrations.cli.main import main

    sys.stderr = errors = io.StringIO()
    sys.stdout = io.StringIO()
    report("started")
    code = main(list(arguments))
    report((code, errors.getvalue()))


@dataclass
class Victim:
    """A process of `start`."""

    process: BaseProcess
    connection: Connection
    _read: list[Any] = field(default_factory=list)

    def kill_after(self, seconds: float) -> bool:
        """Kill it so long after its first report. Whether it was still running."""
        assert self.connection.poll(30), "the victim never started"
        time.sleep(seconds)
        was_running = self.process.is_alive()
        if self.process.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(self.process.pid, signal.SIGKILL)
        self.process.join(10)
        return was_running and self.process.exitcode == -signal.SIGKILL

    def next_report(self, timeout_s: float = 30) -> Any:
        """Its next report."""
        assert self.connection.poll(timeout_s), "the victim reports nothing"
        return self.connection.recv()

    def reports(self) -> list[Any]:
        """What it has reported since; a report that the kill tore is left out."""
        with suppress(EOFError, OSError):
            while self.connection.poll(0):
                self._read.append(self.connection.recv())
        return self._read

    def finish(self, timeout_s: float = 60) -> list[Any]:
        """Wait for its end. All reports."""
        deadline = time.monotonic() + timeout_s
        while self.process.is_alive() and time.monotonic() < deadline:
            self.reports()
            self.process.join(0.01)
        assert not self.process.is_alive(), "the victim does not end"
        return self.reports()


@contextmanager
def start(work: Callable[..., None], *arguments: Any) -> Iterator[Victim]:
    """`work(*arguments)` in a process of its own, killed at the end of the block at the latest."""
    receiving, sending = CONTEXT.Pipe(duplex=False)
    process = CONTEXT.Process(target=_inside, args=(sending, work, arguments), daemon=True)
    process.start()
    sending.close()
    try:
        yield Victim(process, receiving)
    finally:
        process.kill()
        process.join(10)
        process.close()
        receiving.close()


def _inside(connection: Connection, work: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    global _reports
    _reports = connection
    try:
        work(*arguments)
    except BaseException:
        report(("failed", traceback.format_exc()))


def command(*arguments: object) -> tuple[int, str]:
    """The exit code and stderr of an undisturbed run."""
    with start(run_command, *map(str, arguments)) as victim:
        result = victim.finish()[-1]
        assert result[0] != "failed", result[1]
        return result


def duration_of(*arguments: object) -> float:
    """Seconds of an undisturbed run of the command, from its first report to its end."""
    with start(run_command, *map(str, arguments)) as victim:
        assert victim.next_report() == "started"
        started = time.monotonic()
        code, errors = victim.finish()[-1]
        assert code == 0, errors
        return time.monotonic() - started


def kill_command(rng: random.Random, within_s: float, *arguments: object) -> bool:
    """Start the command and kill it at a random moment. Whether it was killed before its end."""
    with start(run_command, *map(str, arguments)) as victim:
        return victim.kill_after(rng.uniform(0, within_s))
