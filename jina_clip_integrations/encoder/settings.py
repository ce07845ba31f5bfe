"""The settings of an encoder: everything but the backend's own options."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np

from ..backends.base import EmbeddingBackend
from ..cache import EmbeddingCache
from ..errors import ConfigurationError
from ..images.rendering import Color, Rendering, make_rendering
from ..images.sources import SourcePolicy
from ..settings import DEFAULT_MODEL


@dataclass(frozen=True, kw_only=True)
class EncoderSettings:
    """The arguments of `JinaClipEncoder`, checked as far as they can be on their own."""

    model: str = DEFAULT_MODEL
    """Short name, checkpoint folder or Hub id."""
    backend: str | EmbeddingBackend = "api"
    """A name that `create_backend` knows, or the object itself."""
    dimensions: int | None = None
    """Width of the vectors; None = the model's own."""
    normalize: bool = True
    """Normalise the vectors, after truncation."""
    exif_orientation: bool = True
    """Turn photos upright when they are loaded."""
    background: str | Color | None = None
    """Colour put under transparent pixels; None = transparency is dropped, as published."""
    high_bit_depth: str = "clip"
    """Grey beyond 8 bits: `clip`, as published, or `scale`."""
    sources: SourcePolicy | None = None
    """Where images may come from; None = `SourcePolicy()`: any local path, public http(s) addresses."""
    cache: str | os.PathLike[str] | EmbeddingCache | None = None
    """A folder or an object."""
    show_progress: bool = False
    """A bar on stderr."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "model", os.fspath(self.model))
        object.__setattr__(self, "dimensions", _as_int(self.dimensions))
        if not isinstance(self.sources, SourcePolicy | None):
            raise ConfigurationError(f"sources must be a SourcePolicy or None, not {type(self.sources).__name__}")

    @cached_property
    def rendering(self) -> Rendering:
        """How images become RGB pixels. Raises `ConfigurationError` for a colour that is none."""
        return make_rendering(
            exif_orientation=self.exif_orientation, background=self.background, high_bit_depth=self.high_bit_depth
        )

    @property
    def names_backend(self) -> bool:
        """Whether the encoder makes the backend, and so has to close it."""
        return isinstance(self.backend, str)

    def describe_changes(self) -> dict[str, Any]:
        """Model and backend, and what else is not the default; for `repr`."""
        backend = self.backend if self.names_backend else f"<{type(self.backend).__name__}>"
        others = [f for f in fields(self) if f.name not in ("model", "backend")]
        differing = {f.name: getattr(self, f.name) for f in others if getattr(self, f.name) != f.default}
        return {"model": self.model, "backend": backend, **differing}


def _as_int(dimensions: Any) -> int | None:
    """NumPy's integers are as good as Python's."""
    if dimensions is None:
        return None
    if isinstance(dimensions, (bool, np.bool_)) or not isinstance(dimensions, (int, np.integer)):
        raise ConfigurationError(f"dimensions must be an integer or None, not {type(dimensions).__name__}")
    return int(dimensions)
