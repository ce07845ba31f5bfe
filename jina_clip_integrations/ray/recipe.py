"""How a worker makes its encoder: options that travel, never a live object."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

import ray

from ..backends.base import EmbeddingBackend
from ..backends.registry import BACKENDS
from ..concurrency.processors import THREAD_VARIABLES
from ..credentials import drop_sensitive, find_key, public_url
from ..encoder import JinaClipEncoder
from ..encoder.settings import EncoderSettings
from ..errors import ConfigurationError
from ..settings import DEFAULT_MODEL, LIVE_OPTIONS, PACKED_TYPES, SECRET_OPTIONS

BackendFactory = Callable[[], EmbeddingBackend]
"""Makes a backend of the user's own, in the worker that uses it."""

HIDDEN = "***"


class Secret:
    """An option that only the worker may see. Its `repr` hides it."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __repr__(self) -> str:
        return HIDDEN


class Secrets(dict[str, Any]):
    """Secret options on their way to the workers of a job, whose environment need not hold them; `repr` hides them."""

    def __repr__(self) -> str:
        return HIDDEN


class EncoderRecipe:
    """Makes equal encoders in any number of processes.

    Its pickle carries no secret, as the encoder's own does not: what workers need of them goes beside it, in `Secrets`.
    """

    def __init__(
        self, model: str | os.PathLike[str] = DEFAULT_MODEL, backend: str | BackendFactory = "api", **options: Any
    ) -> None:
        """
        Args:
            model: As for `JinaClipEncoder`. A checkpoint folder has to be there on every node.
            backend: A backend's name, or a function or class that is called in the worker and makes one.
            options: More options of the encoder and of the backend.

        Raises:
            ConfigurationError: a backend object or another live object, which cannot travel; packed bits.
        """
        if not isinstance(backend, str) and not callable(backend):
            raise ConfigurationError(
                f"backend is a {type(backend).__name__}, which cannot travel to a worker; name one of "
                f"{', '.join(map(repr, BACKENDS))}, or pass a function that makes it"
            )
        live = [name for name in options if name in LIVE_OPTIONS and options[name] is not None]
        if live:
            raise ConfigurationError(f"{live[0]} is a live object, which cannot travel to a worker; leave it out")
        if options.get("embedding_type") in PACKED_TYPES:
            raise ConfigurationError(
                f"embedding_type={options['embedding_type']!r}: tables hold floats, not packed bits"
            )
        self.model = os.fspath(model)
        self.backend = backend
        self._options = {name: Secret(value) if name in SECRET_OPTIONS else value for name, value in options.items()}

    def __repr__(self) -> str:
        backend = self.backend if isinstance(self.backend, str) else getattr(self.backend, "__name__", "…")
        return f"{type(self).__name__}(model={self.model!r}, backend={backend!r}, options={sorted(self._options)})"

    def __getstate__(self) -> dict[str, Any]:
        options = {name: value for name, value in self._options.items() if not isinstance(value, Secret)}
        headers = self._options.get("headers")
        if headers is not None and headers.value:
            options["headers"] = Secret(drop_sensitive(headers.value))
        return {"model": self.model, "backend": self.backend, "_options": options}

    def secrets(self) -> Secrets:
        """The secret options."""
        return Secrets({name: value.value for name, value in self._options.items() if isinstance(value, Secret)})

    def with_secrets(self, secrets: Secrets) -> EncoderRecipe:
        """This recipe, with the secret options that `secrets` gave."""
        self._options |= {name: Secret(value) for name, value in secrets.items()}
        return self

    def with_key_of_here(self) -> EncoderRecipe:
        """This recipe, with the key of this process's environment where the hosted service needs one."""
        hosted = self.backend == "api" and "base_url" not in self._options and "dialect" not in self._options
        key = find_key(None, environment=True).reveal() if hosted and "api_key" not in self._options else None
        if key is not None:
            self._options["api_key"] = Secret(key)
        return self

    def open(self) -> JinaClipEncoder:
        """The encoder. Raises what `JinaClipEncoder` raises."""
        options = {name: value.value if isinstance(value, Secret) else value for name, value in self._options.items()}
        if isinstance(self.backend, str):
            return JinaClipEncoder(self.model, self.backend, **options)
        made = self.backend()
        # The name that the user gave no model is that of the backend's own.
        model = DEFAULT_MODEL if self.model == DEFAULT_MODEL else self.model
        return JinaClipEncoder(model, made, **options)

    def open_in_worker(self) -> JinaClipEncoder:
        """The encoder in a Ray worker, which computes with no more threads than its share of the CPU."""
        share = limit_threads()
        if share is not None and isinstance(self.backend, str):
            self._keep_to(share, self.backend)
        return self.open()

    def _keep_to(self, processors: int, backend: str) -> None:
        """Let options whose default is all processors of the machine be these."""
        known = BACKENDS[backend].options if backend in BACKENDS else ()
        for name in {"num_workers", "num_threads"}.intersection(known):
            if self._options.get(name) in (None, "auto"):
                self._options[name] = processors

    def describe(self, names: Mapping[str, Any] | tuple[str, ...]) -> dict[str, str]:
        """Those of the given options in `names`, as text that may be kept; never a secret."""
        return {name: describe_option(name, value) for name, value in self._options.items() if name in names}


def describe_option(name: str, value: Any) -> str:
    """`value` for a manifest: what it says, without a credential."""
    if isinstance(value, Secret) or name in SECRET_OPTIONS:
        return HIDDEN
    if isinstance(value, Mapping):
        return repr(sorted(drop_sensitive(value).items()))
    return public_url(value) if isinstance(value, str) and "://" in value else repr(value)


def encoder_vector_options() -> tuple[str, ...]:
    """Options of the encoder itself that alter vectors."""
    others = {"model", "backend", "sources", "cache", "show_progress"}
    return tuple(field.name for field in fields(EncoderSettings) if field.name not in others)


def limit_threads() -> int | None:
    """Keep the threads of this worker to its share of the CPU. The share; None outside of a worker.

    Has to come before torch is loaded, which reads the environment once.
    """
    if not ray.is_initialized() or ray.get_runtime_context().get_actor_id() is None:
        return None
    share = max(1, int(ray.get_runtime_context().get_assigned_resources().get("CPU", 1)))
    for name in THREAD_VARIABLES:
        os.environ[name] = str(share)
    return share
