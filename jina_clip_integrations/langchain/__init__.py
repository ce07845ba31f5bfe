"""LangChain: `JinaClipEmbeddings`, text and images in one space for any vector store."""

from __future__ import annotations

from ..errors import require_extra

require_extra("langchain_core", extra="langchain", purpose="jina_clip_integrations.langchain")

from .embeddings import ImageEmbeddings, JinaClipEmbeddings  # noqa: E402  # after the check of the extra
from .image_digests import with_image_digests  # noqa: E402
from .image_documents import ImageDocumentRetriever, image_block, with_image_blocks  # noqa: E402

__all__ = [
    "ImageDocumentRetriever",
    "ImageEmbeddings",
    "JinaClipEmbeddings",
    "image_block",
    "with_image_blocks",
    "with_image_digests",
]
