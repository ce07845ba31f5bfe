"""LocalBackend itself: its settings, what identifies it, and the two streams."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import AsyncIterator, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...catalog import ModelSpec
from ...concurrency.locks import ForkSafeLock
from ...concurrency.threads import ThreadStepped, in_thread, is_ending
from ...errors import BackendError, require_extra
from ...retrieval.fingerprint import checkpoint_digest
from ...settings import DEFAULT_MODEL, SECRET_OPTIONS, LocalSettings, constructor, settings
from ..base import Batch, BatchResult, collect
from .batching import by_token_budget
from .checkpoint_files import check_is_model_name, find_checkpoint, local_spec, read_spec
from .devices import DeviceChoice, choose_devices

if TYPE_CHECKING:
    from .engine import Engine
    from .preprocess import PreprocessedImage
    from .workers import ForwardPass, Workers

TOKENS_PER_BATCH = {"cpu": 2048, "mps": 8192, "cuda": 32768}
"""Padded tokens per forward pass of the text tower, by kind of device."""

PATCHES_PER_BATCH = {"cpu": 2600, "mps": 20_000, "cuda": 80_000}
"""Patches per forward pass of the vision tower where `batch_size="auto"`; an image of v2 has 1,297 with CLS.

On a CPU two images of v2 fill the matrix kernels, and their float32 arrays stay below the 32 MiB from which the C
library returns memory to the system and pays for every page when it asks for it again (mallopt(3), M_MMAP_THRESHOLD).
"""

TEXTS_PER_BATCH = 1024
"""Upper bound of texts per forward pass where `batch_size="auto"`."""

BATCHES_DECODED_AHEAD = 2
"""Batches of decoded images that wait while one is computed, so that memory is bounded however many there are."""

DIGEST_DIGITS = 16
"""Hexadecimal digits of the checkpoint's digest in `cache_identity`: 64 bits tell apart whatever meets in one cache."""


@settings
class LocalArguments(LocalSettings):
    """Arguments of `LocalBackend`: the model, then every setting by its name."""

    model: str | os.PathLike[str] = field(default=DEFAULT_MODEL, kw_only=False)


class LocalBackend:
    """Runs a Jina CLIP checkpoint on this machine.

    Args:
        model: `jina-clip-v1`, `jina-clip-v2`, `demo`, a checkpoint folder, or a Hub id.
        **options: The fields of `LocalSettings` under their own names. None means the default.

    Raises:
        ImportError: the extra `local` is not installed.
        ConfigurationError: a setting that cannot work.
        CheckpointError: a folder that is not a Jina CLIP checkpoint; on first use also damaged weights.
    """

    @constructor(LocalArguments)
    def __init__(self, model: str | os.PathLike[str] = DEFAULT_MODEL, **options: Any) -> None:
        for package in ("torch", "transformers"):
            require_extra(package, extra="local", purpose='backend="local"')
        self.model = check_is_model_name(model)
        self.settings = LocalSettings(**{name: value for name, value in options.items() if value is not None})
        self._known_spec = local_spec(self.model)
        self._lock = ForkSafeLock()
        self._workers: Workers | None = None
        self._pid = os.getpid()

    # Identity

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
    def logit_scale(self) -> float:
        """What the checkpoint multiplies cosines by before a softmax; no other weight is read for it."""
        from ...modeling.checkpoint import read_logit_scale

        return read_logit_scale(self.folder)

    @cached_property
    def cache_identity(self) -> str:
        """All that changes a vector: the checkpoint's digest, precision, text length and how images are decoded."""
        dtypes = "+".join(sorted({choice.dtype for choice in self.choices}))
        decoding = "/fast_decode" if self.settings.fast_decode else ""
        digest = checkpoint_digest(self.folder)[:DIGEST_DIGITS]
        return f"local/{digest}/{dtypes}/max_length={self.settings.max_length}{decoding}"

    def __repr__(self) -> str:
        return f"LocalBackend({self.model!r}, {self.settings!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        options = {name: value for name, value in asdict(self.settings).items() if name not in SECRET_OPTIONS}
        return partial(LocalBackend, self.model, **options), ()

    def __deepcopy__(self, memo: dict[int, Any]) -> LocalBackend:
        return self  # the settings are frozen, and a second copy of the weights would only take memory

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
        workers = self._load_workers()
        plan = self._plan_texts if batch.modality == "text" else self._plan_images
        with closing(plan(workers, batch)) as passes, closing(workers.run(passes)) as results:
            yield from results

    async def astream(self, batch: Batch) -> AsyncIterator[BatchResult]:
        """`stream` in threads; the event loop stays free. Cancelling ends it after the forward pass under way."""
        # A cancelled call leaves its thread inside the generator, perhaps beyond the end of the loop.
        with closing(ThreadStepped(self.stream(batch))) as results:
            while (result := await in_thread(results.step)) is not None:
                yield result

    def _plan_texts(self, workers: Workers, batch: Batch) -> Generator[ForwardPass, None, None]:
        """Texts of like length together, the longest first."""
        from .workers import ForwardPass

        instruction = workers.preprocessor.instruction(batch.task)
        tokens = workers.preprocessor.tokenize([instruction + text for text in batch.texts])
        if tokens.errors:
            if not batch.isolate_errors:
                raise next(iter(tokens.errors.values()))
            yield ForwardPass([], None, errors=tokens.errors)
        if tokens.truncated:
            self._warn_truncated(tokens.truncated, of=len(batch))
        valid = [position for position in range(len(batch)) if position not in tokens.errors]
        lengths = [len(tokens.ids[position]) for position in valid]
        limit = TEXTS_PER_BATCH if self.settings.batch_size == "auto" else self.settings.batch_size
        budget = TOKENS_PER_BATCH[workers.kind]
        for group in by_token_budget(lengths, budget=budget, max_texts=limit, pads=workers.pads):
            positions = [valid[member] for member in group]
            rows = [tokens.ids[position] for position in positions]
            yield ForwardPass(positions, partial(_embed_ids, rows), tokens=sum(map(len, rows)))

    def _warn_truncated(self, count: int, *, of: int) -> None:
        warnings.warn(
            f"{count} of {of} texts were longer than max_length={self.settings.max_length} tokens and were cut",
            UserWarning,
            stacklevel=2,
        )

    def _plan_images(self, workers: Workers, batch: Batch) -> Generator[ForwardPass, None, None]:
        """Images in the caller's order, so that those before a broken one are still computed before it is raised."""
        wanted = self.settings.batch_size
        size = max(1, PATCHES_PER_BATCH[workers.kind] // workers.patches) if wanted == "auto" else wanted
        with closing(workers.preprocess_images(batch.images, ahead=size * BATCHES_DECODED_AHEAD)) as images:
            group: list[PreprocessedImage] = []
            for image in images:
                if image.error is not None and not batch.isolate_errors:
                    yield from self._plan_group(workers, group)
                    raise image.error
                group.append(image)
                if len(group) == size:
                    yield from self._plan_group(workers, group)
                    group = []
            yield from self._plan_group(workers, group)

    def _plan_group(self, workers: Workers, group: list[PreprocessedImage]) -> Iterator[ForwardPass]:
        from .workers import ForwardPass

        decoded = [(image.position, image.pixels) for image in group if image.pixels is not None]
        errors = {image.position: image.error for image in group if image.error is not None}
        if not decoded and not errors:
            return
        compute = None
        if decoded:
            pixels = np.stack([pixels for _, pixels in decoded])
            compute = partial(_embed_pixels, pixels, workers.preprocessor.mean, workers.preprocessor.std)
        yield ForwardPass([position for position, _ in decoded], compute, errors=errors)

    @property
    def max_length(self) -> int:
        """Longest text in tokens; longer ones are truncated."""
        return self.settings.max_length

    def count_tokens(self, texts: Sequence[str], *, task: str | None = None) -> list[int]:
        """Tokens of each text, special tokens and the task's instruction included, before truncation.

        Raises what `stream` raises on first use, and `ConfigurationError` for an unknown task.
        """
        self.spec.check_task(task)
        preprocessor = self._load_workers().preprocessor
        instruction = preprocessor.instruction(task)
        return preprocessor.count([instruction + text for text in texts])

    # Workers

    def load(self) -> None:
        """Read the weights now instead of on first use. Raises what `stream` raises."""
        self._load_workers()

    def _load_workers(self) -> Workers:
        if is_ending() and "torch" not in sys.modules:
            # It could be, but torch would leave tracebacks on stderr, because its own exit handlers come too late.
            raise BackendError(
                "the program is ending, and torch cannot be loaded any more; embed something, or call the backend's "
                "load(), before exit handlers run"
            )
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
        await in_thread(self.close)

    def __enter__(self) -> LocalBackend:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    async def __aenter__(self) -> LocalBackend:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()


def _embed_ids(rows: list[list[int]], engine: Engine) -> Any:
    return engine.embed_ids(rows)


def _embed_pixels(pixels: Any, mean: Any, std: Any, engine: Engine) -> Any:
    return engine.embed_pixels(pixels, mean=mean, std=std)
