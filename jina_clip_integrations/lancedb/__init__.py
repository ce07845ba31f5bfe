"""LanceDB: `JinaClipEmbeddings` in its registry, for columns of images or texts. Importing registers it."""

from __future__ import annotations

from ..errors import require_extra

require_extra("lancedb", extra="lancedb", purpose="jina_clip_integrations.lancedb")

from .embeddings import ALIAS, JinaClipEmbeddings  # noqa: E402  # after the check of the extra

__all__ = ["ALIAS", "JinaClipEmbeddings"]
