"""Ray: a class for pipelines of your own, jobs that run exactly once, one account for many workers, replicas.

    import ray
    from jina_clip_integrations.ray import JinaClipBatchEmbedder, embed_dataset

    report = embed_dataset("photos/", "vectors/", model="jina-clip-v2", backend="local")

Needs the extra `ray`. Nothing of Ray is imported before one of these names is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ..errors import require_extra

if TYPE_CHECKING:
    from .dataset import embed_dataset as embed_dataset
    from .embedder import JinaClipBatchEmbedder as JinaClipBatchEmbedder
    from .limiter import AccountLimits as AccountLimits
    from .limiter import RayLimiter as RayLimiter
    from .report import EmbedProgress as EmbedProgress
    from .report import EmbedReport as EmbedReport
    from .serving import ServeArguments as ServeArguments
    from .workers import WorkerPlan as WorkerPlan

_HOMES = {
    "AccountLimits": "limiter",
    "EmbedProgress": "report",
    "EmbedReport": "report",
    "JinaClipBatchEmbedder": "embedder",
    "RayLimiter": "limiter",
    "ServeArguments": "serving",
    "WorkerPlan": "workers",
    "embed_dataset": "dataset",
}

__all__ = [
    "AccountLimits",
    "EmbedProgress",
    "EmbedReport",
    "JinaClipBatchEmbedder",
    "RayLimiter",
    "ServeArguments",
    "WorkerPlan",
    "embed_dataset",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    for package in ("ray", "pyarrow"):
        require_extra(package, extra="ray", purpose=name)
    value = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
