"""Jina CLIP v1 and v2: text and images in one embedding space, over the API, a server of your own or this machine.

Names are resolved on first use, so importing the package loads neither torch, transformers, httpx nor a framework.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._version import __version__

_MODULES = {
    "backends.remote.api": ("ApiBackend",),
    "backends.base": ("Batch", "BatchResult", "EmbeddingBackend", "ImageSource", "Usage"),
    "backends.remote.dialects": ("Dialect",),
    "backends.remote.service": ("CallRecord",),
    "backends.local": ("LocalBackend",),
    "backends.remote.sagemaker": ("SageMakerBackend",),
    "cache": ("DiskCache", "MemoryCache"),
    "catalog": ("ModelSpec",),
    "encoder": ("JinaClipEncoder",),
    "encoder.classification": ("ZeroShotClassifier",),
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
    "retrieval.classification": ("Classification",),
    "retrieval.fingerprint": ("VectorFingerprint",),
    "settings": ("RetryPolicy",),
    "tokens": ("TokenEstimate", "estimate_tokens"),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}

__all__ = ["__version__", *sorted(_HOMES)]

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
    from .backends.remote.service import CallRecord as CallRecord
    from .cache import DiskCache as DiskCache
    from .cache import MemoryCache as MemoryCache
    from .catalog import ModelSpec as ModelSpec
    from .encoder import JinaClipEncoder as JinaClipEncoder
    from .encoder.classification import ZeroShotClassifier as ZeroShotClassifier
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
    from .retrieval.classification import Classification as Classification
    from .retrieval.fingerprint import VectorFingerprint as VectorFingerprint
    from .settings import RetryPolicy as RetryPolicy
    from .tokens import TokenEstimate as TokenEstimate
    from .tokens import estimate_tokens as estimate_tokens


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
