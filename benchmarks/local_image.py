"""Images per second on this machine: our engine, the published computation, and the matrix products alone.

    python benchmarks/local_image.py [--version v2] [--device auto] [--plot] [--write]

Full-size models with random weights (seed 0) on prepared pixels; decoding is measured in `pipeline.py`. The reference
is `reference.py`, in float32 with eager attention: as many images per pass as the local backend takes by default, and
one by one; the better of the two counts. Contenders run in turns, so that what disturbs the machine disturbs all of
them. The share is that of useful floating-point operations in the rate of the linear layers alone, the best seen just
before and just after, with distinct weights for every layer.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from full_size import (
    GIGA,
    MODEL_OPTIONS,
    checkpoint,
    choices,
    engine,
    image_flops,
    plain_model,
    products_alone,
    worst_cosine,
)
from plots import rates_figure
from reference import Reference
from reporting import Option, heading, run, table
from timing import best_of, in_turns

from jina_clip_integrations.backends.local.engine import Engine
from jina_clip_integrations.backends.running import PATCHES_PER_BATCH
from jina_clip_integrations.images.geometry import IMAGE_MEAN, IMAGE_STD

MEAN, STD = np.array(IMAGE_MEAN, np.float32), np.array(IMAGE_STD, np.float32)


def report(version: str, device: str, folder: str | None, rounds: int, batches: str, plot: bool) -> str:
    """All tables."""
    sizes = [int(size) for size in batches.split(",")]
    parts = [heading(f"Images on this machine, jina-clip-{version}", __file__)]
    with checkpoint(version, folder) as path:
        float32 = choices(device)[0]
        reference = Reference(plain_model(path, float32))
        vision = reference.config.vision_config
        per_pass = max(1, PATCHES_PER_BATCH[float32.device.split(":")[0]] // (vision.grid_size**2 + 1))
        parts.append(INTRODUCTION.format(per_pass=per_pass))
        shape = (max(per_pass, *sizes), vision.image_size, vision.image_size, 3)
        pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        curves: dict[str, dict[int, float]] = {}
        rows = []
        for choice in choices(device):
            ours = engine(path, choice)
            plain = plain_model(path, choice).vision_model
            ceilings = partial(products_alone, plain, ours.model.vision_model, ours.patches * per_pass, ours.device)
            rows.append(_row(ours, reference, pixels[:per_pass], ceilings, rounds))
            del plain, ceilings
            curves[choice.dtype] = {n: n / best_of(partial(embed_images, ours, pixels[:n]), runs=rounds) for n in sizes}
    columns = ["type", ">image", ">reference", ">one by one", ">times as fast", ">GFLOP/s", ">layers alone", ">share"]
    columns.append(">cosine")
    parts += [table(columns, rows), "Images per second by images per pass:\n"]
    parts.append(table(["type", *(f">{n}" for n in sizes)], [[t, *map(_rate, c.values())] for t, c in curves.items()]))
    if plot:
        parts.append(rates_figure(f"local_image_{version}", curves, "images per pass", "images per second"))
    return "\n".join(parts)


INTRODUCTION = """Images per pass: {per_pass}. Times are per image. "Layers alone" is the better of plain and packed
weights, "share" the useful operations of the whole model in it, "cosine" the smallest one with the reference's vectors.
"""


def _row(
    ours: Engine, reference: Reference, pixels: np.ndarray, ceilings: Callable[[], dict[str, float]], rounds: int
) -> list[str]:
    works = {
        "ours": partial(embed_images, ours, pixels),
        "reference": partial(published_images, reference, pixels),
        "one by one": lambda: [published_images(reference, pixels[n : n + 1]) for n in range(len(pixels))],
    }
    before = ceilings()
    taken = {name: seconds / len(pixels) for name, seconds in in_turns(works, rounds=rounds).items()}
    best = {name: max(before[name], rate) for name, rate in ceilings().items()}
    rate = image_flops(ours.model.config) / taken["ours"] / GIGA
    cosine = worst_cosine(torch.from_numpy(embed_images(ours, pixels)), published_images(reference, pixels))
    return [
        str(ours.dtype).removeprefix("torch."),
        *(f"{seconds * 1000:,.0f} ms" for seconds in taken.values()),
        f"{min(taken['reference'], taken['one by one']) / taken['ours']:.2f}",
        f"{rate:,.0f}",
        " / ".join(f"{name} {value:,.0f}" for name, value in best.items()),
        f"{100 * rate / max(best.values()):.0f}%",
        f"{cosine:.5f}",
    ]


def embed_images(ours: Engine, pixels: np.ndarray) -> np.ndarray:
    return ours.embed_pixels(pixels, mean=MEAN, std=STD)


def published_images(reference: Reference, pixels: np.ndarray) -> torch.Tensor:
    values = (torch.from_numpy(pixels).float() / 255 - torch.from_numpy(MEAN)) / torch.from_numpy(STD)
    with torch.inference_mode():
        return reference.images(values.permute(0, 3, 1, 2)).cpu()


def _rate(images_per_second: float) -> str:
    return f"{images_per_second:.3g}"


if __name__ == "__main__":
    run(
        report,
        doc=__doc__,
        **MODEL_OPTIONS,
        rounds=Option(3, "times that every contender runs"),
        batches=Option("1,2,4", "images per pass for the curve"),
        plot=Option(False, "draw the curve into benchmarks/results"),
    )
