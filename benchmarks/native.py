"""Our path on this processor: times the published computation, share of its matrix products' rate, and quality.

    python benchmarks/native.py [--version v2] [--types bfloat16,float32] [--what images,texts] [--rounds 3]
                                [--images 0] [--texts 128] [--folder FOLDER] [--write]

Full-size model with random weights (seed 0), prepared pixels, texts of mixed lengths (see `local_text.py`). In every
round all contenders run one after the other, the published computation (`reference.py`: float32, images one by one,
which is faster than two) between ours, and the matrix products alone before the first round and after every one.
Figures are medians over rounds, with the range behind.

"x published" is the published computation's time over ours within one round. "Products alone" are the layers' matrix
products at the batch's number of tokens and nothing else, weights packed where this processor's kernels read them so,
and different for each of `LAYERS` layers, so that none stays in a cache. "Share" is the floating-point operations that
the vectors need per second, in the mean rate of the products just before and just after:

    text of L tokens, N layers, width W, inner width I:  N (2 L (4 W^2 + k W I) + 4 L^2 W),  k = 2 (v2) or 3 (gated, v1)
    image of T = G^2 + 1 tokens, patches of P pixels:    2 G^2 3 P^2 W + N 2 T 2 W^2 + ((N - 1) T + 1) Q
                                                         with Q = 2 (2 W^2 + 3 W I) + 4 T W

where the last block of an image computes CLS alone, and norms, softmax and activations count nothing. "Cosine" is the
worst and the mean one with the published computation's vectors.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from full_size import GIGA, checkpoint, engine, image_flops, plain_model, text_flops
from local_image import embed_images, published_images
from local_text import Workload, embed_texts, published_texts, workload
from reference import BATCH, Reference
from reporting import Option, heading, run, table
from timing import seconds
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the customary name

from jina_clip_integrations.backends.local.devices import choose_devices, cpu_has_native_bfloat16
from jina_clip_integrations.backends.local.engine import Engine
from jina_clip_integrations.backends.running import PATCHES_PER_BATCH, TOKENS_PER_BATCH
from jina_clip_integrations.modeling import JinaClipConfig, JinaClipModel
from jina_clip_integrations.modeling.linear import GatedLinear
from jina_clip_integrations.modeling.packed import EXPECTED_TOKENS, can_pack

LAYERS = 8
"""Layers whose products are measured alone; all are alike."""

EVERY = 8
"""The measured texts are every so many batches of a job, so that their padding is that of a large one."""


@dataclass
class Contest:
    """One kind of input: what it takes in floating-point operations, and who computes it."""

    what: str
    flops: float
    published: Callable[[], Tensor]
    ours: Mapping[str, Callable[[], np.ndarray]]
    """By type."""
    products: Mapping[str, Products]
    taken: dict[str, list[float]] = field(default_factory=dict)
    """Seconds by contender, one per round."""

    def run(self, rounds: int) -> None:
        """All rounds; the vectors of the first call of each serve as warm-up, and for the quality."""
        self.wanted = self.published()
        self.vectors = {name: torch.from_numpy(work()) for name, work in self.ours.items()}
        self._measure_products()
        contenders: dict[str, Callable[[], object]] = {**self.ours, "published": self.published}
        order = sorted(contenders, key=lambda name: (name != next(iter(self.ours)), name != "published"))
        for _ in range(rounds):
            for name in order:
                self.taken.setdefault(name, []).append(seconds(contenders[name]))
            self._measure_products()

    def _measure_products(self) -> None:
        for products in self.products.values():
            products.measure()

    def row(self, name: str) -> list[str]:
        """One row of the table."""
        ours, rates = self.taken[name], self.products[name].rates
        times = [published / mine for published, mine in zip(self.taken["published"], ours, strict=True)]
        shares = [
            self.flops / mine / GIGA / statistics.mean(around)
            for mine, around in zip(ours, pairwise(rates), strict=True)
        ]
        cosines = F.cosine_similarity(self.vectors[name].float(), self.wanted.float(), dim=-1)
        return [
            self.what,
            name,
            _spread(ours, "{:.2f}"),
            _spread(times, "{:.2f}"),
            _rate(self.flops / statistics.median(ours) / GIGA),
            " / ".join(map(_rate, rates)),
            _spread(shares, "{:.0%}"),
            f"{cosines.min():.5f}",
            f"{cosines.mean():.5f}",
        ]


COLUMNS = [
    "",
    "type",
    ">seconds",
    ">× published",
    ">GFLOP/s",
    ">products alone, GFLOP/s",
    ">share",
    ">worst cosine",
    ">mean cosine",
]


def _spread(values: Sequence[float], form: str) -> str:
    """The median, and the smallest and the largest in brackets where there are several."""
    middle = form.format(statistics.median(values))
    if len(values) == 1:
        return middle
    return f"{middle} ({form.format(min(values))} to {form.format(max(values))})"


def _rate(gflops: float) -> str:
    return f"{gflops:,.0f}" if gflops >= 100 else f"{gflops:.3g}"


class Products:
    """The matrix products of one tower's layers with nothing around them: `tokens` rows, own weights for each layer."""

    def __init__(self, shapes: Sequence[tuple[int, int]], dtype: torch.dtype, tokens: int) -> None:
        """`shapes` are `(out, in)`."""
        widths = {width for _, width in shapes}
        self._inputs = {width: torch.randn(tokens, width).to(dtype) for width in widths}
        weights = [torch.randn(out, width).mul_(width**-0.5).to(dtype) for out, width in shapes]
        is_packed = can_pack(dtype)
        product = _packed_product if is_packed else F.linear
        self._calls = [
            partial(product, self._inputs[weight.shape[1]], _pack(weight) if is_packed else weight)
            for weight in weights
        ]
        self._flops = sum(2.0 * tokens * out * width for out, width in shapes)
        self.rates: list[float] = []
        """GFLOP/s of every measurement so far."""

    def measure(self) -> None:
        """Add one measurement, after one product that is not counted."""
        with torch.inference_mode():
            self._calls[0]()
            start = time.perf_counter()
            for call in self._calls:
                call()
            self.rates.append(self._flops / (time.perf_counter() - start) / GIGA)


def _pack(weight: Tensor) -> Tensor:
    return torch.ops.mkldnn._reorder_linear_weight(weight, EXPECTED_TOKENS)  # type: ignore[no-any-return]


def _packed_product(x: Tensor, blocks: Tensor) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(x, blocks, None, "none", [], "")  # type: ignore[no-any-return]


def layer_shapes(config: JinaClipConfig) -> dict[str, list[tuple[int, int]]]:
    """`(out, in)` of the linear layers in the first `LAYERS` blocks, by kind of input."""
    with torch.device("meta"):
        model = JinaClipModel(config)
    towers = {"images": model.vision_model, "texts": model.text_model}
    return {what: [*_shapes(tower.blocks[:LAYERS])] for what, tower in towers.items()}


def _shapes(blocks: nn.Module) -> Iterator[tuple[int, int]]:
    """Of every matrix; a gated layer has two, which are faster one by one."""
    for layer in blocks.modules():
        if isinstance(layer, nn.Linear):
            parts = 2 if isinstance(layer, GatedLinear) else 1
            yield from [(layer.out_features // parts, layer.in_features)] * parts


def report(version: str, folder: str | None, types: str, what: str, images: int, texts: int, rounds: int) -> str:
    """The table."""
    start = time.perf_counter()
    names = types.split(",") if types else ["bfloat16", "float32"] if cpu_has_native_bfloat16() else ["float32"]
    with checkpoint(version, folder) as path:
        reference = Reference(plain_model(path, choose_devices("cpu", "float32")[0]))
        engines = {name: load(path, name) for name in names}
        every = EVERY if texts >= BATCH else 1
        work = workload(path, texts * every, every=every)
        makers = {"images": partial(_images, count=images), "texts": partial(_texts, work=work)}
        contests = [makers[name](reference, engines) for name in what.split(",")]
        for contest in contests:
            contest.run(rounds)
    rows = [contest.row(name) for contest in contests for name in names]
    note = (
        f"Random weights, {images or 'one pass of'} images, {len(work.rows)} texts of {min(map(len, work.rows))} to "
        f"{max(map(len, work.rows))} tokens ({work.tokens:,} in all), rounds: {rounds}; seconds are those of all "
        f"images or all texts.\nMeasured in {time.perf_counter() - start:.0f} s. What the columns mean: "
        "`python benchmarks/native.py --help`.\n"
    )
    return "\n".join([heading(f"The native path, jina-clip-{version}", __file__), table(COLUMNS, rows), note])


def load(folder: Path, name: str) -> Engine:
    """The engine that the local backend computes with on this processor, of one type."""
    return engine(folder, choose_devices("cpu", name)[0])


def _images(reference: Reference, engines: Mapping[str, Engine], *, count: int) -> Contest:
    config = reference.config
    vision = config.vision_config
    tokens = vision.grid_size**2 + 1
    per_pass = max(1, PATCHES_PER_BATCH["cpu"] // tokens)
    count = count or per_pass
    shape = (count, vision.image_size, vision.image_size, 3)
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    parts = np.split(pixels, range(per_pass, count, per_pass))
    return Contest(
        "images",
        count * image_flops(config),
        lambda: torch.cat([published_images(reference, pixels[n : n + 1]) for n in range(count)]),
        {name: partial(_in_passes, ours, parts) for name, ours in engines.items()},
        _products("images", config, engines, min(per_pass, count) * tokens),
    )


def _in_passes(ours: Engine, parts: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate([embed_images(ours, part) for part in parts])


def _texts(reference: Reference, engines: Mapping[str, Engine], *, work: Workload) -> Contest:
    return Contest(
        "mixed texts",
        sum(text_flops(reference.config, len(row)) for row in work.rows),
        partial(published_texts, reference, work),
        {name: partial(embed_texts, ours, work.rows) for name, ours in engines.items()},
        _products("texts", reference.config, engines, TOKENS_PER_BATCH["cpu"]),
    )


def _products(what: str, config: JinaClipConfig, engines: Mapping[str, Engine], tokens: int) -> dict[str, Products]:
    shapes = layer_shapes(config)[what]
    return {name: Products(shapes, ours.dtype, tokens) for name, ours in engines.items()}


if __name__ == "__main__":
    run(
        report,
        doc=__doc__,
        version=Option("v2", "v1 or v2"),
        folder=Option(None, "a random checkpoint to use, or to keep there"),
        types=Option("", "of bfloat16 and float32; all that this processor multiplies by itself, if not given"),
        what=Option("images,texts", "what to measure"),
        images=Option(0, "images per round; 0 for as many as the local backend computes in one pass"),
        texts=Option(128, "texts per round, in batches of 32"),
        rounds=Option(3, "rounds"),
    )
