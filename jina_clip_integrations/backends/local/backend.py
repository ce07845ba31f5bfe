"""LocalBackend itself: its settings, what identifies it, and the two streams."""

from __future__ import annotations

import asyncio
import os
import warnings
from collections.abc import AsyncIterator, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ...catalog import ModelSpec
from ...concurrency.locks import ForkSafeLock
from ...errors import ConfigurationError, require_extra
from ...settings import Device, LocalSettings
from ..base import Batch, BatchResult, collect
from .batching import by_token_budget
from .checkpoint_files import check_is_model_name, find_checkpoint, fingerprint, local_spec, read_spec
from .devices import DeviceChoice, choose_devices

if TYPE_CHECKING:
    from .engine import Engine
    from .preprocess import PreprocessedImage
    from .workers import Work, Workers

TOKENS_PER_BATCH = {"cpu": 2048, "mps": 8192, "cuda": 32768}
"""Padded tokens per forward pass of the text tower, by kind of device."""

PATCHES_PER_BATCH = {"cpu": 2600, "mps": 20_000, "cuda": 80_000}
"""Patches per forward pass of the vision tower where `batch_size="auto"`; an image of v2 has 1,297 with CLS.

On a CPU two images of v2 fill the matrix kernels, and their float32 arrays stay below the 32 MiB from which the C
library gives memory back to the system and is charged for every page when it asks again (mallopt(3), M_MMAP_THRESHOLD).
"""

TEXTS_PER_BATCH = 1024
"""Most texts per forward pass where `batch_size="auto"`."""

BATCHES_DECODED_AHEAD = 2
"""Batches of decoded images that wait while one is computed."""

MAX_LENGTH_LIMIT = 8192
"""Tokens that both models take at most."""


class LocalBackend:
    """Runs a Jina CLIP checkpoint on this machine.

    Args:
        model: `jina-clip-v1`, `jina-clip-v2`, `demo`, a checkpoint folder, or a Hub id.
        device: `auto` (cuda, mps, cpu), a torch device name, or a list of them (one worker each, order kept); what
            transformers calls `device_map`. Workers on one device share its weights, CPU workers its processors.
        dtype: `auto` (bfloat16 where every device has it natively, else float32), `bfloat16`, `float16`, `float32`;
            the same on all devices.
        batch_size: Images per forward pass, and most texts per forward pass; `auto` fits the device.
        max_length: Longest text in tokens, special tokens included (at most 8192); longer texts are cut with a warning.
        num_workers: Threads that decode and resize images while the model computes; `auto` = the processors there.
        fast_decode: Decode JPEGs at a half, quarter or eighth of their size where that leaves twice the model's. Large
            photos then take a fraction of the time, and their vectors differ slightly from the published ones.
        attn_implementation: `sdpa` (fused kernels) or `eager`.
        compile: Compile the towers with `torch.compile`; the first batches then take minutes.
        revision: Branch, tag or commit of a Hub id.
        cache_dir: Where Hub files are kept.
        local_files_only: Never fetch weights.
        token: Hub token; never shown, never pickled.

    Raises:
        ImportError: the extra `local` is not installed.
        ConfigurationError: a setting that cannot work.
        CheckpointError: a folder that is not a Jina CLIP checkpoint; on first use also damaged weights.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] = "jina-clip-v2",
        *,
        device: Device = "auto",
        dtype: str = "auto",
        batch_size: int | Literal["auto"] = "auto",
        max_length: int = LocalSettings.max_length,
        num_workers: int | Literal["auto"] = "auto",
        fast_decode: bool = False,
        attn_implementation: str = "sdpa",
        compile: bool = False,
        revision: str | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        local_files_only: bool = False,
        token: str | None = None,
    ) -> None:
        for package in ("torch", "transformers"):
            require_extra(package, extra="local", purpose='backend="local"')
        self.model = check_is_model_name(model)
        self.settings = LocalSettings(
            device=device,
            dtype=dtype,
            batch_size=_count_or_auto(batch_size, "batch_size"),
            max_length=_check_max_length(max_length),
            num_workers=_count_or_auto(num_workers, "num_workers"),
            fast_decode=fast_decode,
            attn_implementation=attn_implementation,
            compile=compile,
            revision=revision,
            cache_dir=None if cache_dir is None else os.fspath(cache_dir),
            local_files_only=local_files_only,
            token=token,
        )
        self._known_spec = local_spec(self.model)
        self._lock = ForkSafeLock()
        self._workers: Workers | None = None
        self._pid = os.getpid()

    # What it is

    @cached_property
    def folder(self) -> Path:
        """The folder with the checkpoint's files; a Hub id is downloaded on first use."""
        return find_checkpoint(self.model, self.settings)

    @cached_property
    def spec(self) -> ModelSpec:
        """The model's facts: from the catalogue, else from the checkpoint's `config.json`."""
        return self._known_spec or read_spec(self.folder)

    @property
    def dimensions(self) -> int:
        """Full width of the vectors."""
        return self.spec.embed_dim

    @cached_property
    def choices(self) -> list[DeviceChoice]:
        """Device and precision of each worker. Raises `ConfigurationError` for what this machine does not have."""
        return choose_devices(self.settings.device, self.settings.dtype)

    @cached_property
    def cache_identity(self) -> str:
        """All that changes a vector: the weights' fingerprint, precision, text length and how images are decoded."""
        dtypes = "+".join(sorted({choice.dtype for choice in self.choices}))
        decoding = "/fast_decode" if self.settings.fast_decode else ""
        return f"local/{fingerprint(self.folder)}/{dtypes}/max_length={self.settings.max_length}{decoding}"

    def __repr__(self) -> str:
        return f"LocalBackend({self.model!r}, {self.settings!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        options = {name: value for name, value in asdict(self.settings).items() if name != "token"}
        return partial(LocalBackend, self.model, **options), ()

    def __deepcopy__(self, memo: dict[int, Any]) -> LocalBackend:
        return self  # the settings are frozen, and a second copy of the weights would help nobody

    # Embedding

    def embed(self, batch: Batch) -> BatchResult:
        """All rows of a batch: raw vectors `(n, dimensions)` float32, not normalised."""
        return collect(list(self.stream(batch)), items=len(batch), dimensions=self.dimensions)

    async def aembed(self, batch: Batch) -> BatchResult:
        """`embed` without blocking the event loop."""
        results = [result async for result in self.astream(batch)]
        return collect(results, items=len(batch), dimensions=self.dimensions)

    def stream(self, batch: Batch) -> Generator[BatchResult, None, None]:
        """Yield raw rows, `(k, dimensions)` float32, batch by batch as they are computed.

        Raises:
            InputError: a text that is no valid Unicode, or (as `ImageError`) an image that cannot be read; its
                `index` is the position in the batch. With `isolate_errors` it is part of a result instead.
            CheckpointError: on first use, weights that are missing, corrupt or misshapen.
        """
        self.spec.check_task(batch.task)
        if not len(batch):
            return
        workers = self._ready()
        works = self._text_works(workers, batch) if batch.modality == "text" else self._image_works(workers, batch)
        with closing(works), closing(workers.run(works)) as results:
            yield from results

    async def astream(self, batch: Batch) -> AsyncIterator[BatchResult]:
        """`stream` in threads; the event loop stays free. Cancelling ends it after the batch in hand."""
        results = self.stream(batch)
        step: asyncio.Future[BatchResult | None] | None = None
        try:
            while True:
                step = asyncio.ensure_future(asyncio.to_thread(next, results, None))
                result = await asyncio.shield(step)
                if result is None:
                    return
                yield result
        finally:
            if step is None or step.done():
                results.close()
            else:  # cancelled while a thread is inside the generator: close it when the thread has left
                step.add_done_callback(partial(_close_after, results))

    def _text_works(self, workers: Workers, batch: Batch) -> Generator[Work, None, None]:
        from .workers import Work

        instruction = workers.preparation.instruction(batch.task)
        tokens = workers.preparation.tokenize([instruction + text for text in batch.texts])
        if tokens.errors:
            if not batch.isolate_errors:
                raise next(iter(tokens.errors.values()))
            yield Work([], None, errors=tokens.errors)
        if tokens.cut:
            self._warn_of_cut(tokens.cut, of=len(batch))
        good = [position for position in range(len(batch)) if position not in tokens.errors]
        lengths = [len(tokens.ids[position]) for position in good]
        most = TEXTS_PER_BATCH if self.settings.batch_size == "auto" else self.settings.batch_size
        for group in by_token_budget(lengths, budget=TOKENS_PER_BATCH[workers.kind], most=most, pads=workers.pads):
            positions = [good[member] for member in group]
            rows = [tokens.ids[position] for position in positions]
            yield Work(positions, partial(_embed_ids, rows), tokens=sum(map(len, rows)))

    def _warn_of_cut(self, cut: int, *, of: int) -> None:
        warnings.warn(
            f"{cut} of {of} texts were longer than max_length={self.settings.max_length} tokens and were cut",
            UserWarning,
            stacklevel=2,
        )

    def _image_works(self, workers: Workers, batch: Batch) -> Generator[Work, None, None]:
        asked = self.settings.batch_size
        fitting = max(1, PATCHES_PER_BATCH[workers.kind] // workers.patches)
        size = fitting if asked == "auto" else asked
        with closing(workers.prepare_images(batch.images, ahead=size * BATCHES_DECODED_AHEAD)) as prepared:
            group: list[PreprocessedImage] = []
            for item in prepared:
                if item.error is not None and not batch.isolate_errors:
                    yield from self._image_work(workers, group)
                    raise item.error
                group.append(item)
                if len(group) == size:
                    yield from self._image_work(workers, group)
                    group = []
            yield from self._image_work(workers, group)

    def _image_work(self, workers: Workers, group: list[PreprocessedImage]) -> Iterator[Work]:
        from .workers import Work

        ready = [(item.position, item.pixels) for item in group if item.pixels is not None]
        errors = {item.position: item.error for item in group if item.error is not None}
        if not ready and not errors:
            return
        preparation = workers.preparation
        pixels = np.stack([pixels for _, pixels in ready]) if ready else None
        compute = None if pixels is None else partial(_embed_pixels, pixels, preparation.mean, preparation.std)
        yield Work([position for position, _ in ready], compute, errors=errors)

    @property
    def max_length(self) -> int:
        """Longest text in tokens; what is longer is cut."""
        return self.settings.max_length

    def count_tokens(self, texts: Sequence[str], *, task: str | None = None) -> list[int]:
        """Tokens of each text, special tokens and the task's instruction included, before any cut.

        Raises what `stream` raises on first use, and `ConfigurationError` for an unknown task.
        """
        self.spec.check_task(task)
        preparation = self._ready().preparation
        instruction = preparation.instruction(task)
        return preparation.count([instruction + text for text in texts])

    # Workers

    def load(self) -> None:
        """Read the weights now instead of on first use. Raises what `stream` raises."""
        self._ready()

    def _ready(self) -> Workers:
        from .workers import Workers

        with self._lock:
            if self._pid != os.getpid():
                self._start_after_fork()
            if self._workers is None:
                self._workers = Workers(self.folder, self.choices, self.settings)
            return self._workers

    def _start_after_fork(self) -> None:
        import torch

        # Threads do not survive a fork, and OpenMP's pool hangs in the child of a process that has used it.
        torch.set_num_threads(1)
        self._workers, self._pid = None, os.getpid()

    def close(self) -> None:
        """Free the weights and the threads. Idempotent; a later call loads them again."""
        with self._lock:
            workers, self._workers = self._workers, None
        if workers is not None and self._pid == os.getpid():
            workers.close()

    async def aclose(self) -> None:
        """`close` without blocking the event loop."""
        await asyncio.to_thread(self.close)

    def __enter__(self) -> LocalBackend:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    async def __aenter__(self) -> LocalBackend:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()


def _close_after(results: Generator[Any, None, None], step: asyncio.Future[Any]) -> None:
    if not step.cancelled():
        step.exception()  # looked at, so that asyncio does not report it as lost
    results.close()


def _embed_ids(rows: list[list[int]], engine: Engine) -> Any:
    return engine.embed_ids(rows)


def _embed_pixels(pixels: Any, mean: Any, std: Any, engine: Engine) -> Any:
    return engine.embed_pixels(pixels, mean=mean, std=std)


def _count_or_auto(value: int | Literal["auto"], name: str) -> int | Literal["auto"]:
    if value == "auto" or (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
        return value
    raise ConfigurationError(f'{name}={value!r}: give a whole number from 1 up, or "auto"')


def _check_max_length(value: int) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 3 <= value <= MAX_LENGTH_LIMIT:
        return value
    raise ConfigurationError(f"max_length={value!r}: give a number of tokens from 3 to {MAX_LENGTH_LIMIT}")
