"""Chroma: `JinaClipEmbeddingFunction`, texts and images in one collection. Importing this package registers it."""

from __future__ import annotations

from ..errors import require_extra

require_extra("chromadb", extra="chroma", purpose="jina_clip_integrations.chroma")

from .embedding_function import JinaClipEmbeddingFunction  # noqa: E402  # after the check of the extra
from .image_loader import ImageLoader, LoadedImages  # noqa: E402
from .opening import open_collection  # noqa: E402

__all__ = ["ImageLoader", "JinaClipEmbeddingFunction", "LoadedImages", "open_collection"]
