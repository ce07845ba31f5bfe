"""Pictures per second on this machine: our engine, the published computation, and the matrix products alone.

    python benchmarks/local_image.py [--version v2] [--device auto] [--plot] [--write]

Full-size models with random weights (seed 0) on prepared pixels; decoding is measured in `pipeline.py`. The reference
is `reference.py`, in float32 with eager attention. Contenders run in turns, so that what disturbs the machine disturbs
all of them. The share is that of useful floating-point operations in the rate of the linear layers alone, measured in
the same run with distinct weights for every layer.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from full_size import (
    GIGA,
    checkpoint,
    choices,
    engine,
    picture_flops,
    plain_model,
    products_alone,
    worst_cosine,
)
from plots import rates_figure
from reference import Reference
from reporting import Option, heading, run, table
from timing import best_of, in_turns

from jina_clip_integrations.backends.local.engine import Engine
from jina_clip_integrations.images import IMAGE_MEAN, IMAGE_STD

MEAN, STD = np.array(IMAGE_MEAN, np.float32), np.array(IMAGE_STD, np.float32)


def report(version: str, device: str, folder: str | None, rounds: int, batches: str, plot: bool) -> str:
    """All tables."""
    sizes = [int(size) for size in batches.split(",")]
    parts = [heading(f"Pictures on this machine, jina-clip-{version}", __file__), INTRODUCTION]
    with checkpoint(version, folder) as path:
        float32 = choices(device)[0]
        reference = Reference(plain_model(path, float32))
        size = reference.config.vision_config.image_size
        pixels = np.random.default_rng(0).integers(0, 256, (max(sizes), size, size, 3), dtype=np.uint8)
        curves: dict[str, dict[int, float]] = {}
        rows = []
        for choice in choices(device):
            ours = engine(path, choice)
            ceilings = products_alone(
                plain_model(path, choice).vision_model, ours.model.vision_model, ours.patches, ours.device
            )
            rows.append(_row(ours, reference, pixels[:1], ceilings, rounds))
            curves[choice.dtype] = {n: n / best_of(partial(_embed, ours, pixels[:n]), runs=rounds) for n in sizes}
    columns = ["type", ">picture", ">reference", ">times as fast", ">GFLOP/s", ">layers alone", ">share", ">cosine"]
    parts += [table(columns, rows), "Pictures per second by pictures per pass:\n"]
    parts.append(table(["type", *(f">{n}" for n in sizes)], [[t, *map(_rate, c.values())] for t, c in curves.items()]))
    if plot:
        parts.append(rates_figure(f"local_image_{version}", curves, "pictures per pass", "pictures per second"))
    return "\n".join(parts)


INTRODUCTION = """One picture per pass. "Layers alone" is the better of plain and packed weights, "share" the useful
operations of the whole model in it, "cosine" the smallest one with the reference's vectors.
"""


def _row(ours: Engine, reference: Reference, pixels: np.ndarray, ceilings: dict[str, float], rounds: int) -> list[str]:
    works = {"ours": partial(_embed, ours, pixels), "reference": partial(_published, reference, pixels)}
    taken = in_turns(works, rounds=rounds)
    rate = picture_flops(ours.model.config) / taken["ours"] / GIGA
    ceiling = max(ceilings.values())
    cosine = worst_cosine(torch.from_numpy(works["ours"]()), works["reference"]())
    return [
        str(ours.dtype).removeprefix("torch."),
        f"{taken['ours'] * 1000:,.0f} ms",
        f"{taken['reference'] * 1000:,.0f} ms",
        f"{taken['reference'] / taken['ours']:.2f}",
        f"{rate:,.0f}",
        " / ".join(f"{name} {value:,.0f}" for name, value in ceilings.items()),
        f"{100 * rate / ceiling:.0f}%",
        f"{cosine:.5f}",
    ]


def _embed(ours: Engine, pixels: np.ndarray) -> np.ndarray:
    return ours.embed_pixels(pixels, mean=MEAN, std=STD)


def _published(reference: Reference, pixels: np.ndarray) -> torch.Tensor:
    values = (torch.from_numpy(pixels).float() / 255 - torch.from_numpy(MEAN)) / torch.from_numpy(STD)
    with torch.inference_mode():
        return reference.images(values.permute(0, 3, 1, 2)).cpu()


def _rate(pictures_per_second: float) -> str:
    return f"{pictures_per_second:.3g}"


if __name__ == "__main__":
    run(
        report,
        doc=__doc__,
        version=Option("v2", "v1 or v2"),
        device=Option("auto", "auto, cpu, cuda"),
        folder=Option(None, "a random checkpoint to use, or to keep there"),
        rounds=Option(3, "times that every contender runs"),
        batches=Option("1,2,4", "pictures per pass for the curve"),
        plot=Option(False, "draw the curve into benchmarks/results"),
    )
