"""Jina CLIP v1 and v2: text and images in one embedding space, over the API, a server of your own or this machine.

Names are resolved on first use, so importing the package loads neither torch, transformers, httpx nor a framework.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._version import __version__

_ROOMS = {
    "backends.remote.api": ("ApiBackend",),
    "backends.base": ("Batch", "BatchResult", "EmbeddingBackend", "ImageSource", "Usage"),
    "backends.remote.dialects": ("Dialect",),
    "backends.local": ("LocalBackend",),
    "backends.remote.sagemaker": ("SageMakerBackend",),
    "catalog": ("ModelSpec",),
    "encoder": ("JinaClipEncoder",),
    "errors": (
        "ApiConnectionError",
        "ApiError",
        "ApiTimeoutError",
        "AuthenticationError",
        "BackendError",
        "BudgetExceededError",
        "CheckpointError",
        "ConfigurationError",
        "ImageError",
        "InputError",
        "InsufficientBalanceError",
        "InvalidRequestError",
        "InvalidResponseError",
        "JinaClipError",
        "RateLimitError",
        "ServerError",
    ),
    "images.sources": ("SourcePolicy",),
    "tokens": ("TokenEstimate", "estimate_tokens"),
}
_HOME = {name: room for room, names in _ROOMS.items() for name in names}

__all__ = ["__version__", *sorted(_HOME)]

if TYPE_CHECKING:
    from .backends.base import Batch as Batch
    from .backends.base import BatchResult as BatchResult
    from .backends.base import EmbeddingBackend as EmbeddingBackend
    from .backends.base import ImageSource as ImageSource
    from .backends.base import Usage as Usage
    from .backends.local import LocalBackend as LocalBackend
    from .backends.remote.api import ApiBackend as ApiBackend
    from .backends.remote.dialects import Dialect as Dialect
    from .backends.remote.sagemaker import SageMakerBackend as SageMakerBackend
    from .catalog import ModelSpec as ModelSpec
    from .encoder import JinaClipEncoder as JinaClipEncoder
    from .errors import ApiConnectionError as ApiConnectionError
    from .errors import ApiError as ApiError
    from .errors import ApiTimeoutError as ApiTimeoutError
    from .errors import AuthenticationError as AuthenticationError
    from .errors import BackendError as BackendError
    from .errors import BudgetExceededError as BudgetExceededError
    from .errors import CheckpointError as CheckpointError
    from .errors import ConfigurationError as ConfigurationError
    from .errors import ImageError as ImageError
    from .errors import InputError as InputError
    from .errors import InsufficientBalanceError as InsufficientBalanceError
    from .errors import InvalidRequestError as InvalidRequestError
    from .errors import InvalidResponseError as InvalidResponseError
    from .errors import JinaClipError as JinaClipError
    from .errors import RateLimitError as RateLimitError
    from .errors import ServerError as ServerError
    from .images.sources import SourcePolicy as SourcePolicy
    from .tokens import TokenEstimate as TokenEstimate
    from .tokens import estimate_tokens as estimate_tokens


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
