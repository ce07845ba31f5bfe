"""The process in which `gpu.py` measures one group of cases: one line of JSON per figure, as soon as it has it.

A process of its own, because an error of a GPU's kernel leaves nothing else to be computed in the process where it
happened, and because a compiler cannot be interrupted: whoever started the process ends it when its time is up.
"""

from __future__ import annotations

import gc
import json
import statistics
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from full_size import image_flops, plain_model, text_flops
from gpu_plan import CHECKED, TINY, Case, Group, Sizes, full_sizes, pixels, token_rows
from photos import write_photos
from reference import Reference
from torch.nn import functional as F  # noqa: N812  # the customary name

from jina_clip_integrations import JinaClipEncoder
from jina_clip_integrations.backends.batching import by_token_budget
from jina_clip_integrations.backends.local.devices import DeviceChoice, is_out_of_memory
from jina_clip_integrations.backends.local.engine import Engine
from jina_clip_integrations.backends.running import TEXTS_PER_BATCH, TOKENS_PER_BATCH
from jina_clip_integrations.modeling import JinaClipConfig

MEAN, STD = np.full(3, 0.5, np.float32), np.full(3, 0.25, np.float32)
BLOCKS, BLOCK_S = 5, 0.2
"""Time is the median of so many blocks of calls; each takes about so long, and ends with one synchronisation."""
TINY_BLOCK_S = 0.01
LEFT_S = 3.0
"""A case is not begun with less time."""
REFERENCE_IMAGES, REFERENCE_TEXTS = 2, 4
"""Compared with the published computation on the processor."""
DISTINCT_PHOTOS = 8


class Worker:
    """Measures the cases of one group on one device."""

    def __init__(self, group: Group, folder: Path, device: str, tiny: bool, deadline: float) -> None:
        """`deadline` is of `time.time`; float32 vectors are kept in `folder`'s parent for the groups that follow."""
        self.group, self.folder, self.deadline = group, folder, deadline
        self.device = torch.device(device)
        self.sizes: Sizes = TINY if tiny else full_sizes()
        self.block_s = TINY_BLOCK_S if tiny else BLOCK_S
        self.config = JinaClipConfig.from_pretrained(folder)
        self._engine: tuple[tuple[str, str], Engine] | None = None
        self._photos: dict[tuple[int, int], list[bytes]] = {}

    def run(self) -> Iterator[dict[str, Any]]:
        """A dictionary per figure: the rate of products before and after, and what was found of every case."""
        yield {"rate": self.product_rate()}
        for number, case in enumerate(self.group.cases):
            if time.time() > self.deadline - LEFT_S:
                return
            try:
                yield {"case": number, **self.measure(case)}
            except Exception as error:  # of whatever kind: the other rows are still worth having
                traceback.print_exc()
                yield {"case": number, "failed": f"{type(error).__name__}: {str(error).strip()[:120]}"}
        if any(case.dtype == "float32" for case in self.group.cases):
            yield {"check": self.compare_with_published()}
        yield {"rate": self.product_rate()}

    def product_rate(self) -> float:
        """FLOP/s of one large matrix product in bfloat16."""
        side = self.sizes.product
        a, b = (torch.randn(side, side, device=self.device).to(torch.bfloat16) for _ in range(2))
        with torch.inference_mode():
            return 2.0 * side**3 / self.seconds_per_call(lambda: a @ b)[1]

    def measure(self, case: Case) -> dict[str, Any]:
        """All figures of one case."""
        self._reset_memory()
        measure = self._measure_photos if case.kind.endswith("jpeg") else self._measure_engine
        amount = case.amount
        while True:
            try:
                return measure(case, amount) | {"amount": amount, "peak": self._peak_memory()}
            except (RuntimeError, MemoryError) as caught:
                if not is_out_of_memory(caught) or amount == 1:
                    raise
            # Outside of `except`, whose traceback holds on to what filled the memory.
            amount //= 2
            self._reset_memory()

    def _measure_engine(self, case: Case, amount: int) -> dict[str, Any]:
        engine = self.engine(case.dtype, case.mode)
        with torch.inference_mode():
            if case.kind == "tensors":
                values = self.pixel_values(amount, engine.dtype)
                work: Callable[[], Any] = partial(engine._embed_images, values)
                flops = amount * image_flops(self.config)
            else:
                rows = token_rows(self.config, self.sizes, amount, case.length)
                work = partial(self.embed_rows, engine, rows)
                flops = sum(text_flops(self.config, len(row)) for row in rows)
            first, taken = self.seconds_per_call(work)
            vectors = torch.as_tensor(work())[:CHECKED].float().cpu()
        name = f"{case.model}-{case.kind}-{case.length}"
        return {"first": first, "seconds": taken, "flops": flops, "cosine": self._cosine(name, case.dtype, vectors)}

    def engine(self, dtype: str, mode: str) -> Engine:
        """The local backend's; only the last one is kept."""
        if self._engine is None or self._engine[0] != (dtype, mode):
            self._engine = None
            self._reset_memory()
            choice = DeviceChoice(device=str(self.device), dtype=dtype, reason="benchmark")
            made = Engine(self.folder, choice, attn_implementation="sdpa", compile=mode == "compiled")
            self._engine = (dtype, mode), made
        return self._engine[1]

    def pixel_values(self, amount: int, dtype: torch.dtype) -> torch.Tensor:
        """Normalised images on the device, laid out as the engine does."""
        image = torch.from_numpy(pixels(self.config, amount)).to(self.device).permute(0, 3, 1, 2).float()
        return image.div_(255.0).sub_(float(MEAN[0])).div_(float(STD[0])).to(dtype)

    def embed_rows(self, engine: Engine, rows: Sequence[list[int]]) -> np.ndarray:
        """All rows, grouped as the local backend does."""
        vectors = np.empty((len(rows), engine.embed_dim), np.float32)
        budget = TOKENS_PER_BATCH[self.device.type]
        lengths = [len(row) for row in rows]
        for group in by_token_budget(lengths, budget=budget, max_texts=TEXTS_PER_BATCH, pads=engine.pads):
            vectors[group] = engine.embed_ids([rows[place] for place in group])
        return vectors

    def _measure_photos(self, case: Case, amount: int) -> dict[str, Any]:
        """From bytes to vectors through the encoder, and the vectors of some photos beside those of float32."""
        self._engine = None
        options = {"backend": "local", "device": str(self.device), "fast_decode": case.kind == "fast jpeg"}
        distinct = self._distinct_photos(case.length, min(amount, DISTINCT_PHOTOS))
        # Bytes behind the end of a JPEG change nothing of it, and make every photo one of its own.
        photos = [data + number.to_bytes(4, "big") for number, data in enumerate(islice(cycle(distinct), amount))]
        with JinaClipEncoder(self.folder, dtype="float32", **options) as encoder:
            wanted = encoder.encode_image(photos[: len(distinct)])
        self._reset_memory()
        with JinaClipEncoder(self.folder, dtype=case.dtype, **options) as encoder:
            start = time.perf_counter()
            found = encoder.encode_image(photos[: len(distinct)])
            first = time.perf_counter() - start
            encoder.encode_image(photos[: self.sizes.per_pass[case.model]])
            start = time.perf_counter()
            encoder.encode_image(photos)  # ends with the vectors in memory: nothing is left running
            taken = time.perf_counter() - start
        cosine = worst_cosine(torch.from_numpy(np.asarray(found)), torch.from_numpy(np.asarray(wanted)))
        return {"first": first, "seconds": taken, "flops": amount * image_flops(self.config), "cosine": cosine}

    def _distinct_photos(self, width: int, count: int) -> list[bytes]:
        """Photos of that width, made once: the larger ones take seconds each."""
        if (width, count) not in self._photos:
            size = next(size for size in self.sizes.photos if size[0] == width)
            with TemporaryDirectory() as made:
                paths = write_photos(Path(made), count, sizes={size: 1000})
                self._photos[width, count] = [path.read_bytes() for path in paths]
        return self._photos[width, count]

    def seconds_per_call(self, work: Callable[[], object]) -> tuple[float, float]:
        """Seconds of the first call, which may compile, and of one of many: the median of several blocks of calls."""
        first = self._timed(work, 1)
        once = self._timed(work, 1)
        calls = max(1, min(200, round(self.block_s / max(once, 1e-6))))
        blocks = BLOCKS if once < 5 * self.block_s else 1
        return first, statistics.median(self._timed(work, calls) / calls for _ in range(blocks))

    def _timed(self, work: Callable[[], object], calls: int) -> float:
        self._synchronize()
        start = time.perf_counter()
        for _ in range(calls):
            work()
        self._synchronize()
        return time.perf_counter() - start

    def _synchronize(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def _reset_memory(self) -> None:
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.device)

    def _peak_memory(self) -> int | None:
        """Bytes of the device that tensors took at a time since `_reset_memory`, weights included."""
        return torch.cuda.max_memory_allocated(self.device) if self.device.type == "cuda" else None

    def _cosine(self, name: str, dtype: str, vectors: torch.Tensor) -> float | None:
        """The worst cosine with the float32 vectors of the same inputs, which an earlier group has left in a file."""
        file = self.folder.parent / f"{name}.npy"
        if dtype == "float32":
            if not file.exists():  # one query is the first of several
                np.save(file, vectors.numpy())
            return None
        if not file.exists():
            return None
        wanted = torch.from_numpy(np.load(file))
        count = min(len(wanted), len(vectors))
        return worst_cosine(vectors[:count], wanted[:count])

    def compare_with_published(self) -> dict[str, float]:
        """The worst cosines of the device's float32 vectors with those of the published computation on the CPU."""
        choice = DeviceChoice(device="cpu", dtype="float32", reason="benchmark")
        reference = Reference(plain_model(self.folder, choice))
        engine, images = self.engine("float32", "eager"), pixels(self.config, REFERENCE_IMAGES)
        rows = token_rows(self.config, self.sizes, REFERENCE_TEXTS, 0)
        values = (torch.from_numpy(images).float() / 255 - float(MEAN[0])) / float(STD[0])
        with torch.inference_mode():
            wanted = {"images": reference.images(values.permute(0, 3, 1, 2)), "texts": reference.texts(rows)}
        found = {"images": engine.embed_pixels(images, mean=MEAN, std=STD), "texts": self.embed_rows(engine, rows)}
        return {name: worst_cosine(torch.from_numpy(vectors), wanted[name]) for name, vectors in found.items()}


def worst_cosine(one: torch.Tensor, other: torch.Tensor) -> float:
    """The smallest cosine of corresponding rows; NaN if there is a NaN in either."""
    return float(F.cosine_similarity(one.float(), other.float(), dim=-1).min())


def main(arguments: Sequence[str]) -> None:
    """`GROUP FOLDER DEVICE TINY DEADLINE OUTPUT`, see `gpu.py`."""
    group, folder, device, tiny, deadline, output = arguments
    if tiny == "tiny":  # traced as ever, but generating code would take longer than all else
        torch.compile = partial(torch.compile, backend="eager")  # type: ignore[assignment]
    worker = Worker(Group.from_json(group), Path(folder), device, tiny == "tiny", float(deadline))
    with open(output, "a", encoding="utf-8") as file:
        for figures in worker.run():
            print(json.dumps(figures), file=file, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
