"""What every backend shares that runs the model on this machine: forward passes, planned here, computed elsewhere.

A subclass has its settings and loads a `Runner`: tokenizer, image geometry and what computes a pass.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from ..catalog import ModelSpec
from ..concurrency.threads import ThreadStepped, in_thread
from ..errors import JinaClipError
from ..types import Vectors
from .base import Batch, BatchResult, ImageSource, collect
from .batching import by_token_budget
from .preprocess import PreprocessedImage, Preprocessor

if TYPE_CHECKING:
    from typing_extensions import Self

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


class Engine(Protocol):
    """What computes: one model, or the two graphs of an exported one."""

    def embed_ids(self, rows: list[list[int]]) -> Vectors:
        """Token ids of several texts, special tokens included, to raw vectors `(n, d)` float32."""

    def embed_pixels(self, pixels: Any, *, mean: Vectors, std: Vectors) -> Vectors:
        """Preprocessed images `(n, S, S, 3)` uint8 to raw vectors `(n, d)` float32."""


@dataclass(frozen=True)
class ForwardPass:
    """What is computed in one go: rows for these positions of the batch, and what they cost."""

    positions: list[int]
    compute: Callable[[Engine], Vectors] | None
    """None where every input failed before it reached the model."""
    tokens: int = 0
    errors: Mapping[int, JinaClipError] = field(default_factory=dict)
    """Position to error of the inputs that failed."""


class Runner(Protocol):
    """A loaded model and the threads around it. Thread-safe."""

    @property
    def preprocessor(self) -> Preprocessor:
        """Tokenizer and image geometry."""

    @property
    def kind(self) -> str:
        """Kind of device by which passes are sized: a key of `TOKENS_PER_BATCH`."""

    @property
    def patches(self) -> int:
        """Patches of one image, with CLS."""

    @property
    def pads(self) -> bool:
        """Whether texts of a pass are padded to the longest."""

    def run(self, passes: Iterator[ForwardPass]) -> Generator[BatchResult, None, None]:
        """Compute every pass and yield its rows; when `passes` fails, what came before is yielded first."""

    def preprocess_images(
        self, images: Sequence[ImageSource], *, ahead: int
    ) -> Generator[PreprocessedImage, None, None]:
        """Images decoded and resized in threads, in order, at most `ahead` of them waiting."""

    def close(self) -> None:
        """Free the weights and the threads."""


class ModelBackend(ABC):
    """Base of the backends that run a model here. Subclasses set `model`, `batch_size` and `max_length`."""

    model: str

    @property
    @abstractmethod
    def spec(self) -> ModelSpec:
        """The model's facts."""

    @property
    @abstractmethod
    def batch_limit(self) -> int | Literal["auto"]:
        """The setting `batch_size`."""

    @property
    @abstractmethod
    def max_length(self) -> int:
        """Longest text in tokens; longer ones are truncated."""

    @abstractmethod
    def _load(self) -> Runner:
        """The loaded model; the first call reads the weights."""

    @abstractmethod
    def close(self) -> None:
        """Free the weights and the threads. Idempotent; a later call loads them again."""

    @property
    def dimensions(self) -> int:
        """Full width of the vectors."""
        return self.spec.embed_dim

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
        runner = self._load()
        plan = self._plan_texts if batch.modality == "text" else self._plan_images
        with closing(plan(runner, batch)) as passes, closing(runner.run(passes)) as results:
            yield from results

    async def astream(self, batch: Batch) -> AsyncIterator[BatchResult]:
        """`stream` in threads; the event loop stays free. Cancelling ends it after the forward pass under way."""
        # A cancelled call leaves its thread inside the generator, perhaps beyond the end of the loop.
        with closing(ThreadStepped(self.stream(batch))) as results:
            while (result := await in_thread(results.step)) is not None:
                yield result

    def _plan_texts(self, runner: Runner, batch: Batch) -> Generator[ForwardPass, None, None]:
        """Texts of like length together, the longest first."""
        instruction = runner.preprocessor.instruction(batch.task)
        tokens = runner.preprocessor.tokenize([instruction + text for text in batch.texts])
        if tokens.errors:
            if not batch.isolate_errors:
                raise next(iter(tokens.errors.values()))
            yield ForwardPass([], None, errors=tokens.errors)
        if tokens.truncated:
            self._warn_truncated(tokens.truncated, of=len(batch))
        valid = [position for position in range(len(batch)) if position not in tokens.errors]
        lengths = [len(tokens.ids[position]) for position in valid]
        limit = TEXTS_PER_BATCH if self.batch_limit == "auto" else self.batch_limit
        budget = TOKENS_PER_BATCH[runner.kind]
        for group in by_token_budget(lengths, budget=budget, max_texts=limit, pads=runner.pads):
            positions = [valid[member] for member in group]
            rows = [tokens.ids[position] for position in positions]
            yield ForwardPass(positions, partial(_embed_ids, rows), tokens=sum(map(len, rows)))

    def _warn_truncated(self, count: int, *, of: int) -> None:
        warnings.warn(
            f"{count} of {of} texts were longer than max_length={self.max_length} tokens and were cut",
            UserWarning,
            stacklevel=2,
        )

    def _plan_images(self, runner: Runner, batch: Batch) -> Generator[ForwardPass, None, None]:
        """Images in the caller's order, so that those before a broken one are still computed before it is raised."""
        wanted = self.batch_limit
        size = max(1, PATCHES_PER_BATCH[runner.kind] // runner.patches) if wanted == "auto" else wanted
        with closing(runner.preprocess_images(batch.images, ahead=size * BATCHES_DECODED_AHEAD)) as images:
            group: list[PreprocessedImage] = []
            for image in images:
                if image.error is not None and not batch.isolate_errors:
                    yield from _plan_group(runner.preprocessor, group)
                    raise image.error
                group.append(image)
                if len(group) == size:
                    yield from _plan_group(runner.preprocessor, group)
                    group = []
            yield from _plan_group(runner.preprocessor, group)

    def count_tokens(self, texts: Sequence[str], *, task: str | None = None) -> list[int]:
        """Tokens of each text, special tokens and the task's instruction included, before truncation.

        Raises what `stream` raises on first use, and `ConfigurationError` for an unknown task.
        """
        self.spec.check_task(task)
        preprocessor = self._load().preprocessor
        instruction = preprocessor.instruction(task)
        return preprocessor.count([instruction + text for text in texts])

    def load(self) -> None:
        """Read the weights now instead of on first use. Raises what `stream` raises."""
        self._load()

    async def aclose(self) -> None:
        """`close` without blocking the event loop."""
        await in_thread(self.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()


def _plan_group(preprocessor: Preprocessor, group: list[PreprocessedImage]) -> Iterator[ForwardPass]:
    decoded = [(image.position, image.pixels) for image in group if image.pixels is not None]
    errors = {image.position: image.error for image in group if image.error is not None}
    if not decoded and not errors:
        return
    compute = None
    if decoded:
        pixels = np.stack([pixels for _, pixels in decoded])
        compute = partial(_embed_pixels, pixels, preprocessor.mean, preprocessor.std)
    yield ForwardPass([position for position, _ in decoded], compute, errors=errors)


def _embed_ids(rows: list[list[int]], engine: Engine) -> Vectors:
    return engine.embed_ids(rows)


def _embed_pixels(pixels: Any, mean: Vectors, std: Vectors, engine: Engine) -> Vectors:
    return engine.embed_pixels(pixels, mean=mean, std=std)
