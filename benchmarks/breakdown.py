"""Where the time of a forward pass goes: matrix products, attention, norms, and everything that only moves or adds.

    python benchmarks/breakdown.py [--version v2] [--device auto] [--write]

PyTorch's profiler counts the time of every operator without the operators that it calls, on a GPU that of its kernels.
One image, and 512 tokens of texts that are 32 tokens long; random weights of full size, float32, and bfloat16 where
the device multiplies it natively. "Published" is `reference.py`, eager and in float32. The products of an eager
attention count as attention.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from full_size import MODEL_OPTIONS, checkpoint, choices, engine, plain_model
from reference import Reference
from reporting import heading, run, table
from torch.profiler import ProfilerActivity, profile

from jina_clip_integrations.backends.local.engine import Engine
from jina_clip_integrations.images.geometry import IMAGE_MEAN, IMAGE_STD

MEAN, STD = np.array(IMAGE_MEAN, np.float32), np.array(IMAGE_STD, np.float32)
TEXTS = [list(range(5, 37))] * 16
KINDS = {
    "matrix products": ("addmm", "::mm", "linear"),
    "attention": ("scaled_dot_product", "attn", "attention", "bmm", "softmax", "exp2"),
    "norms": ("layer_norm",),
}
REST = "rotation, activations, sums, copies"


def report(version: str, device: str, folder: str | None) -> str:
    """The table."""
    rows = []
    with checkpoint(version, folder) as path:
        reference = Reference(plain_model(path, choices(device)[0]))
        size = reference.config.vision_config.image_size
        pixels = np.random.default_rng(0).integers(0, 256, (1, size, size, 3), dtype=np.uint8)
        for what, work in _published(reference, pixels).items():
            rows.append([what, "published", "float32", *_shares(work, device)])
        del reference
        for choice in choices(device):
            for what, work in _ours(engine(path, choice), pixels).items():
                rows.append([what, "ours", choice.dtype, *_shares(work, device)])
    columns = ["", "", "type", ">ms", *(f">{kind}" for kind in (*KINDS, REST))]
    title = heading(f"Where the time goes, jina-clip-{version}", __file__)
    return f"{title}\n{table(columns, sorted(rows, key=lambda row: row[0]))}"


def _ours(ours: Engine, pixels: np.ndarray) -> dict[str, Callable[[], object]]:
    return {
        "one image": partial(ours.embed_pixels, pixels, mean=MEAN, std=STD),
        "16 texts": partial(ours.embed_ids, TEXTS),
    }


def _published(reference: Reference, pixels: np.ndarray) -> dict[str, Callable[[], object]]:
    values = (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.25
    return {"one image": partial(reference.images, values), "16 texts": partial(reference.texts, TEXTS)}


def _shares(work: Callable[[], object], device: str) -> list[str]:
    """Milliseconds of one call after a first one, and the share of every kind in them."""
    on_gpu = choices(device)[0].device.startswith("cuda")
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with torch.inference_mode():
        work()
        with profile(activities=activities) as profiler:
            work()
            if on_gpu:
                torch.cuda.synchronize()
    taken: Counter[str] = Counter()
    for event in profiler.key_averages():
        taken[_kind(event.key)] += event.self_device_time_total if on_gpu else event.self_cpu_time_total
    total = taken.total()
    return [f"{total / 1000:,.0f}", *(f"{100 * taken[kind] / total:.1f}%" for kind in (*KINDS, REST))]


def _kind(operator: str) -> str:
    return next((kind for kind, names in KINDS.items() if any(name in operator for name in names)), REST)


if __name__ == "__main__":
    run(
        report,
        doc=__doc__,
        **MODEL_OPTIONS,
    )
