"""The model behind a server: an encoder whose rows are raw and of full width, and token counts."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..catalog import ModelSpec
from ..errors import BackendError, ConfigurationError
from ..tokens import text_tokens
from .batching import EmbedResult, Kind

if TYPE_CHECKING:
    from ..backends.base import EmbeddingBackend
    from ..encoder import JinaClipEncoder

WARM_UP_TEXT = "ready"


class Embedder:
    """Computes rows that are neither truncated nor normalised, so that requests of all widths share a batch."""

    def __init__(self, source: JinaClipEncoder | EmbeddingBackend) -> None:
        self.encoder = raw_encoder(source)
        self.backend: Any = self.encoder.backend
        self.spec: ModelSpec = self.encoder.spec
        if not self.spec.embed_dim:
            raise ConfigurationError(f"{self.encoder.model}: the width of this model's vectors is not known")
        self.max_length = min(self.spec.max_length, getattr(self.backend, "max_length", self.spec.max_length))

    async def embed(self, kind: Kind, inputs: Sequence[Any]) -> EmbedResult:
        """Raw rows `(n, D)` of texts or of encoded images, and the errors of inputs without a row, by position."""
        if kind.modality == "text":
            rows = await self.encoder.aencode_text(list(inputs), task=kind.task, on_error="skip")
        else:
            rows = await self.encoder.aencode_image(list(inputs), on_error="skip")
        # Per task in the encoder, so concurrent batches do not see each other's errors.
        return rows, dict(self.encoder.last_errors)

    async def count_tokens(self, texts: Sequence[str], task: str | None) -> list[int]:
        """Tokens of each text before truncation, instruction included; an estimate if the backend has no tokenizer."""
        count = getattr(self.backend, "count_tokens", None)
        if count is not None:
            return list(await asyncio.to_thread(count, list(texts), task=task))
        instruction = self.spec.tasks.get(task or "", "")
        return [text_tokens(instruction + text, self.spec) for text in texts]

    async def warm_up(self) -> None:
        """Load the model and compute one vector. Raises what loading raises."""
        _, errors = await self.embed(Kind("text"), [WARM_UP_TEXT])
        if errors:
            raise BackendError("the model loads, but cannot embed a text") from errors[0]


def raw_encoder(source: JinaClipEncoder | EmbeddingBackend) -> JinaClipEncoder:
    """An encoder of the same backend, cache and EXIF setting that gives full, raw rows."""
    from ..encoder import JinaClipEncoder

    if not isinstance(source, JinaClipEncoder):
        return JinaClipEncoder(backend=source, normalize=False)
    return JinaClipEncoder(
        backend=source.backend, normalize=False, cache=source.cache, exif_orientation=source.exif_orientation
    )
