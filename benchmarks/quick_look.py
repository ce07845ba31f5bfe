"""A quick look: what images of a smaller size cost and find, and what looking at the best hits again makes up for.

    python benchmarks/quick_look.py [--version v2] [--folder FOLDER] [--write]

Time: the vision tower of a full-size model with random weights, sizes in turns, as many images per pass as the local
backend takes; decoding is left out, which costs the same at every size. Quality: the demo model on its gallery, texts
to images; positions of its grid are resampled as those of the published models are.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import partial

import numpy as np
import torch
from full_size import GIGA, MODEL_OPTIONS, checkpoint, choices, engine, image_flops
from reporting import Option, heading, run, table
from timing import in_turns

from jina_clip_integrations import JinaClipEncoder
from jina_clip_integrations.backends.running import PATCHES_PER_BATCH
from jina_clip_integrations.catalog import JINA_CLIP_V1, JINA_CLIP_V2
from jina_clip_integrations.evaluation.metrics import measure
from jina_clip_integrations.evaluation.search import Answers, Found, rescore, search_rows
from jina_clip_integrations.evaluation.task import RetrievalTask, gallery_task
from jina_clip_integrations.modeling import JinaClipConfig
from jina_clip_integrations.types import Vectors

SIZES = {"v1": (224, 160, 112), "v2": (512, 420, 336, 280, 224)}
REFINED = (10, 20, 50)
BELOW = 24
"""Side of an image of the demo model that is below what the option allows, measured to show why."""


def report(version: str, device: str, folder: str | None, rounds: int) -> str:
    """Both parts."""
    parts = [heading("A quick look at images", __file__), "## What an image costs\n", COSTS.format(version=version)]
    columns = ["type", ">side", ">tokens", ">images per pass", ">time per image", ">times as fast", ">times less work"]
    parts.append(table([*columns, ">GFLOP/s"], measure_time(version, device, folder, rounds)))
    task = gallery_task()
    parts += ["## What it finds\n", QUALITY.format(queries=len(task.queries), images=len(task.corpus))]
    columns = ["side", ">share of the own side", ">cosine, mean", ">least", ">R@1", ">R@5"]
    parts.append(table([*columns, *(f">R@5, {n} seen again" for n in REFINED)], measure_quality(task)))
    return "\n".join(parts)


COSTS = """jina-clip-{version}, random weights. "Less work" counts floating-point operations.
"""
QUALITY = """{queries:,} names in 20 languages against {images:,} images of the demo gallery, with the demo model, whose
own side is 64; figures in per cent, means over languages, ties counted against the model. Cosines are those with the
vectors of the own size. "Seen again": the best hits of every query scored by the vectors of the own size. The last row
is below what the option allows. These are small drawings, seen by a small model that was trained on them at one size:
take the order of the figures from here, and their height from your own images (`jina-clip evaluate`).
"""


def measure_time(version: str, device: str, folder: str | None, rounds: int) -> list[list[str]]:
    """A row for every type and size."""
    rows = []
    with checkpoint(version, folder) as path:
        for choice in choices(device):
            ours = engine(path, choice)
            tower, config = ours.model.vision_model, ours.model.config
            towers = {size: tower.resized(size) for size in SIZES[version][1:]}
            budget = PATCHES_PER_BATCH[choice.device.split(":")[0]]
            counts, works = {}, {}
            for size, sized in {tower.image_size: tower, **towers}.items():
                counts[size] = max(1, budget // (sized.grid**2 + 1))
                pixels = torch.randn(counts[size], 3, size, size, dtype=ours.dtype, device=ours.device)
                works[str(size)] = partial(embed, sized, pixels)
            taken = in_turns(works, rounds=rounds)
            seconds = {size: taken[str(size)] / counts[size] for size in counts}
            flops = {size: image_flops(sized_config(config, size)) for size in counts}
            own = tower.image_size
            for size, per_image in seconds.items():
                patches = (size // config.vision_config.patch_size) ** 2
                row = [choice.dtype, size, f"{patches + 1:,}", counts[size], f"{per_image * 1000:,.0f} ms"]
                ratios = [f"{seconds[own] / per_image:.2f}", f"{flops[own] / flops[size]:.2f}"]
                rows.append([*map(str, row), *ratios, f"{flops[size] / per_image / GIGA:,.0f}"])
            del ours, tower, towers, works
    return rows


def embed(tower: torch.nn.Module, pixels: torch.Tensor) -> None:
    """One pass."""
    with torch.inference_mode():
        tower.embed(pixels).cpu()  # type: ignore[operator]


def sized_config(config: JinaClipConfig, size: int) -> JinaClipConfig:
    """The configuration with images of this size, to count its operations."""
    changed = copy.deepcopy(config)
    changed.vision_config.image_size = size
    return changed


def measure_quality(task: RetrievalTask) -> list[list[str]]:
    """A row for every size of the demo model."""
    options = {"backend": "local", "device": "cpu", "dtype": "float32"}
    with JinaClipEncoder("demo", **options) as encoder:
        queries, full, spec = encoder.encode(task.queries), encoder.encode(task.corpus), encoder.spec
    rows = [quality_row(spec.image_size, spec.image_size, full, full, queries, task)]
    for size in reversed(spec.smaller_image_sizes):
        with JinaClipEncoder("demo", image_size=size, **options) as encoder:
            rows.append(quality_row(size, spec.image_size, encoder.encode(task.corpus), full, queries, task))
    rows.append(quality_row(BELOW, spec.image_size, too_small(task, full), full, queries, task))
    return rows


def too_small(task: RetrievalTask, full: Vectors) -> Vectors:
    """Vectors of a size that the option refuses."""
    from jina_clip_integrations.backends.local.devices import choose_devices
    from jina_clip_integrations.backends.local.engine import Engine
    from jina_clip_integrations.demo import demo_model_path, gallery
    from jina_clip_integrations.modeling import JinaClipImageProcessor

    choice = choose_devices("cpu", "float32")[0]
    small = Engine(demo_model_path(), choice, attn_implementation="sdpa", compile=False, image_size=BELOW)
    images = JinaClipImageProcessor(size=BELOW)
    pixels = np.stack([images.fit(image.image()) for image in gallery()])
    mean, std = (np.asarray(values, np.float32) for values in (images.mean, images.std))
    rows = np.concatenate([small.embed_pixels(some, mean=mean, std=std) for some in np.array_split(pixels, 20)])
    assert len(rows) == len(full) == len(task.corpus)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)  # type: ignore[no-any-return]


def quality_row(size: int, own: int, rows: Vectors, full: Vectors, queries: Vectors, task: RetrievalTask) -> list[str]:
    """What these vectors find, alone and with the best hits scored by the full ones."""
    cosines = (rows * full).sum(axis=1)
    found = search_rows(queries, rows, max(REFINED), task.relevance)
    answers = Answers(task.relevance)
    again = [
        rescore(queries, Found(found.positions[:, :n], found.scores[:, :n]), full.__getitem__, 10, answers)
        for n in REFINED
    ]
    plain = by_language(measure(found, task.relevance), task)
    refined = [by_language(measure(one, task.relevance), task)["R@5"] for one in again]
    values = [plain["R@1"], plain["R@5"], *refined]
    name = f"{size}, refused" if size == BELOW else str(size)
    share = f"{100 * size / own:.0f}%"
    return [name, share, f"{cosines.mean():.3f}", f"{cosines.min():.3f}", *(f"{100 * value:.1f}" for value in values)]


def by_language(values: Mapping[str, np.ndarray], task: RetrievalTask) -> dict[str, float]:
    """The mean over languages of every measure."""
    languages = np.array(task.languages)
    names = np.unique(languages)
    return {
        measure: float(np.mean([column[languages == name].mean() for name in names]))
        for measure, column in values.items()
    }


if __name__ == "__main__":
    assert [JINA_CLIP_V1.image_size, JINA_CLIP_V2.image_size] == [SIZES["v1"][0], SIZES["v2"][0]]
    run(report, doc=__doc__, **MODEL_OPTIONS, rounds=Option(3, "times that every size runs"))
