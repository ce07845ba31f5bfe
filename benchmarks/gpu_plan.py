"""What `gpu.py` measures, in which order, how much of its time each part may take, and the inputs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from random_checkpoint import add_processor, write_random_checkpoint

from jina_clip_integrations.backends.running import PATCHES_PER_BATCH
from jina_clip_integrations.modeling import JinaClipConfig
from jina_clip_integrations.modeling.published import PUBLISHED

TENSORS, JPEG = "images, tensors on the device", "images, JPEG of {} x {}"
QUERY, SHORT, MIXED, LONG = (
    "one query of {} tokens",
    "texts of {} tokens",
    "texts of mixed lengths",
    "texts of {:,} tokens",
)
CHECKED, CHECKED_LONG = 16, 2
"""Of every kind of input, at most so many are compared with float32."""
GOLDEN = Path(__file__).parents[1] / "tests" / "golden"


@dataclass(frozen=True)
class Case:
    """One row of the table."""

    model: str
    """`v1` or `v2`."""
    what: str
    kind: str
    """`tensors`, `jpeg`, `fast jpeg` or `texts`."""
    amount: int
    """Images per pass; texts, or photos, in all."""
    length: int
    """Tokens per text, 0 for mixed lengths; the longer side of a photo."""
    dtype: str
    mode: str
    """`eager` or `compiled`."""


@dataclass(frozen=True)
class Group:
    """Cases that one process measures, and its share of the time."""

    model: str
    share: float
    cases: list[Case]

    def to_json(self) -> str:
        """For `from_json` in the other process."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Group:
        """What `to_json` wrote."""
        content = json.loads(text)
        return cls(content["model"], content["share"], [Case(**case) for case in content["cases"]])


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    per_pass: dict[str, int]
    """Images per pass by model: what the local backend takes."""
    more: tuple[int, ...]
    """Other numbers of images per pass."""
    short: tuple[int, int]
    """Texts and tokens of each."""
    mixed: int
    """Texts of mixed lengths."""
    long: tuple[tuple[int, int], ...]
    photos: dict[tuple[int, int], int]
    """Width and height to number."""
    median: int
    longest: int
    """Tokens of the texts of mixed lengths, which are log-normal."""
    product: int
    """Side of the square matrices whose product gives the card's rate."""


def full_sizes() -> Sizes:
    """For a GPU."""
    grids = {name: JinaClipConfig(**PUBLISHED[f"jina-clip-{name}"]).vision_config.grid_size for name in ("v1", "v2")}
    return Sizes(
        per_pass={name: PATCHES_PER_BATCH["cuda"] // (grid**2 + 1) for name, grid in grids.items()},
        more=(8, 32, 1),
        short=(1024, 16),
        mixed=2048,
        long=((16, 2048), (4, 8192)),
        photos={(1024, 768): 512, (4000, 3000): 128},
        median=30,
        longest=512,
        product=8192,
    )


TINY = Sizes(
    per_pass={"v1": 4, "v2": 4},
    more=(2, 1),
    short=(6, 8),
    mixed=12,
    long=((2, 60), (2, 100)),
    photos={(64, 48): 5, (120, 90): 3},
    median=10,
    longest=40,
    product=128,
)
"""To run everything within a minute on a processor."""


def plan(sizes: Sizes, models: list[str]) -> list[Group]:
    """Groups in the order of their importance: what comes last is what a slow machine leaves out."""
    groups = [
        Group(
            "v2", 0.13, [_images("v2", "float32", "eager", 8), *_texts(sizes, "v2", "float32", "eager", compared=True)]
        ),
        Group("v2", 0.11, [*_tower_cases(sizes, "v2", "bfloat16", "eager")]),
        Group("v2", 0.18, [*_all_images(sizes, "v2", "bfloat16", "compiled")]),
        Group("v2", 0.18, [*_texts(sizes, "v2", "bfloat16", "compiled")]),
        Group("v2", 0.13, [*_photos(sizes, "v2", "bfloat16")]),
        Group("v2", 0.07, [*_brief(sizes, "v2", "float16", "eager")]),
        Group("v1", 0.08, [*_brief(sizes, "v1", "float32", "eager"), *_brief(sizes, "v1", "bfloat16", "eager")]),
        Group("v2", 0.08, [*_brief(sizes, "v2", "float16", "compiled")]),
        Group("v1", 0.04, [_images("v1", "bfloat16", "compiled", sizes.per_pass["v1"])]),
    ]
    return [group for group in groups if group.model in models]


def _tower_cases(sizes: Sizes, model: str, dtype: str, mode: str) -> Iterator[Case]:
    yield from _all_images(sizes, model, dtype, mode)
    yield from _texts(sizes, model, dtype, mode)


def _all_images(sizes: Sizes, model: str, dtype: str, mode: str) -> Iterator[Case]:
    for amount in (sizes.per_pass[model], *sizes.more):
        yield _images(model, dtype, mode, amount)


def _images(model: str, dtype: str, mode: str, amount: int) -> Case:
    return Case(model, TENSORS, "tensors", amount, 0, dtype, mode)


def _texts(sizes: Sizes, model: str, dtype: str, mode: str, *, compared: bool = False) -> Iterator[Case]:
    """With `compared` only as many as vectors are compared of, for float32."""
    for amount, length in [(sizes.mixed, 0), sizes.short, *sizes.long, (1, sizes.short[1])]:
        is_long = (amount, length) in sizes.long
        form = MIXED if not length else QUERY if amount == 1 else LONG if is_long else SHORT
        most = CHECKED_LONG if is_long else CHECKED
        wanted = min(amount, most) if compared else amount
        yield Case(model, form.format(length), "texts", wanted, length, dtype, mode)


def _brief(sizes: Sizes, model: str, dtype: str, mode: str) -> Iterator[Case]:
    yield _images(model, dtype, mode, 8 if dtype == "float32" else sizes.per_pass[model])
    yield Case(model, MIXED, "texts", CHECKED if dtype == "float32" else sizes.mixed, 0, dtype, mode)


def _photos(sizes: Sizes, model: str, dtype: str) -> Iterator[Case]:
    for (width, height), amount in sizes.photos.items():
        yield Case(model, JPEG.format(width, height), "jpeg", amount, width, dtype, "eager")
    yield Case(model, JPEG.format(width, height) + ", `fast_decode`", "fast jpeg", amount, width, dtype, "eager")


def pixels(model: JinaClipConfig, amount: int) -> np.ndarray:
    """`(amount, S, S, 3)` uint8; more images begin with those of fewer."""
    side = model.vision_config.image_size
    return np.stack([np.random.default_rng(n).integers(0, 256, (side, side, 3), dtype=np.uint8) for n in range(amount)])


def token_rows(model: JinaClipConfig, sizes: Sizes, amount: int, length: int) -> list[list[int]]:
    """Random token ids of so many texts; more texts begin with those of fewer."""
    settings = model.text_config.settings
    rows = []
    for number in range(amount):
        chance = np.random.default_rng([length, number])
        drawn = int(np.clip(np.exp(chance.normal(np.log(sizes.median), 1.0)), 4, sizes.longest))
        rows.append(chance.integers(5, min(settings.vocab_size, 250_000), length or drawn).tolist())
    return rows


def make_checkpoint(folder: Path, model: str, *, tiny: bool) -> None:
    """A model of the published size with random weights, or a copy of a tiny one that the tests use."""
    if tiny:
        shutil.copytree(GOLDEN / model, folder, dirs_exist_ok=True)
        return
    write_random_checkpoint(folder, model)
    add_processor(folder, model)
