"""The options of an adapter: read under any of their names, checked together, hidden where secret."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import ConfigDict, PrivateAttr, SecretStr, field_serializer, model_validator

from ..backends.base import Usage
from ..backends.registry import BACKENDS, check_serves, find_backend, owners_of
from ..catalog import find_model
from ..concurrency.threads import in_thread
from ..credentials import drop_sensitive, public_url
from ..encoder import JinaClipEncoder
from ..errors import ConfigurationError
from ..images.rendering import Color, Rendering, make_rendering
from ..images.sources import SourcePolicy
from ..settings import LIVE_OPTIONS, PACKED_TYPES, SECRET_OPTIONS, reject_unknown
from .fields import BackendOptions, seal
from .lazy_encoder import ENCODER_ARGUMENTS, LazyEncoder

if TYPE_CHECKING:
    from typing_extensions import Self

SYNONYMS: Mapping[str, str] = {
    "jina_api_key": "api_key",
    "request_timeout": "timeout",
    "chunk_size": "batch_size",
    "show_progress_bar": "show_progress",
    "api_base": "base_url",
    "default_headers": "headers",
    "http_async_client": "async_http_client",
}
"""Names that other packages give to our options."""

LEFT_BEHIND = SECRET_OPTIONS | LIVE_OPTIONS
"""Fields that no pickle carries, except for harmless headers."""


class EncoderOptions(BackendOptions):
    """Every option of `JinaClipEncoder` and of the backends that have a name; the base of both adapters.

    Construction checks the options and opens nothing. The encoder is built on first use, and built anew when a field
    has been assigned since.
    """

    model_config = ConfigDict(
        extra="forbid", arbitrary_types_allowed=True, protected_namespaces=(), hide_input_in_errors=True
    )

    backend: Any = "api"
    """A name of `backends.registry.BACKENDS`, or an `EmbeddingBackend` object."""
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
    cache: Any = None
    """Vectors already computed: None, a path, or an embedding cache."""
    show_progress: bool = False
    """A progress bar on standard error."""
    query_task: str | None = "auto"
    """Task of queries: `auto` = the model's query instruction where it has one, None = none."""

    synonyms: ClassVar[Mapping[str, str]] = SYNONYMS
    """Names that other packages give to our options."""
    backend_options: ClassVar[Mapping[str, frozenset[str]]] = {
        name: frozenset(entry.options) for name, entry in BACKENDS.items()
    }
    """Options that each backend can honour."""
    shared_by_copies: ClassVar[tuple[str, ...]] = ("backend", "cache", *sorted(LIVE_OPTIONS))
    """Fields that a deep copy shares with its original."""
    model_field: ClassVar[str] = "model"
    """Name of the field that holds the model's name."""

    _lazy: LazyEncoder = PrivateAttr(default_factory=LazyEncoder)

    if not TYPE_CHECKING:  # type checkers take the constructor's arguments from the fields

        def __init__(self, **options: Any) -> None:
            super().__init__(**_seal_secrets(self._own_names(options)))

    @classmethod
    def _own_names(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        options: dict[str, Any] = {}
        for name, value in given.items():
            own = cls.synonyms.get(name, name)
            if own in options and options[own] != value:
                raise ConfigurationError(f"{cls.__name__} was given {own!r} under two names, with two values")
            options[own] = value
        return options

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown(cls, given: Any) -> Any:
        # Before pydantic, whose own message names neither the nearest option nor those that there are.
        if isinstance(given, Mapping):
            reject_unknown(given, cls.model_fields, where=cls.__name__)
        return given

    @model_validator(mode="after")
    def _check_on_construction(self) -> Self:
        if not isinstance(self.backend, str) and self.model_field not in self.model_fields_set:
            self.__dict__[self.model_field] = getattr(self.backend, "model", self._model)  # not a choice of the user's
        self.check_options()
        return self

    @field_serializer("sources", mode="wrap")
    def _leave_headers_behind(self, sources: SourcePolicy | None, dump: Callable[[Any], Any]) -> Any:
        """A dump of the policy without the headers of its hosts, which may be credentials."""
        return dump(None if sources is None else replace(sources, headers=None))

    @property
    def _model(self) -> str:
        return str(getattr(self, self.model_field))

    @property
    def rendering(self) -> Rendering:
        """How images become RGB pixels. Raises `ConfigurationError`."""
        return make_rendering(
            exif_orientation=self.exif_orientation, background=self.background, high_bit_depth=self.high_bit_depth
        )

    # Checks

    def check_options(self) -> None:
        """Raise `ConfigurationError` for options that cannot work together. Nothing is opened or loaded."""
        _ = self.rendering
        entry = find_backend(self.backend) if isinstance(self.backend, str) else None
        self._refuse_options_of_other_backends()
        if entry is not None:
            entry.settings(**self._given_options())
        encoding = self.embedding_type or getattr(self.backend, "embedding_type", None)
        if encoding in PACKED_TYPES:
            raise ConfigurationError(
                f"embedding_type={encoding!r} gives packed bits, and this class promises floats; "
                'use "base64" or "float" here, or JinaClipEncoder for bits'
            )
        if entry is not None:
            check_serves(self.backend, self._model, self._given_options())
        spec = find_model(self._model)
        if spec is not None:
            spec.check_dimensions(self.dimensions)
            spec.check_image_size(self.image_size)
            spec.check_task(None if self.query_task == "auto" else self.query_task)

    def _refuse_options_of_other_backends(self) -> None:
        mine = self.backend_options[self.backend] if isinstance(self.backend, str) else frozenset()
        for names in self.backend_options.values():
            for name in sorted(names - mine):
                if self._is_given(name):
                    asked = f'backend="{self.backend}"' if isinstance(self.backend, str) else "a backend object"
                    others = " or ".join(f'backend="{owner}"' for owner in owners_of(name))
                    raise ConfigurationError(f"{name!r} has no effect with {asked}; leave it out, or use {others}")

    def _is_given(self, name: str) -> bool:
        if name == "api_key" and name not in self.model_fields_set:
            return False  # it comes from the environment, for the backend that wants it
        return getattr(self, name) is not None

    def _given_options(self) -> dict[str, Any]:
        """Options for the backend, secrets still sealed; those that are None are left out."""
        names = sorted(frozenset().union(*self.backend_options.values()))
        given = {name: getattr(self, name) for name in names if self._is_given(name)}
        hosted = self.backend == "api" and not self._is_given("base_url") and not self._is_given("dialect")
        if hosted and self.api_key is not None:
            given["api_key"] = self.api_key  # other servers: the backend decides about a key from the environment
        return given

    # The encoder

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name in type(self).model_fields:
            self._lazy.expire()

    def _arguments(self) -> dict[str, Any]:
        own = {name: getattr(self, name) for name in ENCODER_ARGUMENTS}
        return {"model": self._model, "backend": self.backend, **own, **self._given_options()}

    def _encoder(self) -> JinaClipEncoder:
        """The encoder for the options as they are; they are compared only if one was assigned since the last call."""
        current = self._lazy.current
        if current is not None:
            return current
        version = self._lazy.version  # read before the options, so that an assignment in between is noticed
        return self._lazy.encoder(self._arguments(), version=version, check=self.check_options)

    async def _aencoder(self) -> JinaClipEncoder:
        """The encoder; if it has to be built, then in a thread, since that may import torch."""
        current = self._lazy.current
        return await in_thread(self._encoder) if current is None else current

    @property
    def encoder(self) -> JinaClipEncoder:
        """The encoder in use, for what the framework has no word for, such as `classify`.

        Ask again after an option was assigned: there may be a new one then.
        """
        return self._encoder()

    def _task_of_queries(self, encoder: JinaClipEncoder) -> str | None:
        return encoder.query_task if self.query_task == "auto" else self.query_task

    @property
    def usage(self) -> Usage:
        """Tokens, requests and items so far, and cache hits."""
        return self._lazy.usage

    @property
    def last_errors(self) -> dict[int, Exception]:
        """Errors of the last call of this thread or task, by the caller's index; empty after a clean one."""
        return self._lazy.last_errors

    def close(self) -> None:
        """Free the model or the connections. Idempotent; a later call opens them again."""
        self._lazy.close()

    async def aclose(self) -> None:
        """`close` for async code."""
        await self._lazy.aclose()

    # Copies, pickles and repr

    def __copy__(self) -> Self:
        copied = super().__copy__()
        copied._lazy = self._lazy.fork()
        return copied

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        # Clients, caches and backend objects are shared: deepcopy takes for a copy what it finds in `memo`.
        memo = {} if memo is None else memo
        memo |= {id(value): value for name in self.shared_by_copies if (value := getattr(self, name)) is not None}
        return super().__deepcopy__(memo)

    def __getstate__(self) -> dict[Any, Any]:
        # Only what was set: the receiving process has defaults of its own, such as the key in its environment.
        state = {name: getattr(self, name) for name in self.model_fields_set - LEFT_BEHIND}
        harmless = drop_sensitive(self.headers or {})
        return state | ({"headers": harmless} if harmless else {})

    def __setstate__(self, state: dict[Any, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]  # reads the key from this process's environment

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        fields = type(self).model_fields
        for name in (name for name, field in fields.items() if field.repr and field.default_factory is None):
            value = getattr(self, name)
            if name == self.model_field or value != fields[name].default:
                yield name, _show(name, value)


def _seal_secrets(options: dict[str, Any]) -> dict[str, Any]:
    """The options with the secrets out of sight, before anything can quote them; paths as text."""
    for name in ("api_key", "token"):
        if isinstance(options.get(name), str | SecretStr):
            options[name] = seal(options[name], source=name)
    if options.get("api_key") is None:
        options.pop("api_key", None)  # the environment is asked instead
    for name in ("model", "model_name", "cache", "cache_dir"):
        if isinstance(options.get(name), os.PathLike):
            options[name] = os.fspath(options[name])
    return options


def _show(name: str, value: Any) -> Any:
    if name == "base_url":
        return public_url(value)
    return value if name != "backend" or isinstance(value, str) else type(value).__name__
