"""From texts to token ids and from images to pixels, as the checkpoint's own files say. Runs in threads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...errors import ImageError, InputError, JinaClipError
from ...modeling import JinaClipProcessor
from ...types import Vectors
from ..base import ImageSource

SPARE = 2
"""How many times the model's size a side of a JPEG has at least after fast decoding, so that the filter that follows
decides what is seen; what Pillow's `thumbnail` leaves by default (`reducing_gap`)."""


@dataclass(frozen=True)
class Tokens:
    """Token ids of texts, special tokens included, none for a text that failed."""

    ids: list[list[int]]
    cut: int = 0
    """How many texts were longer than the limit."""
    errors: Mapping[int, JinaClipError] = field(default_factory=dict)
    """Position to what is wrong with the text."""


@dataclass(frozen=True)
class PreprocessedImage:
    """An image as the model wants it, `(S, S, 3)` uint8, or the reason why not."""

    position: int
    pixels: NDArray[np.uint8] | None = None
    error: JinaClipError | None = None


class Preprocessor:
    """Tokenizer and image geometry of one checkpoint. Nothing changes after loading, so threads may share it."""

    def __init__(self, folder: Path, *, max_length: int, fast_decode: bool = False) -> None:
        self._processor = JinaClipProcessor.from_pretrained(folder)
        self._tokenizer = self._processor.tokenizer.backend_tokenizer
        self._tokenizer.enable_truncation(max_length)
        self._tokenizer.no_padding()
        self._open: dict[str, int] = {"min_side": SPARE * self._processor.image_processor.size} if fast_decode else {}
        self.mean: Vectors = np.asarray(self._processor.image_processor.image_mean, dtype=np.float32)
        self.std: Vectors = np.asarray(self._processor.image_processor.image_std, dtype=np.float32)

    def tokenize(self, texts: Sequence[str]) -> Tokens:
        """Ids of every text; the Rust tokenizer works on all processors."""
        errors = {position: error for position, text in enumerate(texts) if (error := _not_unicode(position, text))}
        good = ["" if position in errors else text for position, text in enumerate(texts)]
        encodings = self._tokenizer.encode_batch_fast(good)
        cut = sum(1 for encoding in encodings if encoding.overflowing)
        return Tokens(ids=[encoding.ids for encoding in encodings], cut=cut, errors=errors)

    def count(self, texts: Sequence[str]) -> list[int]:
        """Tokens of every text, special tokens included, before any cut."""
        special = self._tokenizer.num_special_tokens_to_add(False)
        return [
            len(encoding.ids) + sum(len(rest.ids) - special for rest in encoding.overflowing)
            for encoding in self._tokenizer.encode_batch_fast(list(texts))
        ]

    def instruction(self, task: str | None) -> str:
        """What `task` puts in front of a text, empty for no task."""
        return self._processor.instruction(task)

    def prepare(self, position: int, image: ImageSource) -> PreprocessedImage:
        """Decode one image and bring it to the model's size; one that cannot be used comes back as its error."""
        try:
            return PreprocessedImage(position, pixels=self._processor.image_processor.fit(image.open(**self._open)))
        except ImageError as error:
            return PreprocessedImage(position, error=error.at(position))


def _not_unicode(position: int, text: str) -> InputError | None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        return InputError(
            f"the text has a lone surrogate at character {error.start}, which no tokenizer can read; "
            'clean it with text.encode("utf-8", "replace").decode()',
            index=position,
        )
    return None
