"""How long a full-size checkpoint takes to load, and how much private memory at most.

    python benchmarks/load.py [--write]

Each case runs in a process of its own, on a checkpoint of the published size with random weights (seed 0). Private
memory is what the process alone occupies (`RssAnon` in /proc/self/status), so the file's own pages, which the
system shares and takes back at will, do not count. Linux only.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from machine import PeakMemory
from reporting import heading, in_own_process, run, table

CASES = (("v1", "float32"), ("v2", "bfloat16"), ("v2", "float32"))
NOTES = """
Random weights of the published size and type, files in the page cache. Memory is private memory beyond what
the process had with PyTorch and transformers imported; the ratio is peak to weights.
Where the load exceeds the number of processors, the times are upper bounds; memory does not depend on it.
"""
COLUMNS = ("model", "file", "in memory", ">weights", ">time", ">processor time", ">peak", ">afterwards", ">ratio")


def measure(folder: str, dtype: str) -> dict[str, float]:
    """Load once: seconds, processor seconds; in bytes the weights' size, and private memory beyond the start, at its
    peak and afterwards.
    """
    import torch

    from jina_clip_integrations.modeling import JinaClipModel

    torch.ones(8) @ torch.ones(8)  # libraries that are loaded on first use do not count
    with PeakMemory() as memory:
        began, busy = time.perf_counter(), time.process_time()
        model = JinaClipModel.from_pretrained(folder, dtype=dtype)
        taken, cpu_taken = time.perf_counter() - began, time.process_time() - busy
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    sizes = {"weights": weights, "peak": memory.peak - memory.start, "after": memory.end - memory.start}
    return {"seconds": taken, "cpu_seconds": cpu_taken, **sizes}


def report() -> str:
    """The table, with the machine on top."""
    from random_checkpoint import write_random_checkpoint

    rows = []
    with tempfile.TemporaryDirectory() as root:
        for version, dtype in CASES:
            folder = Path(root, version)
            if not folder.exists():
                config = write_random_checkpoint(folder, version)
            r = in_own_process(__file__, str(folder), dtype)
            weights, peak, after = (f"{r[key] / 1e9:.2f} GB" for key in ("weights", "peak", "after"))
            times = f"{r['seconds']:.1f} s", f"{r['cpu_seconds']:.1f} s"
            stored = str(config.dtype).removeprefix("torch.")
            rows.append((version, stored, dtype, weights, *times, peak, after, f"{r['peak'] / r['weights']:.2f}"))
    return f"{heading('Loading a full-size checkpoint', __file__)}{NOTES}\n{table(COLUMNS, rows)}"


if __name__ == "__main__":
    run(report, doc=__doc__, case=measure)
