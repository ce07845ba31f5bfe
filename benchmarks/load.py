"""How long a full-size checkpoint takes to load, and how much private memory at most.

    python benchmarks/load.py [--write benchmarks/results/load.md]

Each case runs in a process of its own, on a checkpoint of the published size with random weights (seed 0). Private
memory is what the process alone occupies (`RssAnon` in /proc/self/status), so the file's own pages, which the
system shares and takes back at will, do not count. Linux only.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from machine import describe, private_bytes

CASES = (("v1", "float32"), ("v2", "bfloat16"), ("v2", "float32"))


def measure(folder: Path, dtype: str) -> dict[str, float]:
    """Load once: seconds, processor seconds; in bytes the weights' size, and private memory beyond the start, at its
    peak and afterwards.
    """
    import torch

    from jina_clip_integrations.modeling import JinaClipModel

    torch.ones(8) @ torch.ones(8)  # libraries that are loaded on first use do not count
    start = peak = private_bytes()
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.002):
            peak = max(peak, private_bytes())

    thread = threading.Thread(target=watch)
    thread.start()
    began, busy = time.perf_counter(), time.process_time()
    model = JinaClipModel.from_pretrained(folder, dtype=dtype)
    seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - busy
    done.set()
    thread.join()
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    after = private_bytes()
    sizes = {"weights": weights, "peak": max(peak, after) - start, "after": after - start}
    return {"seconds": seconds, "cpu_seconds": cpu_seconds, **sizes}


def run_case(dtype: str, folder: Path) -> dict[str, float]:
    """`measure` in a process of its own."""
    command = [sys.executable, __file__, "--case", str(folder), dtype]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def report() -> str:
    from random_checkpoint import write_random_checkpoint

    lines = [
        "# Loading a full-size checkpoint",
        "",
        f"`python benchmarks/load.py`, {describe()}.",
        "",
        "Random weights of the published size and type, files in the page cache. Memory is private memory beyond what",
        "the process had with PyTorch and transformers imported; the ratio is peak to weights.",
        "Where the load exceeds the number of processors, the times are upper bounds; memory does not depend on it.",
        "",
        "| model | file | in memory | weights | time | processor time | peak | afterwards | ratio |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    with tempfile.TemporaryDirectory() as root:
        for version, dtype in CASES:
            folder = Path(root, version)
            if not folder.exists():
                config = write_random_checkpoint(folder, version)
            r = run_case(dtype, folder)
            sizes = [f"{r[key] / 1e9:.2f} GB" for key in ("weights", "peak", "after")]
            stored = str(config.dtype).removeprefix("torch.")
            lines.append(
                f"| {version} | {stored} | {dtype} | {sizes[0]} | {r['seconds']:.1f} s | {r['cpu_seconds']:.1f} s "
                f"| {sizes[1]} | {sizes[2]} | {r['peak'] / r['weights']:.2f} |"
            )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", type=Path, help="also write the report here")
    parser.add_argument("--case", nargs=2, metavar=("FOLDER", "DTYPE"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.case:
        print(json.dumps(measure(Path(args.case[0]), args.case[1])))
        return
    text = report()
    print(text)
    if args.write:
        args.write.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
