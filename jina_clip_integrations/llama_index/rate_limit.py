"""What LlamaIndex's rate limiters are asked for: one permission per request, with its estimated tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..catalog import JINA_CLIP_V2, find_model
from ..errors import JinaClipError
from ..images.encoded import InputImage
from ..tokens import estimate_tokens


def tokens_of_requests(values: Sequence[Any], *, model: str, per_request: int, resize_images: bool) -> list[int]:
    """Estimated tokens of each request, for `values` (texts or images) that travel `per_request` at a time."""
    known = find_model(model) or JINA_CLIP_V2  # a limiter needs some estimate, for any model
    counts = [_estimate(value, known.name, known.tokens_per_tile, resize_images) for value in values]
    return [sum(counts[start : start + per_request]) for start in range(0, len(counts), per_request)]


def _estimate(value: Any, model: str, tile: int, resize_images: bool) -> int:
    if not isinstance(value, InputImage):
        return estimate_tokens({"text": value}, model=model).total_tokens
    if resize_images or value.url is not None:  # a resized image is one tile; a URL is not fetched to find out
        return tile
    try:
        return estimate_tokens({"image": value}, model=model, resize_images=False).total_tokens
    except JinaClipError:
        return tile  # unreadable, which is reported where it is embedded
