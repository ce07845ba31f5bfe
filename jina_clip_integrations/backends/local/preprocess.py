"""From texts to token ids and from images to pixels, as the checkpoint's own files say. Runs in threads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...errors import CheckpointError, ImageError, InputError, JinaClipError
from ...inputs import check_unicode
from ...modeling import JinaClipProcessor
from ...types import Vectors
from ..base import ImageSource

REDUCING_GAP = 2
"""How many times the model's size a side of a JPEG keeps at least in fast decoding, so that the filter that follows
decides what is seen; the default of the parameter of that name of Pillow's `Image.thumbnail`."""

ERROR_CHARACTERS = 300
"""Most characters of the framework's message that an error repeats."""


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


class Preprocessor:
    """Tokenizer and image geometry of one checkpoint. Thread-safe: nothing changes after loading."""

    def __init__(self, folder: Path, *, max_length: int, fast_decode: bool = False) -> None:
        try:
            self._processor = JinaClipProcessor.from_pretrained(folder)
        except OSError as error:  # the framework's word for a file that is not there, or that is no JSON
            reason = " ".join(str(error).split())[:ERROR_CHARACTERS]
            raise CheckpointError(f"the tokenizer or preprocessor of {folder} cannot be read: {reason}") from error
        self._tokenizer = self._processor.tokenizer.backend_tokenizer
        self._tokenizer.enable_truncation(max_length)
        self._tokenizer.no_padding()
        # Passed on only when asked for: an image source of the user's own need not know the option.
        size = self._processor.image_processor.size
        self._open_options: dict[str, int] = {"min_side": REDUCING_GAP * size} if fast_decode else {}
        self.mean: Vectors = np.asarray(self._processor.image_processor.image_mean, dtype=np.float32)
        self.std: Vectors = np.asarray(self._processor.image_processor.image_std, dtype=np.float32)

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

    def instruction(self, task: str | None) -> str:
        """What `task` puts in front of a text, empty for no task."""
        return self._processor.instruction(task)

    def preprocess(self, position: int, image: ImageSource) -> PreprocessedImage:
        """Decode one image and bring it to the model's size; one that cannot be used comes back as its error."""
        try:
            decoded = image.open(**self._open_options)
            return PreprocessedImage(position, pixels=self._processor.image_processor.fit(decoded))
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
