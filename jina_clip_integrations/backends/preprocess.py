"""From texts to token ids and from images to pixels, for backends that run the model themselves. Runs in threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import CancelledError, Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..concurrency.processors import processors
from ..concurrency.threads import submit
from ..errors import BackendError, ImageError, InputError, JinaClipError
from ..inputs import check_unicode
from ..types import Vectors
from .base import ImageSource

T = TypeVar("T")

REDUCING_GAP = 2
"""How many times the model's size a side of a JPEG keeps at least in fast decoding, so that the filter that follows
decides what is seen; the default of the parameter of that name of Pillow's `Image.thumbnail`."""


MAX_DECODERS = 16
"""Upper bound of threads that decode images where `num_workers="auto"`."""

CLOSED = "the backend was closed while it was computing; keep it open until the call has returned"


@dataclass(frozen=True)
class Tokens:
    """Token ids of texts, special tokens included; those of an empty text for one that failed."""

    ids: list[list[int]]
    truncated: int = 0
    """How many texts were longer than the limit."""
    errors: Mapping[int, JinaClipError] = field(default_factory=dict)
    """Position to what is wrong with the text."""


@dataclass(frozen=True)
class PreprocessedImage:
    """An image as the model takes it, `(S, S, 3)` uint8, or the reason why there is none."""

    position: int
    pixels: NDArray[np.uint8] | None = None
    error: JinaClipError | None = None


@dataclass(frozen=True, kw_only=True)
class ImageSteps:
    """What happens to an image on its way to the model."""

    fit: Callable[[Any], NDArray[np.uint8]]
    """From a decoded image to `(size, size, 3)`."""
    size: int
    mean: Vectors
    """`(3,)` float32; the model takes `(pixel / 255 - mean) / std`."""
    std: Vectors


class Preprocessor:
    """Tokenizer and image geometry of one model. Thread-safe: nothing changes after loading."""

    def __init__(
        self,
        tokenizer: Any,
        images: ImageSteps,
        *,
        instruction: Callable[[str | None], str],
        max_length: int,
        fast_decode: bool = False,
    ) -> None:
        """`tokenizer` is a `tokenizers.Tokenizer`, which is set up here; `instruction` is a task's, empty for none."""
        self._tokenizer = tokenizer
        self._tokenizer.enable_truncation(max_length)
        self._tokenizer.no_padding()
        self._fit = images.fit
        self.mean, self.std = images.mean, images.std
        self.instruction = instruction
        # Passed on only when asked for: an image source of the user's own need not know the option.
        self._open_options: dict[str, int] = {"min_side": REDUCING_GAP * images.size} if fast_decode else {}

    def tokenize(self, texts: Sequence[str]) -> Tokens:
        """Ids of every text; the Rust tokenizer uses all processors."""
        errors = _unicode_errors(texts)
        # One surrogate makes the tokenizer refuse the whole batch, so an empty text stands in for it.
        valid = ["" if position in errors else text for position, text in enumerate(texts)] if errors else texts
        encodings = self._tokenizer.encode_batch_fast(list(valid))
        truncated = sum(1 for encoding in encodings if encoding.overflowing)
        return Tokens(ids=[encoding.ids for encoding in encodings], truncated=truncated, errors=errors)

    def count(self, texts: Sequence[str]) -> list[int]:
        """Tokens of every text, special tokens included, before truncation."""
        special = self._tokenizer.num_special_tokens_to_add(False)
        return [
            len(encoding.ids) + sum(len(rest.ids) - special for rest in encoding.overflowing)
            for encoding in self._tokenizer.encode_batch_fast(list(texts))
        ]

    def preprocess(self, position: int, image: ImageSource) -> PreprocessedImage:
        """Decode one image and bring it to the model's size; one that cannot be used comes back as its error."""
        try:
            decoded = image.open(**self._open_options)
            return PreprocessedImage(position, pixels=self._fit(decoded))
        except ImageError as error:
            return PreprocessedImage(position, error=error.at(position))


def _unicode_errors(texts: Sequence[str]) -> dict[int, JinaClipError]:
    """Position to error of the texts that are not valid Unicode."""
    errors: dict[int, JinaClipError] = {}
    for position, text in enumerate(texts):
        try:
            check_unicode(text)
        except InputError as error:  # noqa: PERF203
            errors[position] = error.at(position)
    return errors


def preprocess_ahead(
    pool: Executor, preprocessor: Preprocessor, images: Sequence[ImageSource], *, ahead: int
) -> Generator[PreprocessedImage, None, None]:
    """Images decoded and resized in the threads of `pool`, in order, at most `ahead` of them waiting."""
    pending: deque[Future[PreprocessedImage]] = deque()
    try:
        for position, image in enumerate(images):
            pending.append(start(pool, preprocessor.preprocess, position, image))
            if len(pending) >= ahead:
                yield result_of(pending.popleft())
        while pending:
            yield result_of(pending.popleft())
    finally:
        for future in pending:
            future.cancel()


def decoding_pool(num_workers: int | str) -> ThreadPoolExecutor:
    """Threads that decode images for the setting `num_workers`."""
    return ThreadPoolExecutor(decoder_count(num_workers), thread_name_prefix="jina-clip-decode")


def decoder_count(num_workers: int | str) -> int:
    """How many threads decode images for the setting `num_workers`."""
    return num_workers if isinstance(num_workers, int) else min(processors(), MAX_DECODERS)


def start(pool: Executor, call: Callable[..., T], *arguments: object) -> Future[T]:
    """Start `call` in a thread of a backend's pool. Raises `BackendError` if the backend was closed."""
    try:
        return submit(pool, call, *arguments)
    except RuntimeError as error:  # the pool was shut down by another thread's `close()`
        raise BackendError(CLOSED) from error


def result_of(future: Future[T]) -> T:
    """What a thread of a backend's pool computed. Raises `BackendError` if the backend was closed meanwhile."""
    try:
        return future.result()
    except CancelledError as error:
        raise BackendError(CLOSED) from error
