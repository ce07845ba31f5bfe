"""The known models: one frozen `ModelSpec` each.

Figures: the published `config.json` files, parameter counts and licences of `jinaai/jina-clip-v1` and
`jinaai/jina-clip-v2`; tile prices from Jina's FAQ.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import partial
from types import MappingProxyType
from typing import Any

from .errors import ConfigurationError

RETRIEVAL_QUERY = "retrieval.query"
"""The one task of jina-clip-v2: an instruction in front of a query's text."""

SMALLEST_IMAGE_SHARE = 7 / 16
"""Smallest image of a quick look, as a share of the side of the model's own: 224 of 512 pixels. Below it little is left
of what the model sees (`benchmarks/results/quick_look.md`)."""

SMALLEST_VOUCHED_DIMENSIONS = 64
"""Width below which the v2 announcement promises nothing, so there is a warning (smallest trained width: 32)."""


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """Facts about a model that are needed before any weight is read."""

    name: str
    """Short name: `jina-clip-v2`, `demo`, or the name of a checkpoint folder."""
    hub_id: str | None = None
    """Where the weights live on the Hub; None for a folder or the demo model."""
    embed_dim: int
    """Full width of the vectors."""
    matryoshka_dimensions: tuple[int, ...] = ()
    """Widths to which the model was trained to be truncated; empty means that its vectors must not be truncated."""
    image_size: int
    """Side of the square image that the vision tower sees, in pixels; also the service's tile."""
    patch_size: int = 0
    """Side of the patches that it is cut into, in pixels; 0 where it is not known."""
    max_length: int = 8192
    """Longest text in tokens, special tokens included."""
    tasks: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Task name to the instruction put in front of the text."""
    tokens_per_tile: int = 4000
    """What the hosted service charges for one tile of an image."""
    licence: str = "unknown"
    """SPDX identifier of the weights."""
    commercial_use: bool | None = None
    """Whether the licence allows commercial use without an agreement; None where it is not known."""

    def __reduce__(self) -> tuple[Any, ...]:
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return partial(ModelSpec, **values | {"tasks": dict(self.tasks)}), ()  # a mapping proxy cannot be pickled

    def check_dimensions(self, dimensions: int | None) -> None:
        """Raise `ConfigurationError` unless vectors may be truncated to `dimensions` (None = full width)."""
        # `True` is an integer to Python, and equal to 1.
        if dimensions is None or (dimensions == self.embed_dim and not isinstance(dimensions, bool)):
            return
        if isinstance(dimensions, bool) or not isinstance(dimensions, int):
            raise ConfigurationError(f"dimensions must be an integer, not {type(dimensions).__name__}")
        if not self.matryoshka_dimensions:
            raise ConfigurationError(
                f"dimensions={dimensions}: {self.name} was not trained with Matryoshka, its vectors cannot be cut; "
                f"leave dimensions out or use {self.embed_dim}"
            )
        # Any width in between, as at the service, which knows no list of widths either.
        smallest = min(self.matryoshka_dimensions)
        if not smallest <= dimensions <= self.embed_dim:
            raise ConfigurationError(
                f"dimensions={dimensions}: {self.name} gives {smallest} to {self.embed_dim} "
                f"(trained: {', '.join(map(str, self.matryoshka_dimensions))})"
            )

    def check_image_size(self, image_size: int | None) -> None:
        """Raise `ConfigurationError` unless images may be computed at `image_size` pixels (None = the model's own)."""
        if image_size is None:
            return
        if isinstance(image_size, bool) or not isinstance(image_size, int):
            raise ConfigurationError(f"image_size must be an integer or None, not {type(image_size).__name__}")
        if image_size != self.image_size and image_size not in self.smaller_image_sizes:
            raise ConfigurationError(f"image_size={image_size}: {self.name} takes {self._describe_image_sizes()}")

    @property
    def smaller_image_sizes(self) -> range:
        """Sizes below the model's own at which images may be computed: whole patches."""
        if not self.patch_size:
            return range(0)
        least = -(-math.ceil(self.image_size * SMALLEST_IMAGE_SHARE) // self.patch_size) * self.patch_size
        return range(least, self.image_size, self.patch_size)

    def _describe_image_sizes(self) -> str:
        sizes = self.smaller_image_sizes
        if not sizes:
            return f"{self.image_size} pixels, its own size, alone"
        return (
            f"{self.image_size} pixels, its own size, or for a quick look a multiple of its patches of "
            f"{self.patch_size} from {sizes[0]} to {sizes[-1]}"
        )

    def check_task(self, task: str | None) -> None:
        """Raise `ConfigurationError` unless `task` is None or one of this model's tasks."""
        if task is not None and task not in self.tasks:
            known = ", ".join(map(repr, self.tasks)) or "none"
            raise ConfigurationError(f"unknown task {task!r} for {self.name}; its tasks: {known}")


JINA_CLIP_V1 = ModelSpec(
    name="jina-clip-v1",
    hub_id="jinaai/jina-clip-v1",
    embed_dim=768,
    image_size=224,
    patch_size=16,
    tokens_per_tile=1000,
    licence="Apache-2.0",
    commercial_use=True,
)

JINA_CLIP_V2 = ModelSpec(
    name="jina-clip-v2",
    hub_id="jinaai/jina-clip-v2",
    embed_dim=1024,
    matryoshka_dimensions=(32, 64, 128, 256, 512, 768, 1024),
    image_size=512,
    patch_size=14,
    tasks=MappingProxyType({RETRIEVAL_QUERY: "Represent the query for retrieving evidence documents: "}),
    tokens_per_tile=4000,
    licence="CC-BY-NC-4.0",
    commercial_use=False,
)

MODELS: Mapping[str, ModelSpec] = MappingProxyType(
    {spec.name: spec for spec in (JINA_CLIP_V1, JINA_CLIP_V2)}
    | {spec.hub_id: spec for spec in (JINA_CLIP_V1, JINA_CLIP_V2) if spec.hub_id}
)
"""Every name under which a published model may be asked for."""


def find_model(name: str) -> ModelSpec | None:
    """The model of a short name or Hub id, or None. `jina-ai/` in front of a name, as the service lists it, is fine."""
    return MODELS.get(name.removeprefix("jina-ai/"))
