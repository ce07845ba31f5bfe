"""How many workers a cluster can hold, and what each of them gets: a GPU, or a share of the CPUs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ray
import ray.data

from ..errors import ConfigurationError
from ..settings import require_integer

CPUS_PER_WORKER = 4
"""Threads of a model on a CPU: more of them gain little, and each further model costs its weights in memory."""


@dataclass(frozen=True, kw_only=True)
class WorkerPlan:
    """Actors of one model each."""

    workers: int
    """How many."""
    cpus: float
    """CPUs of each; its threads too."""
    gpus: float = 0
    """GPUs of each: 1, a part of one, or 0."""

    @classmethod
    def for_cluster(
        cls,
        *,
        backend: Any = "api",
        workers: int | None = None,
        gpus_per_worker: float | None = None,
        nodes: Sequence[Mapping[str, float]] | None = None,
    ) -> WorkerPlan:
        """A plan for the cluster that this process is attached to.

        Args:
            backend: With `local` one worker per GPU, or without GPUs one per 4 CPUs; a remote one needs one worker per
                2 CPUs, since each has many requests in flight.
            workers: How many; None = as many as that.
            gpus_per_worker: Share of a GPU; None = 1 where there are GPUs and the backend computes here.
            nodes: What each machine has (`CPU`, `GPU`); None = Ray is asked.

        Raises:
            ConfigurationError: more workers than the cluster can hold.
        """
        held = [node["Resources"] for node in ray.nodes() if node["Alive"]] if nodes is None else nodes
        cpus = [int(node.get("CPU", 0)) for node in held]
        gpus = sum(node.get("GPU", 0) for node in held)
        computes = backend not in ("api", "sagemaker")
        each = gpus_per_worker if gpus_per_worker is not None else float(computes and gpus > 0)
        if workers is None:
            by_cpu = sum(cpus) // (CPUS_PER_WORKER if computes else 2)
            workers = max(1, int(gpus // each if each else by_cpu))
        require_integer("workers", workers, minimum=1)
        # A worker lives on one machine, so what counts is how often its share fits into each.
        share = next((n for n in range(max(cpus, default=0), 0, -1) if sum(c // n for c in cpus) >= workers), 0)
        if each * workers > gpus or share == 0:
            raise ConfigurationError(
                f"workers={workers} with {each:g} GPUs each: the cluster has {gpus:g} GPUs and {sum(cpus)} CPUs"
            )
        return cls(workers=workers, cpus=share, gpus=each)

    def map_arguments(self) -> dict[str, Any]:
        """Keyword arguments of `Dataset.map_batches`.

        One batch at a time is queued at an actor: a second one would wait there while another actor is idle.
        """
        return {
            "compute": ray.data.ActorPoolStrategy(size=self.workers, max_tasks_in_flight_per_actor=1),
            "num_cpus": self.cpus,
            "num_gpus": self.gpus,
        }
