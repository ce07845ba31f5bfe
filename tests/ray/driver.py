"""A program that runs a job on the cluster of the tests, and tells how far it is: what the kill tests kill."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import ray

from jina_clip_integrations.ray import EmbedProgress, embed_dataset
from tests.ray.fake import make_fake

PAUSE_S = 0.05
"""What a batch takes."""


def tell(progress: EmbedProgress) -> None:
    """Say how many partitions are finished."""
    print("done", progress.partitions, flush=True)


def main() -> None:
    """Run the job that the arguments describe."""
    address, folder, workers = sys.argv[1:]
    base = Path(folder)
    ray.init(address=address, log_to_driver=False)
    report = embed_dataset(
        base / "x.txt",
        base / "out",
        backend=make_fake(base / "log", PAUSE_S, base / "gate"),
        workers=int(workers),
        partition_size=100,
        on_progress=tell,
    )
    print("report", json.dumps(report.to_dict()), flush=True)


if __name__ == "__main__":
    main()
