"""The two graphs of an exported model, and the preprocessing that its description asks for."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...concurrency.processors import processors
from ...errors import CheckpointError, ConfigurationError, JinaClipError
from ...images.geometry import normalize_pixels, resize_and_crop
from ...settings import ExportedSettings
from ...types import Vectors
from ..base import BatchResult, ImageSource, Usage
from ..preprocess import ImageSteps, PreprocessedImage, Preprocessor, decoding_pool, preprocess_ahead
from ..running import ForwardPass
from .folder import MAX_TOKENIZER_BYTES, TOKENIZER_FILE, Description, check_size
from .graphs import OPENERS


class ExportedRunner:
    """The loaded graphs. Thread-safe: the runtimes are, and each pass uses all their threads."""

    pads = True
    """Exported graphs take a grid of ids."""
    kind = "cpu"

    def __init__(self, folder: Path, description: Description, settings: ExportedSettings) -> None:
        self.preprocessor = load_preprocessor(folder, description, settings)
        self.patches = description.patches
        self._description = description
        threads = processors() if settings.num_threads is None else settings.num_threads
        opener = partial(OPENERS[description.format], device=settings.device, threads=threads)
        self._text = opener(folder / description.file("text"))
        self._vision = opener(folder / description.file("image"))
        self._decoding = decoding_pool(settings.num_workers)

    def embed_ids(self, rows: list[list[int]]) -> Vectors:
        """Token ids of several texts, special tokens included, to raw vectors `(n, d)` float32."""
        ids = np.full((len(rows), max(map(len, rows))), self._description.pad_id, np.int64)
        mask = np.zeros_like(ids)
        for row, tokens in enumerate(rows):
            ids[row, : len(tokens)], mask[row, : len(tokens)] = tokens, 1
        return self._text({"input_ids": ids, "attention_mask": mask})

    def embed_pixels(self, pixels: NDArray[np.uint8], *, mean: Vectors, std: Vectors) -> Vectors:
        """Preprocessed images `(n, S, S, 3)` uint8 to raw vectors `(n, d)` float32."""
        return self._vision({"pixel_values": normalize_pixels(pixels, mean, std)})  # type: ignore[arg-type]

    def run(self, passes: Iterator[ForwardPass]) -> Generator[BatchResult, None, None]:
        """Compute every pass in the calling thread and yield its rows."""
        empty = np.empty((0, self._description.spec.embed_dim), np.float32)
        failure: JinaClipError | None = None
        while failure is None:
            try:
                forward_pass = next(passes, None)
            except JinaClipError as error:  # of an input; rows computed before it are with the caller already
                failure = error
                break
            if forward_pass is None:
                return
            vectors = empty if forward_pass.compute is None else forward_pass.compute(self)
            usage = Usage(
                total_tokens=forward_pass.tokens,
                requests=int(forward_pass.compute is not None),
                items=len(forward_pass.positions),
            )
            yield BatchResult(vectors, positions=forward_pass.positions, errors=forward_pass.errors, usage=usage)
        raise failure

    def preprocess_images(
        self, images: Sequence[ImageSource], *, ahead: int
    ) -> Generator[PreprocessedImage, None, None]:
        """Images decoded and resized in threads, in order, at most `ahead` of them waiting."""
        return preprocess_ahead(self._decoding, self.preprocessor, images, ahead=ahead)

    def close(self) -> None:
        """End the threads that decode."""
        self._decoding.shutdown(cancel_futures=True)


def load_preprocessor(folder: Path, description: Description, settings: ExportedSettings) -> Preprocessor:
    """Tokenizer and image geometry of an exported folder. Raises `CheckpointError` for a broken tokenizer."""
    images = description.images
    steps = ImageSteps(
        fit=partial(_fit, images.size, images.resize_mode, images.interpolation, images.fill_color),
        size=images.size,
        mean=np.asarray(images.mean, np.float32),
        std=np.asarray(images.std, np.float32),
    )
    return Preprocessor(
        _read_tokenizer(folder / TOKENIZER_FILE),
        steps,
        instruction=_instructions(description),
        max_length=min(settings.max_length, description.max_length),
        fast_decode=settings.fast_decode,
    )


def _fit(size: int, mode: str, interpolation: str, fill_color: Any, image: Any) -> NDArray[np.uint8]:
    return resize_and_crop(image, size, mode=mode, interpolation=interpolation, fill_color=fill_color)


def _instructions(description: Description) -> Callable[[str | None], str]:
    tasks, default = description.spec.tasks, description.default_task

    def instruction(task: str | None) -> str:
        name = default if task is None else task
        if name is None:
            return ""
        if name not in tasks:
            known = ", ".join(map(repr, tasks)) or "none"
            raise ConfigurationError(f"unknown task {name!r}; this model's tasks: {known}")
        return tasks[name]

    return instruction


def _read_tokenizer(path: Path) -> Any:
    from tokenizers import Tokenizer

    try:
        check_size(path, MAX_TOKENIZER_BYTES)
        return Tokenizer.from_file(str(path))
    except CheckpointError:
        raise
    except BaseException as error:  # the library raises plain `Exception`, and its panics are none
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise CheckpointError(f"{path} cannot be read: {' '.join(str(error).split())[:300]}") from error
