"""Options that a vector store keeps with its vectors: no credential goes in, and none is sent where a store says."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

from pydantic import PrivateAttr

from ..backends.remote.dialects import find_dialect
from ..encoder import JinaClipEncoder
from ..errors import ConfigurationError
from ..retrieval.fingerprint import VectorFingerprint
from ..settings import DEFAULT_MODEL, HOSTED_BASE_URL, LIVE_OPTIONS, SECRET_OPTIONS
from .fields import seal
from .options import EncoderOptions
from .shared_encoders import shared_encoder

if TYPE_CHECKING:
    from typing_extensions import Self

IN_THIS_PROCESS = SECRET_OPTIONS | LIVE_OPTIONS | {"sources", "cache", "cache_dir"}
"""What no store keeps, and what is taken from none: credentials, objects, and the say over this machine's files."""

VECTORS_KEY = "vectors"
"""Entry of the configuration that holds the fingerprint of the vectors."""

OBJECT_KEY = "class"
"""Entry that names the class of a backend object, which a store cannot keep."""

PLAIN = (str, int, float, type(None))


class StoredOptions(EncoderOptions):
    """The options of an embedding function that a store builds anew from its own configuration.

    `to_config` is what the store may keep, `from_config` reads it back. What was read back shares one encoder with
    everything of equal options, and checks before it embeds that it makes the vectors that the store says it holds.
    """

    model: str = DEFAULT_MODEL
    """`jina-clip-v1`, `jina-clip-v2`, `demo`, a checkpoint folder or a Hub id."""
    api_key_env_var: str | None = None
    """Environment variable that holds the key, if under another name than usual. The store keeps the name alone."""

    synonyms: ClassVar[Mapping[str, str]] = {**EncoderOptions.synonyms, "model_name": "model"}

    _held: dict[str, Any] | None = PrivateAttr(default=None)
    """What the store says of its vectors, empty if nothing; None for options that came from code."""

    # What a store keeps

    def to_config(self) -> dict[str, Any]:
        """Model, width and every option that was given as a plain value, as JSON; no key, no header, no object."""
        given = {name: getattr(self, name) for name in sorted(self.model_fields_set - IN_THIS_PROCESS)}
        kept = {name: _as_json(value) for name, value in given.items() if is_plain(value)}
        config = {**kept, "model": self._model, "backend": self._backend_as_json()}
        vectors = self.fingerprint
        if vectors is None:
            return config
        return {**config, "dimensions": vectors.dimensions, VECTORS_KEY: vectors.to_metadata()}

    @property
    def fingerprint(self) -> VectorFingerprint | None:
        """Which model makes these vectors; None where only a server knows their width."""
        try:
            return VectorFingerprint.of(self)
        except ConfigurationError:
            return None

    def _backend_as_json(self) -> Any:
        if isinstance(self.backend, str):
            return self.backend
        if isinstance(self.backend, AbsentBackend):
            return {OBJECT_KEY: self.backend.name}
        return {OBJECT_KEY: f"{type(self.backend).__module__}.{type(self.backend).__qualname__}"}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The options that `to_config` gave. Opens nothing. Raises `ConfigurationError` for what no store may say."""
        given = cls.check_config(config)
        held = given.pop(VECTORS_KEY, None) or {}
        backend = given.get("backend")
        if isinstance(backend, Mapping):  # it has its own model and width, and takes no options
            given = {"backend": AbsentBackend(str(backend.get(OBJECT_KEY)), given)}
        return cls(**given)._tie_to_store(held)

    @classmethod
    def check_config(cls, config: Mapping[str, Any]) -> dict[str, Any]:
        """A copy of the configuration. Raises `ConfigurationError` for what a store has no say over."""
        refused = sorted(set(config) & IN_THIS_PROCESS)
        if refused:
            raise ConfigurationError(
                f"{refused[0]!r} is not read from a store's configuration, which others may have written; "
                "pass an embedding function that has it"
            )
        if "model" not in config:
            raise ConfigurationError("the store's configuration names no model")
        return dict(config)

    def _tie_to_store(self, held: Mapping[str, Any]) -> Self:
        self._held = dict(held)
        if self.dimensions is None and self.fingerprint is not None:  # as the store will say it
            self.dimensions = self.fingerprint.dimensions
        self._lazy = shared_encoder(self._arguments())
        return self

    # Keys

    def _given_options(self) -> dict[str, Any]:
        given = super()._given_options()
        if self.backend != "api":
            return given
        hosted = _is_hosted(self.base_url)
        key = self._key_of_variable()
        if key is not None and (hosted or self._held is None):
            given["api_key"] = key
        if self._held is not None and not hosted:
            # Whoever wrote the configuration chose this address; the key in the environment was not given for it.
            given["dialect"] = replace(find_dialect(self.dialect or "jina"), environment_key=False)
        return given

    def _key_of_variable(self) -> Any:
        if self.api_key_env_var is None or "api_key" in self.model_fields_set:
            return None
        return seal(os.environ.get(self.api_key_env_var), source=self.api_key_env_var)

    def _require_key(self) -> None:
        if self.api_key_env_var is None or self.backend != "api" or "api_key" in self.model_fields_set:
            return
        if self._key_of_variable() is None:
            raise ConfigurationError(f"the environment variable {self.api_key_env_var} holds no key; set it")
        if self._held is not None and not _is_hosted(self.base_url):
            raise ConfigurationError(
                "the store's configuration names an address of its own, and no key from the environment goes there; "
                "pass an embedding function with that base_url and key if they belong together"
            )

    # The encoder

    def __setattr__(self, name: str, value: Any) -> None:
        if name in type(self).model_fields and self._held is not None:
            self._lazy = self._lazy.fork()  # the others that share it keep their options
        super().__setattr__(name, value)

    def _encoder(self) -> JinaClipEncoder:
        self._require_key()
        if self._held and self._held not in self._lazy.agreed:
            self._check_held(self._held)
        return super()._encoder()

    def _check_held(self, held: Mapping[str, Any]) -> None:
        """Raise `ConfigurationError` if these are not the vectors of the store: a checkpoint that was trained on."""
        if isinstance(self.backend, AbsentBackend):
            self.backend.refuse()
        ours = self.fingerprint
        if ours is not None:
            ours.check(held, where="the store")
        self._lazy.agreed.append(held)

    def __getstate__(self) -> dict[Any, Any]:
        return {**super().__getstate__(), "_held": self._held}

    def __setstate__(self, state: dict[Any, Any]) -> None:
        held = state.pop("_held", None)
        super().__setstate__(state)
        if held is not None:
            self._tie_to_store(held)


class AbsentBackend:
    """Stands for a backend object of the process that made the vectors, until it is asked for some."""

    def __init__(self, name: str, config: Mapping[str, Any]) -> None:
        self.name = name
        self.model = str(config.get("model"))
        self.dimensions = int(config.get("dimensions") or 0)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AbsentBackend) and vars(other) == vars(self)

    __hash__ = None  # type: ignore[assignment]  # compared like the configuration it came from

    def refuse(self) -> None:
        """Raise `ConfigurationError`."""
        raise ConfigurationError(
            f"the vectors were made by a backend object ({self.name}), which a store cannot keep; "
            "pass an embedding function with that backend"
        )

    def embed(self, batch: Any) -> Any:  # noqa: ARG002  # what makes it a backend
        """Never gets so far."""
        self.refuse()


def _is_hosted(base_url: str | None) -> bool:
    return base_url is None or urlsplit(base_url).hostname == urlsplit(HOSTED_BASE_URL).hostname


def is_plain(value: Any) -> bool:
    """Whether a value is made of what JSON has."""
    if isinstance(value, list | tuple):
        return all(map(is_plain, value))
    if isinstance(value, Mapping):
        return all(isinstance(name, str) and is_plain(one) for name, one in value.items())
    return isinstance(value, PLAIN)


def _as_json(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_as_json(one) for one in value]
    return {name: _as_json(one) for name, one in value.items()} if isinstance(value, Mapping) else value
