"""Keys of the framework's own vector cache. The base class's key is the bare text, whatever computes the vector."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from ..backends.base import identity_of
from ..encoder import JinaClipEncoder
from ..errors import InputError
from ..images.encoded import InputImage
from ..images.rendering import Rendering
from .instrumentation import EmbedBatch

KEY_FORMAT = 1
"""Part of every key; raised when the meaning of keys changes."""


def cache_keys(
    batch: EmbedBatch, encoder: JinaClipEncoder, *, rendering: Rendering, query_task: str | None
) -> list[str | None]:
    """A key for each value of a batch: what computes the vector, for which role, and the content itself.

    A query without a task has the key of the same text, since it has the same vector. None stands for an image that
    is not read here, or cannot be.
    """
    task = query_task if batch.role == "query" else None
    scope = f"jina-clip:{fingerprint(encoder, rendering)}:{task or batch.role.replace('query', 'text')}"
    contents = (_content(value, encoder) for value in batch.values)
    return [None if content is None else f"{scope}:{content}" for content in contents]


def fingerprint(encoder: JinaClipEncoder, rendering: Rendering) -> str:
    """A short digest of everything about the encoder that changes a vector."""
    computed = [encoder.model, identity_of(encoder.backend), encoder.dimensions, encoder.normalize]
    colors = () if rendering.is_published else (rendering.colors,)
    facts = [KEY_FORMAT, *computed, rendering.upright, *colors]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def _content(value: Any, encoder: JinaClipEncoder) -> str | None:
    if not isinstance(value, InputImage):
        return str(value)
    if value.url is not None and getattr(encoder.backend, "sends_urls", False):
        return None  # the service fetches it: what it will see then is not known here
    try:
        return value.content_digest()
    except InputError:
        return None  # met again, and reported, where the image is embedded
