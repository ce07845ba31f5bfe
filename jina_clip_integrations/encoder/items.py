"""The parts of a call: inputs, each computed once however often it occurs, and the digests that tell them apart."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..cache import EmbeddingCache, alias_key
from ..catalog import ModelSpec
from ..errors import JinaClipError
from ..images.encoded import InputImage, PixelBudget
from ..images.rendering import Rendering


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What the calls of one encoder have in common."""

    backend: Any
    spec: ModelSpec | None
    """The model's facts, None for an unknown model."""
    cache: EmbeddingCache | None
    identity: str
    """What computes the vectors: the part of cache keys that tells backends and models apart."""
    width: int | None
    """Full width of the model; None where only the service knows it."""
    dimensions: int | None
    normalize: bool
    rendering: Rendering
    sends_urls: bool
    """Whether the backend passes URLs on unfetched, so that there are no pixels to hash."""
    requested: int | None = field(init=False)
    """Width that the backend is asked for: full with a cache, so that an entry serves every `dimensions`."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "requested", self.dimensions if self.cache is None else None)


@dataclass(eq=False, slots=True)
class UniqueItem:
    """One input, however often it occurs in the call."""

    value: Any
    """The text or image; dropped when done."""
    key: str | None
    """Cache key; None for what cannot be cached."""
    row: int
    """The row where it occurs first."""
    repeats: list[int] | None = None
    """The other rows. A list for every item would cost more than all the rest, in garbage collection."""
    done: bool = False
    error: JinaClipError | None = None

    @property
    def rows(self) -> list[int]:
        """Every row it belongs to."""
        return [self.row, *(self.repeats or ())]


@dataclass(frozen=True)
class ImageDigest:
    """What tells whether two images are the same."""

    identity: str
    """Equal for equal images of one call."""
    digest: str | None
    """SHA-256 of its pixels where it can be cached."""


def read_digest(image: InputImage, setup: Setup, pixels: PixelBudget) -> ImageDigest:
    """Read as much of `image` as it takes to tell it from others. Raises `ImageError`.

    Where it has to be decoded and `pixels` allows, it stays decoded until it is released.
    """
    if setup.sends_urls and image.url is not None:  # its pixels stay unknown, so it is not cached
        return ImageDigest(f"url {image.url}", None)
    file_digest = image.file_digest()
    if setup.cache is None:  # within one call the file's digest is enough, and nothing has to be decoded for it
        return ImageDigest(file_digest or image.pixel_digest(), None)
    if file_digest is None:
        digest = image.pixel_digest()
    else:
        # Keys are made of pixels, so that one entry serves a PNG and an array alike; the alias spares a known file the
        # decoding.
        alias = alias_key(file_digest=file_digest, rendering=setup.rendering.key)
        digest = _known_pixels(alias, setup.cache) or _learn_pixels(image, alias, setup.cache, pixels)
    return ImageDigest(digest, digest)


def _known_pixels(alias: str, cache: EmbeddingCache) -> str | None:
    """The pixel digest of an encoded file that was seen before."""
    known = cache.get_many([alias]).get(alias)
    if known is None:
        return None
    digest = np.asarray(known)  # the cache may be the user's own
    return digest.tobytes().hex() if digest.dtype == np.uint8 and digest.shape == (32,) else None


def _learn_pixels(image: InputImage, alias: str, cache: EmbeddingCache, pixels: PixelBudget) -> str:
    digest = image.pixel_digest(hold=pixels)
    cache.set_many({alias: np.frombuffer(bytes.fromhex(digest), np.uint8)})
    return digest
