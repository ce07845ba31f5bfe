"""The backends that have a name: one entry each, which is all that the rest of the package has to know of them.

A backend joins by one entry here. From it come `backend="..."` of the encoder, of both adapters and of the command
line, the fields of the adapters, the error for an unknown option and the tables of `docs/backends.md`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

from ..catalog import find_model
from ..errors import ConfigurationError, require_extra
from ..retrieval.fingerprint import export_format
from ..settings import ApiSettings, ExportedSettings, LocalSettings, SageMakerSettings, option_names, reject_unknown
from .base import EmbeddingBackend


@dataclass(frozen=True, kw_only=True)
class BackendEntry:
    """What is known of a backend before it is imported."""

    settings: type
    """Its options, and what checks them."""
    module: str
    """Where its class is, below `backends`."""
    class_name: str
    extra: str | None = None
    """The extra that it needs; None for the base install."""
    packages: tuple[str, ...] = ()
    """Packages that tell whether the extra is installed."""
    runs_here: bool = False
    """Whether it runs models of this machine: the demo model and checkpoint folders."""

    @property
    def options(self) -> tuple[str, ...]:
        """Names of its options, in order."""
        return option_names(self.settings)

    def load(self) -> type:
        """The class. Raises `ImportError` with the install line of a missing extra."""
        for package in self.packages:
            require_extra(package, extra=str(self.extra), purpose=self.class_name)
        cls: type = getattr(import_module(f".{self.module}", __package__), self.class_name)
        return cls


BACKENDS: Mapping[str, BackendEntry] = MappingProxyType(
    {
        "api": BackendEntry(settings=ApiSettings, module="remote.api", class_name="ApiBackend"),
        "local": BackendEntry(
            settings=LocalSettings,
            module="local",
            class_name="LocalBackend",
            extra="local",
            packages=("torch", "transformers", "safetensors"),
            runs_here=True,
        ),
        "onnx": BackendEntry(
            settings=ExportedSettings,
            module="exported",
            class_name="OnnxBackend",
            extra="onnx",
            packages=("onnxruntime", "tokenizers"),
            runs_here=True,
        ),
        "openvino": BackendEntry(
            settings=ExportedSettings,
            module="exported",
            class_name="OpenVinoBackend",
            extra="openvino",
            packages=("openvino", "tokenizers"),
            runs_here=True,
        ),
        "sagemaker": BackendEntry(
            settings=SageMakerSettings,
            module="remote.sagemaker",
            class_name="SageMakerBackend",
            extra="aws",
            packages=("boto3",),
        ),
    }
)
"""Name to backend."""


def find_backend(name: str) -> BackendEntry:
    """The entry called `name`. Raises `ConfigurationError` for an unknown one."""
    if name not in BACKENDS:
        known = ", ".join(map(repr, BACKENDS))
        raise ConfigurationError(f"unknown backend {name!r}; use {known} or an EmbeddingBackend instance")
    return BACKENDS[name]


def create_backend(name: str, model: str, options: Mapping[str, Any]) -> EmbeddingBackend:
    """The backend called `name` for `model`; `options` are its keyword arguments.

    Raises `ConfigurationError` for an unknown backend or option and for a model that it cannot serve, and `ImportError`
    naming the install line where an extra is missing.
    """
    entry = find_backend(name)
    check_serves(name, model, options)
    check_options(name, options)
    # Bad values are refused before torch or an AWS client is imported.
    entry.settings(**{option: value for option, value in options.items() if value is not None})
    return cast(EmbeddingBackend, entry.load()(model=model, **options))


def check_options(name: str, options: Mapping[str, Any]) -> None:
    """Raise `ConfigurationError` for an option that the backend `name` does not have."""
    # An option of another backend gets a better message than "unknown".
    for option in options:
        others = owners_of(option)
        if others and name not in others:
            names = " or ".join(f'backend="{other}"' for other in others)
            raise ConfigurationError(
                f'{option!r} is an option of {names}, not of backend="{name}"; leave it out, or use that backend'
            )
    reject_unknown(options, find_backend(name).options, where=f'backend="{name}"')


def check_serves(name: str, model: str, options: Mapping[str, Any]) -> None:
    """Raise `ConfigurationError` for a model of this machine with a remote backend.

    With a `base_url` the name may mean something to the server there.
    """
    if not find_backend(name).runs_here and "base_url" not in options and is_local_model(model):
        where = "at the API" if name == "api" else f"at {name}"
        here = backend_here(model)
        raise ConfigurationError(f'model {model!r} lives on this machine, not {where}; use backend="{here}"')


def owners_of(option: str) -> tuple[str, ...]:
    """Names of the backends that have an option of this name."""
    return tuple(name for name, entry in BACKENDS.items() if option in entry.options)


def default_backend(model: str) -> str:
    """The backend of a model for which none is named: what a folder of this machine asks for, else the API."""
    if not is_local_model(model):
        return "api"
    return backend_here(model)


def backend_here(model: str) -> str:
    """The backend that runs `model` on this machine: the one of an exported folder's format, else the local one."""
    return export_format(Path(model).expanduser()) or "local"


def is_local_model(model: str) -> bool:
    """Whether `model` can only mean weights on this machine: the demo model or an existing folder."""
    return model == "demo" or (find_model(model) is None and os.path.isdir(os.path.expanduser(model)))


def find_factory(path: str) -> Callable[[], Any]:
    """What `MODULE:FACTORY` names; importing it runs code that the user named, as `python -m` does."""
    module_name, _, factory_name = path.partition(":")
    try:
        factory: Callable[[], Any] = getattr(import_module(module_name), factory_name)
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(f"--backend {path}: {error}") from error
    return factory
