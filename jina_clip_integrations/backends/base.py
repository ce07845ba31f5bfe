"""The contract between the encoder and whatever computes the vectors.

The encoder owns the row: it knows which of the caller's inputs a vector belongs to, what is cached and what failed, and
it truncates and normalises at the end. A backend gets a `Batch` of inputs of one modality and returns rows, each with
its position in that batch.

The smallest useful backend has a `model` name, a `dimensions` size and `embed(batch)` (or `aembed`). It gets at most
`batch_size` items at a time (default 32) and may return a bare `BatchResult(vectors)`. Backends that batch and overlap
by themselves, as ours do, implement `stream` / `astream` instead: they get everything at once and yield results, in any
order, as soon as they are known, so that nothing finished is ever lost to a later failure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ..errors import JinaClipError
from ..types import Modality

if TYPE_CHECKING:
    import PIL.Image

DEFAULT_BATCH_SIZE = 32
"""Items handed at a time to a backend that does not say how many it wants."""


class ImageSource(Protocol):
    """An image input as a backend sees it: nothing is read before it is asked for. Safe to use from threads."""

    @property
    def label(self) -> str:
        """Short name for messages: a path, a URL without its query, or `image/png 12 kB sha256:ab12cd34`."""

    @property
    def url(self) -> str | None:
        """The http(s) URL it was given as, None for anything else."""

    def size(self) -> tuple[int, int]:
        """Width and height in pixels, from the header alone where possible. Raises `ImageError`."""

    def read(self) -> bytes:
        """The encoded file as it was given (PNG for pixels that came without one). Raises `ImageError`."""

    def open(self, *, min_side: int | None = None) -> PIL.Image.Image:
        """The decoded RGB image, turned upright if the encoder was told so. Raises `ImageError`.

        With `min_side` the image may be decoded at a half, a quarter or an eighth of its size where that is faster and
        no side gets shorter than `min_side` pixels. Asked for only where the user allowed it.
        """


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What was spent: tokens as the service counts them, requests (or forward passes), items, cache hits."""

    total_tokens: int = 0
    requests: int = 0
    items: int = 0
    cache_hits: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            total_tokens=self.total_tokens + other.total_tokens,
            requests=self.requests + other.requests,
            items=self.items + other.items,
            cache_hits=self.cache_hits + other.cache_hits,
        )


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Inputs of one modality that are to be embedded alike."""

    modality: Modality
    """`text` or `image`; a batch never mixes them."""
    texts: Sequence[str] = ()
    """The texts, without any instruction, if `modality` is `text`."""
    images: Sequence[ImageSource] = ()
    """The images if `modality` is `image`."""
    task: str | None = None
    """A task of the model (v2: `retrieval.query`), for texts only."""
    dimensions: int | None = None
    """Width of the vectors; a backend may return full width instead, the encoder truncates. None = full width."""
    normalize: bool = True
    """Whether the caller gets normalised vectors. A backend may return any length if True, but raw vectors if False."""
    isolate_errors: bool = False
    """Report a bad item as an entry of `BatchResult.errors` and go on, instead of raising."""

    def __len__(self) -> int:
        return len(self.texts) if self.modality == "text" else len(self.images)

    def take(self, positions: Sequence[int]) -> Batch:
        """The batch of only these positions, in this order."""
        return Batch(
            modality=self.modality,
            texts=[self.texts[p] for p in positions] if self.modality == "text" else (),
            images=[self.images[p] for p in positions] if self.modality == "image" else (),
            task=self.task,
            dimensions=self.dimensions,
            normalize=self.normalize,
            isolate_errors=self.isolate_errors,
        )


@dataclass(frozen=True)
class BatchResult:
    """Some or all rows of a batch."""

    vectors: NDArray[Any]
    """`(k, d)` float32 (uint8 for packed bits)."""
    positions: Sequence[int] | None = None
    """Position in the batch of each row of `vectors`; None = 0 … k-1."""
    errors: Mapping[int, JinaClipError] = field(default_factory=dict)
    """Positions that failed, when the batch asked to isolate errors."""
    usage: Usage = field(default_factory=Usage)
    """What these rows cost."""
    model: str | None = None
    """The model that the service says it used, where it says so."""
    request_id: str | None = None


@runtime_checkable
class EmbeddingBackend(Protocol):
    """What a backend of one's own must have; see the module's text for what it may have besides.

    Optional attributes that the encoder looks for: `spec` (a `ModelSpec`), `batch_size`, `cache_identity` (a string of
    everything that changes a vector: revision, precision, `max_length`; without it vectors of this backend are cached
    under its class and model name), `logit_scale` (what cosines are multiplied by before a softmax: `exp` of the
    checkpoint's parameter), `reduced_image_size` (the side in pixels at which it computes images, if that is not the
    model's own: no vector of it is compared with others), `aembed`, `stream`, `astream`, `close`, `aclose`. The server
    also uses `load()`, `count_tokens(texts, task=...)` (before truncation, special tokens and instruction included) and
    `max_length`.
    """

    if TYPE_CHECKING:  # properties, so that a backend may have either properties or attributes

        @property
        def model(self) -> str:
            """Name of the model."""

        @property
        def dimensions(self) -> int:
            """Full width of the vectors."""

    else:  # attributes, so that a class derived from this one may assign them
        model: str
        dimensions: int

    def embed(self, batch: Batch) -> BatchResult:
        """Embed a batch; one row per item, in any order that `positions` explains."""


def collect(results: Sequence[BatchResult], *, items: int, dimensions: int) -> BatchResult:
    """Put streamed results in the batch's order: `(items, dimensions)`, NaN where a position has no row."""
    # Packed bits have no NaN; a missing row is zeros there.
    packed = any(result.vectors.dtype == np.uint8 for result in results)
    vectors = np.zeros((items, dimensions), np.uint8) if packed else np.full((items, dimensions), np.nan, np.float32)
    errors: dict[int, JinaClipError] = {}
    usage = Usage()
    for result in results:
        positions = range(len(result.vectors)) if result.positions is None else result.positions
        vectors[list(positions)] = result.vectors
        errors.update(result.errors)
        usage += result.usage
    return BatchResult(vectors, positions=None, errors=errors, usage=usage)


def identity_of(backend: Any) -> str:
    """What computes the vectors, for cache keys: the backend's `cache_identity`, else its class, model and width."""
    named = getattr(backend, "cache_identity", None)
    if named is not None:
        return str(named)
    kind = type(backend)
    return f"{kind.__module__}.{kind.__qualname__}/{backend.model}/{getattr(backend, 'dimensions', None)}"
