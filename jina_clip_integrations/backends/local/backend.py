"""LocalBackend itself: its settings, what identifies it, and when its weights are loaded."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ...catalog import ModelSpec
from ...concurrency.locks import ForkSafeLock
from ...concurrency.threads import is_ending
from ...errors import BackendError, require_extra
from ...retrieval.fingerprint import checkpoint_digest
from ...settings import DEFAULT_MODEL, SECRET_OPTIONS, LocalSettings, constructor, settings
from ..running import ModelBackend
from .checkpoint_files import check_is_model_name, find_checkpoint, local_spec, read_spec
from .devices import DeviceChoice, choose_devices

if TYPE_CHECKING:
    from .workers import Workers

DIGEST_DIGITS = 16
"""Hexadecimal digits of the checkpoint's digest in `cache_identity`: 64 bits tell apart whatever meets in one cache."""


@settings
class LocalArguments(LocalSettings):
    """Arguments of `LocalBackend`: the model, then every setting by its name."""

    model: str | os.PathLike[str] = field(default=DEFAULT_MODEL, kw_only=False)


class LocalBackend(ModelBackend):
    """Runs a Jina CLIP checkpoint on this machine.

    Args:
        model: `jina-clip-v1`, `jina-clip-v2`, `demo`, a checkpoint folder, or a Hub id.
        **options: The fields of `LocalSettings` under their own names. None means the default.

    Raises:
        ImportError: the extra `local` is not installed.
        ConfigurationError: a setting that cannot work.
        CheckpointError: a folder that is not a Jina CLIP checkpoint; on first use also damaged weights.
    """

    @constructor(LocalArguments)
    def __init__(self, model: str | os.PathLike[str] = DEFAULT_MODEL, **options: Any) -> None:
        for package in ("torch", "transformers"):
            require_extra(package, extra="local", purpose='backend="local"')
        self.model = check_is_model_name(model)
        self.settings = LocalSettings(**{name: value for name, value in options.items() if value is not None})
        self._known_spec = local_spec(self.model)
        if self._known_spec is not None:  # else its configuration has to be downloaded first
            self._known_spec.check_image_size(self.settings.image_size)
        self._lock = ForkSafeLock()
        self._workers: Workers | None = None
        self._pid = os.getpid()

    # Identity

    @cached_property
    def folder(self) -> Path:
        """The folder with the checkpoint's files; a Hub id is downloaded on first use."""
        return find_checkpoint(self.model, self.settings)

    @cached_property
    def spec(self) -> ModelSpec:
        """The model's facts: from the catalogue, else from the checkpoint's `config.json`."""
        return self._known_spec or read_spec(self.folder)

    @cached_property
    def choices(self) -> list[DeviceChoice]:
        """Device and precision of each worker. Raises `ConfigurationError` for what this machine does not have."""
        return choose_devices(self.settings.device, self.settings.dtype)

    @cached_property
    def reduced_image_size(self) -> int | None:
        """Side in pixels at which images are computed, where it is not the model's own.

        Raises `ConfigurationError` for a size that the model does not take.
        """
        self.spec.check_image_size(self.settings.image_size)
        return None if self.settings.image_size == self.spec.image_size else self.settings.image_size

    @cached_property
    def logit_scale(self) -> float:
        """What the checkpoint multiplies cosines by before a softmax; no other weight is read for it."""
        from ...modeling.checkpoint import read_logit_scale

        return read_logit_scale(self.folder)

    @cached_property
    def cache_identity(self) -> str:
        """All that changes a vector: the checkpoint's digest, precision, text length, decoding and size of images."""
        dtypes = "+".join(sorted({choice.dtype for choice in self.choices}))
        decoding = "/fast_decode" if self.settings.fast_decode else ""
        size = f"/image_size={self.reduced_image_size}" if self.reduced_image_size else ""
        digest = checkpoint_digest(self.folder)[:DIGEST_DIGITS]
        return f"local/{digest}/{dtypes}/max_length={self.settings.max_length}{decoding}{size}"

    def __repr__(self) -> str:
        return f"LocalBackend({self.model!r}, {self.settings!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        options = {name: value for name, value in asdict(self.settings).items() if name not in SECRET_OPTIONS}
        return partial(LocalBackend, self.model, **options), ()

    def __deepcopy__(self, memo: dict[int, Any]) -> LocalBackend:
        return self  # the settings are frozen, and a second copy of the weights would only take memory

    @property
    def batch_limit(self) -> int | Literal["auto"]:
        """The setting `batch_size`."""
        return self.settings.batch_size

    @property
    def max_length(self) -> int:
        """Longest text in tokens; longer ones are truncated."""
        return self.settings.max_length

    # Workers

    def _load(self) -> Workers:
        if is_ending() and "torch" not in sys.modules:
            # It could be, but torch would leave tracebacks on stderr, because its own exit handlers come too late.
            raise BackendError(
                "the program is ending, and torch cannot be loaded any more; embed something, or call the backend's "
                "load(), before exit handlers run"
            )
        from .workers import Workers

        with self._lock:
            if self._pid != os.getpid():
                self._start_after_fork()
            if self._workers is None:
                settings = replace(self.settings, image_size=self.reduced_image_size)
                self._workers = Workers(self.folder, self.choices, settings)
            return self._workers

    def _start_after_fork(self) -> None:
        import torch

        # Threads do not survive a fork, and OpenMP's pool hangs in the child of a process that has used it.
        torch.set_num_threads(1)
        self._workers, self._pid = None, os.getpid()

    def close(self) -> None:
        """Free the weights and the threads. Idempotent; a later call loads them again."""
        with self._lock:
            workers, self._workers = self._workers, None
        if workers is not None and self._pid == os.getpid():
            workers.close()
