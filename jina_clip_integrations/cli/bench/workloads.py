"""Work of known size to be timed: forward passes of one engine, and the preprocessing of a large photo."""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from statistics import NormalDist
from typing import TYPE_CHECKING, Literal

import numpy as np

from ...backends.batching import by_token_budget
from ...backends.local.devices import DeviceChoice
from ...backends.running import PATCHES_PER_BATCH, TEXTS_PER_BATCH, TOKENS_PER_BATCH
from ...inputs import InputParser
from .model import BenchmarkModel

if TYPE_CHECKING:
    import torch

TEXT_MEDIAN, TEXT_SIGMA, MIN_TEXT, MAX_TEXT = 30, 0.8, 3, 512
"""Lengths of texts in tokens: log-normal, as captions and short passages are; the mean is 41."""

PHOTO_SIZE, PHOTO_QUALITY, PHOTO_GRAIN = (4000, 3000), 90, 0.1
"""The photo that is decoded: 12 megapixels, with as much grain as makes a JPEG of 4 MB, as cameras write."""


class Workloads:
    """Forward passes of one engine, on a thread set up as a worker of the backend is. A context manager.

    Raises what `BenchmarkModel.engine` raises, and what torch raises when memory is full.
    """

    def __init__(self, model: BenchmarkModel, choice: DeviceChoice) -> None:
        from ...backends.local.workers import adopt, claims, kind_of

        self._config = model.config
        self.engine = engine = model.engine(choice)
        self.device = engine.device
        self.dtype = choice.dtype
        self.kind = kind_of(engine.device)
        self.auto_images = max(1, PATCHES_PER_BATCH[self.kind] // engine.patches)
        self.image_tokens = model.image_tokens
        initargs = (threading.local(), claims([engine]))
        self._thread = ThreadPoolExecutor(1, "jina-clip-bench", initializer=adopt, initargs=initargs)
        self._random = np.random.default_rng(0)

    def __enter__(self) -> Workloads:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        # The thread holds the weights; but an interruption does not wait for the pass in hand.
        self._thread.shutdown(wait=kind is None, cancel_futures=True)

    def texts(self, lengths: Sequence[int], *, max_texts: int | Literal["auto"]) -> Callable[[], None]:
        """Work: random texts of these lengths in tokens, grouped as the backend does for `batch_size=max_texts`."""
        vocabulary = self._config.text_config.settings.vocab_size
        # Prepared before the clock runs: only the forward passes are measured.
        rows = [self._random.integers(10, vocabulary, length).tolist() for length in lengths]  # past special tokens
        limit = TEXTS_PER_BATCH if max_texts == "auto" else max_texts
        groups = by_token_budget(lengths, budget=TOKENS_PER_BATCH[self.kind], max_texts=limit, pads=self.engine.pads)
        return partial(
            self._run, [partial(self.engine.embed_ids, [rows[position] for position in group]) for group in groups]
        )

    def images(self, count: int) -> Callable[[], None]:
        """Work: that many random images in one pass."""
        side = self._config.vision_config.image_size
        # Noise costs a model as much as a photo does.
        pixels = self._random.integers(0, 256, (count, side, side, 3), dtype=np.uint8)
        half = np.full(3, 0.5, np.float32)
        return partial(self._run, [partial(self.engine.embed_pixels, pixels, mean=half, std=half)])

    def memory_bytes(self) -> int | None:
        """Most memory taken so far: on the GPU, else by this process. None where it cannot be asked for."""
        return peak_memory(self.device)

    def _run(self, calls: list[Callable[[], object]]) -> None:
        for call in calls:
            self._thread.submit(call).result()


def peak_memory(device: torch.device) -> int | None:
    """Most bytes taken so far by this process: on an NVIDIA GPU of its memory, else of the machine's."""
    if device.type == "cuda":
        import torch

        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ImportError:  # Windows
        return None
    # Linux counts in KiB, macOS in bytes (getrusage(2)).
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def text_lengths(count: int) -> list[int]:
    """Lengths of `count` texts in tokens: evenly spaced quantiles, so that few texts are as long as many on average."""
    quantiles = (NormalDist().inv_cdf((number + 0.5) / count) for number in range(count))
    lengths = np.rint(TEXT_MEDIAN * np.exp(TEXT_SIGMA * np.array([*quantiles]))).astype(int)
    return [int(length) for length in lengths.clip(MIN_TEXT, MAX_TEXT)]


def make_photo() -> bytes:
    """A JPEG with the detail and size of a camera's: the same bytes every time."""
    from PIL import Image

    random = np.random.default_rng(0)
    width, height = PHOTO_SIZE
    coarse = random.integers(0, 256, (height // 100, width // 100, 3), dtype=np.uint8)
    shapes = Image.fromarray(coarse).resize(PHOTO_SIZE, Image.Resampling.BICUBIC)
    grain = Image.fromarray(random.integers(0, 256, (height, width), dtype=np.uint8)).convert("RGB")
    buffer = io.BytesIO()
    Image.blend(shapes, grain, PHOTO_GRAIN).save(buffer, "JPEG", quality=PHOTO_QUALITY)
    return buffer.getvalue()


def preprocess_workload(model: BenchmarkModel) -> Callable[[], object]:
    """Work: that photo, from its bytes to what the model takes."""
    # The JPEG is made outside the measurement, decoding it is what counts.
    data, processor = make_photo(), model.image_processor()
    return lambda: processor.fit(InputParser().image(data).open())
