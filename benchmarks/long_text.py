"""One text of 8,192 tokens through full-size text towers: time, and peak of memory above the weights.

    python benchmarks/long_text.py [--write]

Random weights and token ids (seed 0), each case in a process of its own, attention "sdpa", no padding. Linux only: the
peak is that of private memory (see `load.py`), sampled every 2 ms while the text is computed.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from machine import PeakMemory
from reporting import heading, in_own_process, run, table

TOKENS = 8192
CASES = (("v1", "float32"), ("v1", "bfloat16"), ("v2", "float32"), ("v2", "bfloat16"))
NOTES = """
Full-size text towers with random weights. Memory is the peak of private memory above the loaded model's.
All heads' scores at once would take 3.2 GB (v1) or 4.3 GB (v2) of float32 per layer.
Where the load exceeds the number of processors, the times are upper bounds; memory does not depend on it.
"""
COLUMNS = ("model", "type", ">time", ">processor time", ">memory above the weights")


def measure(folder: str, dtype: str) -> dict[str, float]:
    """Seconds, processor seconds, and private memory above that of the loaded model, in bytes."""
    import torch

    from jina_clip_integrations.modeling import JinaClipModel

    model = JinaClipModel.from_pretrained(folder, dtype=dtype)
    del model.vision_model
    ids = torch.randint(5, 30000, (1, TOKENS), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        model.get_text_features(ids[:, :64])
        with PeakMemory() as memory:
            began, busy = time.perf_counter(), time.process_time()
            vector = model.get_text_features(ids).pooler_output
            taken, cpu_taken = time.perf_counter() - began, time.process_time() - busy
    if not bool(vector.isfinite().all()):
        raise RuntimeError("the vector is not finite")
    return {"seconds": taken, "cpu_seconds": cpu_taken, "peak": memory.peak - memory.start}


def report() -> str:
    """The table, with the machine on top."""
    from random_checkpoint import write_random_checkpoint

    rows = []
    with tempfile.TemporaryDirectory() as root:
        for version, dtype in CASES:
            folder = Path(root, version)
            if not folder.exists():
                write_random_checkpoint(folder, version)
            r = in_own_process(__file__, str(folder), dtype)
            times = f"{r['seconds']:.0f} s", f"{r['cpu_seconds']:.0f} s"
            rows.append((version, dtype, *times, f"{r['peak'] / 1e9:.2f} GB"))
    return f"{heading(f'One text of {TOKENS:,} tokens', __file__)}{NOTES}\n{table(COLUMNS, rows)}"


if __name__ == "__main__":
    run(report, doc=__doc__, case=measure)
