"""Where vectors are computed. The chosen backend is imported when it is asked for, not before."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, cast

from ..catalog import find_model
from ..errors import ConfigurationError, require_extra
from ..settings import ApiSettings, LocalSettings, option_names, reject_unknown
from .base import EmbeddingBackend


def create_backend(backend: str, model: str, options: Mapping[str, Any]) -> EmbeddingBackend:
    """The backend called `backend` (`api` or `local`) for `model`; `options` are its keyword arguments.

    Raises `ConfigurationError` for an unknown backend or option and for a model that the API cannot serve, and
    `ImportError` naming the install line where an extra is missing.
    """
    if backend == "api":
        return _create_api(model, options)
    if backend == "local":
        return _create_local(model, options)
    raise ConfigurationError(f"unknown backend {backend!r}; use 'api', 'local' or an EmbeddingBackend instance")


def _create_api(model: str, options: Mapping[str, Any]) -> EmbeddingBackend:
    if "base_url" not in options and is_local_model(model):
        raise ConfigurationError(f'model {model!r} lives on this machine, not at the API; use backend="local"')
    _check_options("api", options, ApiSettings, others=LocalSettings)
    from .remote.api import ApiBackend

    return cast(EmbeddingBackend, ApiBackend(model, **options))


def _create_local(model: str, options: Mapping[str, Any]) -> EmbeddingBackend:
    _check_options("local", options, LocalSettings, others=ApiSettings)
    for module in ("torch", "transformers", "safetensors"):
        require_extra(module, extra="local", purpose='backend="local"')
    from .local import LocalBackend

    return cast(EmbeddingBackend, LocalBackend(model, **options))


def _check_options(backend: str, options: Mapping[str, Any], settings: type, *, others: type) -> None:
    known = option_names(settings)
    for name in options:
        if name not in known and name in option_names(others):
            other = "local" if backend == "api" else "api"
            raise ConfigurationError(f'{name!r} is an option of backend="{other}", not of backend="{backend}"')
    reject_unknown(options, known, where=f'backend="{backend}"')


def is_local_model(model: str) -> bool:
    """Whether `model` can only mean weights on this machine: the demo model or an existing folder."""
    return model == "demo" or (find_model(model) is None and os.path.isdir(os.path.expanduser(model)))
