"""The backend of an encoder, opened when it is first needed, and the facts about its model."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..backends.base import EmbeddingBackend, identity_of
from ..backends.registry import BACKENDS, create_backend, is_local_model
from ..cache import EmbeddingCache
from ..catalog import JINA_CLIP_V2, SMALLEST_VOUCHED_DIMENSIONS, ModelSpec, find_model
from ..concurrency.locks import ForkSafeLock
from ..errors import ConfigurationError
from ..settings import DEFAULT_MODEL, PACKED_TYPES
from .items import Setup
from .settings import EncoderSettings

BACKEND_METHODS = ("embed", "aembed", "stream", "astream")
"""A backend has at least one of them."""


class BackendLoader:
    """Holds the backend of one encoder, and of its copies in the same process."""

    def __init__(self, settings: EncoderSettings, options: Mapping[str, Any]) -> None:
        self._settings = settings
        self._options = options
        self._lock = ForkSafeLock()
        self._backend: EmbeddingBackend | None = None
        self._setup: Setup | None = None
        self.known: Setup | None = None
        """What `setup` returns, once it is complete: read without a lock and without a call."""

    def get(self) -> EmbeddingBackend:
        """The backend. Raises `ConfigurationError` for options that cannot work, `ImportError` for a missing extra."""
        with self._lock:  # two threads must not load the weights twice
            if self._backend is None:
                self._backend = self._open()
            return self._backend

    def share(self, other: BackendLoader) -> None:
        """Use the backend that `other` has opened."""
        self._backend = other._backend

    def detach(self) -> EmbeddingBackend | None:
        """Forget the backend, and return it if it was made here and so is ours to close."""
        with self._lock:
            ours = self._backend if self._settings.names_backend else None
            self._backend = self._setup = self.known = None
            return ours

    @property
    def model(self) -> str:
        """The model as it was named, or as the backend object names its own."""
        chosen = self._settings.backend
        return self._settings.model if isinstance(chosen, str) else str(chosen.model)

    def width(self) -> int | None:
        """Full width of the model; None where only the service knows it."""
        width = getattr(self.get(), "dimensions", None)
        return int(width) if width else None

    def spec(self) -> ModelSpec | None:
        """The model's facts, from the backend or the catalogue; None for an unknown model."""
        spec = getattr(self.get(), "spec", None)
        if isinstance(spec, ModelSpec):
            return spec
        found, width = find_model(self.model), self.width()
        if found is None or width is None or width == found.embed_dim:
            return found
        # A backend of the user's own gives other widths than the catalogue's model, a reduced one for example; which
        # of them may be truncated to is for the user to know.
        return replace(found, embed_dim=width, matryoshka_dimensions=(1, width))

    def spec_or_width(self) -> ModelSpec:
        """`spec`, or for an unknown model one of its name and width only (0 = unknown too)."""
        width = self.width() or 0
        return self.spec() or ModelSpec(
            name=self.model, embed_dim=width, matryoshka_dimensions=(1, width), image_size=0
        )

    def check_now(self) -> None:
        """What a constructor can check: open the backend, and look at its width where that needs no download."""
        backend = self.get()
        # A width that is a property may have to be read from a checkpoint's configuration, on the Hub if need be.
        computed = isinstance(inspect.getattr_static(backend, "dimensions", None), property)
        if computed and find_model(self.model) is None and not is_local_model(self.model):
            return
        self.check_dimensions()
        asked = self._settings.dimensions
        if asked is not None and asked < SMALLEST_VOUCHED_DIMENSIONS and self.spec() == JINA_CLIP_V2:
            warnings.warn(
                f"dimensions={asked}: {self.model} was trained for 32 and more, but its authors vouch for "
                f"{SMALLEST_VOUCHED_DIMENSIONS} and more",
                UserWarning,
                stacklevel=3,
            )

    def check_dimensions(self) -> None:
        """Raise `ConfigurationError` unless the model's vectors may be truncated as asked."""
        asked, spec, width = self._settings.dimensions, self.spec(), self.width()
        if spec is not None:
            spec.check_dimensions(asked)
        elif asked is not None and not 1 <= asked <= (width or asked):
            raise ConfigurationError(f"dimensions={asked}: {self.model} gives 1 to {width or 'its own width'}")

    def check_task(self, task: str | None) -> None:
        """Raise `ConfigurationError` unless `task` is None or one of the model's; for an unknown model any will do."""
        spec = None if task is None else self.spec()
        if spec is not None:
            spec.check_task(task)

    @property
    def is_ready(self) -> bool:
        """Whether `setup` returns at once."""
        return self._setup is not None

    def setup(self, cache: EmbeddingCache | None) -> Setup:
        """What every call needs to know. The first call may read a checkpoint's configuration."""
        # Asked again while the width is unknown: the service's first response tells it. No lock: at worst two threads
        # find out the same.
        if self._setup is None or self._setup.width is None:
            self.check_dimensions()
            self._setup = self._look(self.get(), cache)
            self.known = self._setup if self._setup.width is not None else None
        return self._setup

    def _look(self, backend: Any, cache: EmbeddingCache | None) -> Setup:
        if getattr(backend, "embedding_type", None) in PACKED_TYPES:
            cache = None  # entries are float32 rows of full width
        return Setup(
            backend=backend,
            spec=self.spec(),
            cache=cache,
            identity="" if cache is None else identity_of(backend),
            width=self.width(),
            dimensions=self._settings.dimensions,
            normalize=self._settings.normalize,
            rendering=self._settings.rendering,
            sends_urls=bool(getattr(backend, "sends_urls", False)),
        )

    def _open(self) -> EmbeddingBackend:
        settings, chosen = self._settings, self._settings.backend
        if isinstance(chosen, str):
            return create_backend(chosen, settings.model, self._options)
        # A class has the methods too, and would only fail at the first call.
        if isinstance(chosen, type) or not any(callable(getattr(chosen, name, None)) for name in BACKEND_METHODS):
            raise ConfigurationError(
                f"backend must be {', '.join(map(repr, BACKENDS))} or an object with one of the methods "
                f"{', '.join(BACKEND_METHODS)}"
            )
        if not isinstance(getattr(chosen, "model", None), str):
            raise ConfigurationError(f"backend {type(chosen).__name__} has no `model`, the name of what it computes")
        if self._options:
            names = ", ".join(map(repr, self._options))
            raise ConfigurationError(f"{names}: a backend object has its options already; give them to its class")
        # The default cannot be told from a model that was named, so it is not held against the backend's own.
        if settings.model != DEFAULT_MODEL and find_model(settings.model) is not find_model(str(chosen.model)):
            raise ConfigurationError(f"model={settings.model!r}, but the backend computes {chosen.model!r}")
        return chosen
