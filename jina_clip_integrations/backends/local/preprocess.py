"""The preprocessing that a checkpoint's own files describe."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...errors import CheckpointError
from ...modeling import JinaClipProcessor
from ..preprocess import ImageSteps, Preprocessor

ERROR_CHARACTERS = 300
"""Most characters of the framework's message that an error repeats."""


def load_preprocessor(
    folder: Path, *, max_length: int, fast_decode: bool = False, image_size: int | None = None
) -> Preprocessor:
    """Tokenizer and image geometry of the checkpoint in `folder`, for images of its own size or of `image_size` pixels.

    Raises `CheckpointError` for broken files.
    """
    try:
        processor = JinaClipProcessor.from_pretrained(folder)
    except OSError as error:  # the framework's word for a file that is not there, or that is no JSON
        reason = " ".join(str(error).split())[:ERROR_CHARACTERS]
        raise CheckpointError(f"the tokenizer or preprocessor of {folder} cannot be read: {reason}") from error
    images = processor.image_processor
    if image_size is not None:
        images.size = image_size
    steps = ImageSteps(
        fit=images.fit,
        size=images.size,
        mean=np.asarray(images.image_mean, dtype=np.float32),
        std=np.asarray(images.image_std, dtype=np.float32),
    )
    return Preprocessor(
        processor.tokenizer.backend_tokenizer,
        steps,
        instruction=processor.instruction,
        max_length=max_length,
        fast_decode=fast_decode,
    )
