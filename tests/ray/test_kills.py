"""Programs, workers and a machine killed in the middle of a job: no row is lost or doubled, or computed again."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from pyarrow import parquet

from jina_clip_integrations.retrieval.vector_table import to_vectors
from tests.ray.conftest import ROOT, RayCluster
from tests.ray.fake import expected_text

TEXTS = [f"text {number:04d}" for number in range(400)]
BATCH = 10
"""Texts of a partition, which are computed at once."""

PATIENCE_S = 120.0


@dataclass
class Job:
    """A job that is killed, and what was in place at every kill."""

    cluster: RayCluster
    folder: Path
    kills: int = 0
    snapshots: list[tuple[set[str], int]] = field(default_factory=list)
    """Texts of the finished partitions, and the length of the record then."""

    @property
    def log(self) -> Path:
        return self.folder / "log"

    @property
    def errors(self) -> Path:
        return self.folder / "stderr"

    @property
    def gate(self) -> Path:
        return self.folder / "gate"

    @property
    def sink(self) -> Path:
        return self.folder / "out"

    def start(self, workers: int = 2) -> subprocess.Popen[str]:
        """A program that runs the job from where it is."""
        arguments = [self.cluster.address, self.folder, workers]
        with self.errors.open("w") as errors:
            return subprocess.Popen(
                [sys.executable, "-m", "tests.ray.driver", *map(str, arguments)],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=self.cluster.environment,
                cwd=ROOT,
            )

    def recorded(self) -> list[str]:
        """Lines on what was computed: the process and the text."""
        return self.log.read_text().splitlines()

    def allow(self) -> None:
        """Let one more partition be computed, if the last one that was allowed is."""
        if len(self.recorded()) >= self.gate.stat().st_size:
            self.open_gate(BATCH)

    def open_gate(self, texts: int) -> None:
        """Let so many more texts be computed, so that a slow machine leaves as much for the next kill as a fast one."""
        with self.gate.open("ab") as file:
            file.write(b"." * texts)

    def finished(self) -> int:
        """Partitions with a receipt."""
        return len(list((self.sink / "_jina_clip" / "done").glob("*.json")))

    def note(self) -> None:
        """Remember what is finished. Receipts first: what they are about was recorded before."""
        names = [path.stem for path in (self.sink / "_jina_clip" / "done").glob("*.json")]
        texts: set[str] = set()
        for name in names:
            texts.update(parquet.read_table(self.sink / f"part-{name}.parquet")["input"].to_pylist())
        self.snapshots.append((texts, len(self.recorded())))
        self.kills += 1

    def workers(self) -> list[int]:
        """Processes that computed something and live, the one that did so last at the end."""
        seen = dict.fromkeys(int(line.split()[0]) for line in reversed(self.recorded()))
        return [process for process in reversed(seen) if is_alive(process)]

    def kill_workers(self, program: subprocess.Popen[str], count: int) -> None:
        """Kill so many workers, one after the other, and see each time that the job goes on."""
        for _ in range(count):
            self.go_on(program)
            self.kill_worker()
        self.go_on(program)

    def kill_worker(self) -> None:
        """Kill a worker that reads, computes or writes."""
        self.open_gate(2 * BATCH)
        time.sleep(random.uniform(0, 0.2))
        victim = self.workers()[-1]
        os.kill(victim, signal.SIGKILL)
        wait_for(lambda: not is_alive(victim))
        self.note()

    def kill_program(self, program: subprocess.Popen[str]) -> None:
        """Kill the program; its workers are ended by the cluster."""
        program.kill()
        program.communicate()
        wait_for(lambda: not self.workers())
        self.note()

    def go_on(self, program: subprocess.Popen[str]) -> None:
        """Let one more partition be finished."""
        until = self.finished() + 1

        def is_so_far() -> bool:
            self.allow()
            return (self.finished() >= until and bool(self.workers())) or program.poll() is not None

        wait_for(is_so_far)
        assert program.poll() is None, self.errors.read_text()[-2000:]


def is_alive(process: int) -> bool:
    try:
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_for(condition: Callable[[], bool]) -> None:
    until_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < until_s, "nothing happened"
        time.sleep(0.05)


def check_output(job: Job, report: dict[str, Any]) -> None:
    """Every row once, in order, with its own vector; nothing finished was computed again."""
    table = parquet.read_table(job.sink)
    assert table["input"].to_pylist() == TEXTS
    expected = np.stack([expected_text(text) for text in TEXTS])
    np.testing.assert_allclose(to_vectors(table["embedding"], 8), expected, atol=1e-6)
    assert (report["rows"], report["failed"]) == (len(TEXTS), 0)
    computed = [line.split(maxsplit=1)[1] for line in job.recorded()]
    assert set(computed) == set(TEXTS)
    for finished, length in job.snapshots:
        assert finished.isdisjoint(computed[length:])
    assert not list(job.sink.rglob("*.tmp"))


def test_a_job_survives_what_is_killed(ray_cluster: RayCluster, tmp_path: Path, effort: int) -> None:
    job = Job(ray_cluster, tmp_path)
    (tmp_path / "x.txt").write_text("\n".join(TEXTS))
    job.log.touch()
    job.gate.touch()
    for _ in range(effort):
        program = job.start()
        job.kill_workers(program, 2)
        job.kill_program(program)
    # A machine of the cluster, with the third worker on it.
    ray_cluster.tell("add")
    program = job.start(workers=3)
    job.kill_workers(program, 2)
    ray_cluster.tell("kill")
    job.note()
    job.go_on(program)
    job.kill_program(program)
    program = job.start()
    job.kill_workers(program, 3)
    job.open_gate(10 * len(TEXTS))
    output, _ = program.communicate(timeout=PATIENCE_S)
    assert program.returncode == 0, job.errors.read_text()[-2000:]
    assert job.kills >= 10
    # Ray may print what it has left to say behind the report.
    report, _ = json.JSONDecoder().raw_decode(output.rpartition("report ")[2])
    check_output(job, report)
