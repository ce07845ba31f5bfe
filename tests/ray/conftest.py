"""One local Ray cluster for the whole suite: two CPUs, no dashboard. Programs attach to it by its address."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
RAY_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # what Ray will do one day, and warns of until then
    "PYTHONPATH": str(ROOT),  # functions of the tests are found by name in the workers
    "TEAM_KEY": "the-team-key",  # what replicas of the server ask for
}


STARTS = 3
"""Attempts to start a cluster."""


class ClusterError(Exception):
    """The process of the cluster ended."""


class RayCluster:
    """The cluster's process."""

    def __init__(self) -> None:
        command = [sys.executable, str(Path(__file__).with_name("cluster.py"))]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=self.environment,
            cwd=ROOT,
        )
        try:
            self.address = self._read()
        except ClusterError:
            self.close()
            raise
        """Where programs attach: `ray.init(address=...)`."""

    @property
    def environment(self) -> dict[str, str]:
        """For programs that attach, without a key of the person who runs the tests."""
        kept = {name: value for name, value in os.environ.items() if "JINA" not in name}
        return {**kept, **RAY_ENVIRONMENT}

    def tell(self, word: str) -> None:
        """`add` a node, or `kill` it."""
        assert self._process.stdin is not None
        print(word, file=self._process.stdin, flush=True)
        assert self._read() == "done"

    def _read(self) -> str:
        assert self._process.stdout is not None
        # Ray's own messages may come between.
        for line in self._process.stdout:
            if line.strip() == "done" or line.strip().replace(".", "").replace(":", "").isdigit():
                return line.strip()
        raise ClusterError

    def close(self) -> None:
        """End the cluster and its processes."""
        # Not `communicate`: workers of Ray may keep the output open for a while.
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()
        self._process.wait(timeout=60)


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[RayCluster]:
    """A cluster of two CPUs that outlives whoever attaches to it."""
    cluster = start_cluster()
    yield cluster
    cluster.close()


def start_cluster() -> RayCluster:
    """A cluster. Ray's own processes wait for each other half a minute, which a busy machine may exceed."""
    for _ in range(STARTS - 1):
        with contextlib.suppress(ClusterError):
            return RayCluster()
    return RayCluster()


@pytest.fixture(scope="session")
def ray_driver(ray_cluster: RayCluster) -> Iterator[Any]:
    """The module `ray`, this process attached to the cluster."""
    os.environ.update({name: value for name, value in RAY_ENVIRONMENT.items() if name.startswith("RAY_")})
    import ray

    ray.init(address=ray_cluster.address, log_to_driver=False, namespace="tests")
    yield ray
    ray.shutdown()


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs run in this process, by workers that got what travels to a cluster, and no cluster is needed."""
    import pyarrow as pa
    import ray.cloudpickle

    from jina_clip_integrations.ray import cluster, dataset
    from jina_clip_integrations.ray.partition_worker import PARTITION, PartitionWorker
    from jina_clip_integrations.ray.workers import WorkerPlan

    def run_here(job: Any, secrets: Any, pending: Any, workers: Any) -> Iterator[dict[str, Any]]:
        worker = PartitionWorker(*ray.cloudpickle.loads(ray.cloudpickle.dumps((job, secrets))))
        for number in pending:
            yield from worker(pa.table({PARTITION: [number]})).to_pylist()

    monkeypatch.setattr(cluster, "attached", contextlib.nullcontext)
    monkeypatch.setattr(dataset, "attach", lambda: None)
    monkeypatch.setattr(dataset, "run_partitions", run_here)
    monkeypatch.setattr(WorkerPlan, "for_cluster", lambda **asked: WorkerPlan(workers=asked["workers"] or 1, cpus=1))
