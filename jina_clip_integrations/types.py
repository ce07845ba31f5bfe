"""Types that all packages share: modalities, inputs and results."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, TypeAlias, Union

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import PIL.Image

Modality: TypeAlias = Literal["text", "image"]
"""The two kinds of input."""

OnError: TypeAlias = Literal["raise", "skip"]
"""What happens to a bad item: it ends the call, or becomes a NaN row that `last_errors` reports."""

Vectors: TypeAlias = NDArray[np.float32]
"""Rows of embeddings, `(n, d)` float32 (or `(d,)` for one)."""

ImageInput: TypeAlias = Union[
    str, "os.PathLike[str]", bytes, bytearray, memoryview, BinaryIO, "PIL.Image.Image", NDArray[np.uint8]
]
"""An image: file path, http(s) URL or data URI; bytes or a binary file object; a PIL image; `(H, W, 3)` uint8."""

Item: TypeAlias = Mapping[str, Any]
"""An item of `encode`: `{"text": str}`, `{"image": image}`, a LangChain image block or an OpenAI `image_url` item."""
