"""One text of 8,192 tokens through full-size text towers: time, and peak of memory above the weights.

    python benchmarks/long_text.py [--write benchmarks/results/long_text.md]

Random weights and token ids (seed 0), each case in a process of its own, attention "sdpa", no padding. Linux only: the
peak is that of private memory (see `load.py`), sampled every 2 ms while the text is computed.
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

TOKENS = 8192
CASES = (("v1", "float32"), ("v1", "bfloat16"), ("v2", "float32"), ("v2", "bfloat16"))


def measure(folder: Path, dtype: str) -> dict[str, float]:
    """Seconds, processor seconds, and private memory above that of the loaded model, in bytes."""
    import torch

    from jina_clip_integrations.modeling import JinaClipModel

    model = JinaClipModel.from_pretrained(folder, dtype=dtype)
    del model.vision_model
    ids = torch.randint(5, 30000, (1, TOKENS), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        model.get_text_features(ids[:, :64])
        start = peak = private_bytes()
        done = threading.Event()

        def watch() -> None:
            nonlocal peak
            while not done.wait(0.002):
                peak = max(peak, private_bytes())

        thread = threading.Thread(target=watch)
        thread.start()
        began, busy = time.perf_counter(), time.process_time()
        vector = model.get_text_features(ids).pooler_output
        seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - busy
        done.set()
        thread.join()
    if not bool(vector.isfinite().all()):
        raise RuntimeError("the vector is not finite")
    return {"seconds": seconds, "cpu_seconds": cpu_seconds, "peak": peak - start}


def run_case(dtype: str, folder: Path) -> dict[str, float]:
    """`measure` in a process of its own."""
    command = [sys.executable, __file__, "--case", str(folder), dtype]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def report() -> str:
    from random_checkpoint import write_random_checkpoint

    lines = [
        f"# One text of {TOKENS:,} tokens",
        "",
        f"`python benchmarks/long_text.py`, {describe()}.",
        "",
        "Full-size text towers with random weights. Memory is the peak of private memory above the loaded model's.",
        "All heads' scores at once would take 3.2 GB (v1) or 4.3 GB (v2) of float32 per layer.",
        "Where the load exceeds the number of processors, the times are upper bounds; memory does not depend on it.",
        "",
        "| model | type | time | processor time | memory above the weights |",
        "| --- | --- | ---: | ---: | ---: |",
    ]
    with tempfile.TemporaryDirectory() as root:
        for version, dtype in CASES:
            folder = Path(root, version)
            if not folder.exists():
                write_random_checkpoint(folder, version)
            r = run_case(dtype, folder)
            times = f"{r['seconds']:.0f} s | {r['cpu_seconds']:.0f} s"
            lines.append(f"| {version} | {dtype} | {times} | {r['peak'] / 1e9:.2f} GB |")
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
