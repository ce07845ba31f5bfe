"""Programs, workers and a machine killed in the middle of a job: no row is lost or doubled, or computed again."""

from __future__ import annotations

import json
import os
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
PAUSE_S = 0.2
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
    def sink(self) -> Path:
        return self.folder / "out"

    def start(self, workers: int = 2) -> subprocess.Popen[str]:
        """A program that runs the job from where it is."""
        arguments = [self.cluster.address, self.folder / "x.txt", self.sink, self.log, workers, PAUSE_S]
        with self.errors.open("w") as errors:
            return subprocess.Popen(
                [sys.executable, "-m", "tests.ray.driver", *map(str, arguments)],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=self.cluster.environment,
                cwd=ROOT,
            )

    def finished(self) -> int:
        """Partitions with a receipt."""
        return len(list((self.sink / "_jina_clip" / "done").glob("*.json")))

    def note(self) -> None:
        """Remember what is finished. Receipts first: what they are about was recorded before."""
        names = [path.stem for path in (self.sink / "_jina_clip" / "done").glob("*.json")]
        texts: set[str] = set()
        for name in names:
            texts.update(parquet.read_table(self.sink / f"part-{name}.parquet")["input"].to_pylist())
        self.snapshots.append((texts, len(self.log.read_text().splitlines())))
        self.kills += 1

    def workers(self) -> list[int]:
        """Processes that computed something and live, the one that did so last at the end."""
        seen = dict.fromkeys(int(line.split()[0]) for line in reversed(self.log.read_text().splitlines()))
        return [process for process in reversed(seen) if is_alive(process)]

    def kill_worker(self) -> None:
        """Kill a worker that computes."""
        wait_for(lambda: bool(self.workers()))
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

    def go_on(self, program: subprocess.Popen[str], more: int = 2) -> None:
        """Let so many more partitions be finished."""
        until = self.finished() + more
        wait_for(lambda: self.finished() >= until or program.poll() is not None)
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
    computed = [line.split(maxsplit=1)[1] for line in job.log.read_text().splitlines()]
    assert set(computed) == set(TEXTS)
    for finished, length in job.snapshots:
        assert finished.isdisjoint(computed[length:])
    assert not list(job.sink.rglob("*.tmp"))


def test_a_job_survives_what_is_killed(ray_cluster: RayCluster, tmp_path: Path, effort: int) -> None:
    job = Job(ray_cluster, tmp_path)
    (tmp_path / "x.txt").write_text("\n".join(TEXTS))
    job.log.touch()
    for _ in range(2 * effort):
        program = job.start()
        for _ in range(2):
            job.go_on(program, 1)
            job.kill_worker()
        job.go_on(program, 1)
        job.kill_program(program)
    # A machine of the cluster, with the third worker on it.
    ray_cluster.tell("add")
    program = job.start(workers=3)
    job.go_on(program, 2)
    ray_cluster.tell("kill")
    job.note()
    job.go_on(program, 1)
    job.kill_worker()
    job.go_on(program, 1)
    job.kill_program(program)
    program = job.start()
    job.go_on(program, 1)
    job.kill_worker()
    output, _ = program.communicate(timeout=PATIENCE_S)
    assert program.returncode == 0, job.errors.read_text()[-2000:]
    assert job.kills >= 10
    check_output(job, json.loads(output.rpartition("report ")[2]))
