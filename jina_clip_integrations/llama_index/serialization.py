"""The serialised form: JSON-safe, without secrets, and telling a pipeline only what changes vectors."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

from ..backends.base import EmbeddingBackend
from ..cache import DiskCache
from ..errors import ConfigurationError
from ..settings import vector_option_names

VECTOR_FIELDS = (
    "class_name",
    "model_name",
    "backend",
    "dimensions",
    "normalize",
    "exif_orientation",
    "background",
    "high_bit_depth",
    "query_task",
    *vector_option_names(),
)
"""Fields on which the vectors depend. The others say how, how fast and for whom they are computed."""

SINCE_ADDED = {"background": None, "high_bit_depth": "clip", "image_size": None}
"""Fields that are younger than pipelines' caches: with these values they are not mentioned there."""

OBJECT_FIELDS = ("background", "backend", "cache", "timeout", "dialect")
"""Fields that may hold objects, for which a dump needs a JSON-safe form."""

PLAIN = (str, int, float, type(None))
"""Types that JSON has already."""


class SerializedOptions(dict[str, Any]):
    """`to_dict()`: all constructor arguments, while `str()` of it gives those on which the vectors depend.

    An ingestion pipeline keys its cache by `str(step.to_dict())`. So what has been computed survives another timeout or
    batch size, and does not survive another model or width.
    """

    def __str__(self) -> str:
        return str(
            {n: self[n] for n in VECTOR_FIELDS if n in self and (n not in SINCE_ADDED or self[n] != SINCE_ADDED[n])}
        )


def to_json_value(name: str, value: Any) -> Any:
    """The JSON-safe form of a field. Raises `ConfigurationError` for an object that has none."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, PLAIN):
        return value
    if name == "background":  # JSON has no tuples
        return list(value)
    if name == "backend":
        return _backend_to_dict(value)
    if name == "cache":  # changes no vector, so it may be left out: one that is no folder has to be passed again
        return str(value.path) if isinstance(value, DiskCache) else None
    raise ConfigurationError(
        f"{name} holds a {type(value).__name__}, which cannot be serialised; use a plain value, or a copy "
        f"without it: model_copy(update={{{name!r}: None}})"
    )


def _backend_to_dict(backend: Any) -> Mapping[str, Any]:
    kind = type(backend)
    if not (callable(getattr(backend, "to_dict", None)) and callable(getattr(kind, "from_dict", None))):
        raise ConfigurationError(
            f"the backend object {kind.__name__} cannot be serialised: it has no to_dict() and from_dict(); "
            "choose the backend by name, with its options as fields, or turn the pipeline's cache off "
            "(disable_cache=True)"
        )
    return {"module": kind.__module__, "class": kind.__qualname__, "settings": backend.to_dict()}


def backend_from_dict(dumped: Mapping[str, Any]) -> EmbeddingBackend:
    """The backend object of a dump. Raises `ConfigurationError` if its module has not been imported.

    A module is looked up, never imported, so that a dump from elsewhere cannot run code.
    """
    module, qualname = str(dumped.get("module")), str(dumped.get("class"))
    found: Any = sys.modules.get(module)
    for part in qualname.split("."):
        found = getattr(found, part, None)
    if not (isinstance(found, type) and callable(getattr(found, "from_dict", None))):
        raise ConfigurationError(
            f"the backend object {qualname} of {module} is not loaded here; import that module first, or pass the "
            "object: from_dict(data, backend=...)"
        )
    backend: EmbeddingBackend = found.from_dict(dumped.get("settings", {}))  # type: ignore[attr-defined]
    return backend
