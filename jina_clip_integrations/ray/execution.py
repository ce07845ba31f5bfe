"""The part that Ray Data has in a job: it spreads partitions over workers, and starts workers anew that die."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import ray
import ray.data

from .partition_worker import PARTITION, PartitionJob, PartitionWorker
from .recipe import Secrets
from .workers import WorkerPlan

MAX_BLOCKS = 10_000
"""Blocks of the dataset of partitions; with more partitions than that a block holds several."""


def attach() -> None:
    """Attach to the cluster that `RAY_ADDRESS` names, or start one of this machine, unless the program has done so."""
    if not ray.is_initialized():
        ray.init(log_to_driver=False)


def run_partitions(
    job: PartitionJob, secrets: Secrets, pending: Sequence[int], workers: WorkerPlan
) -> Iterator[dict[str, Any]]:
    """What became of each partition, in the order in which they are finished.

    The dataset holds numbers only: rows never pass through the object store, so that memory is bounded by what a worker
    holds of its partition. Raises `ray.exceptions.RayError` where Ray gives up.
    """
    dataset = ray.data.from_items(
        [{PARTITION: number} for number in pending], override_num_blocks=min(len(pending), MAX_BLOCKS)
    )
    # A block of which a worker dies is never dropped, whatever this process has set for its own datasets.
    dataset.context.max_errored_blocks = 0
    dataset.context.enable_progress_bars = False
    answers = dataset.map_batches(
        PartitionWorker,
        fn_constructor_args=(job, secrets),
        batch_size=1,
        batch_format="pyarrow",
        **workers.map_arguments(),
    )
    yield from answers.iter_rows()
