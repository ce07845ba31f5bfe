"""LlamaIndex: `JinaClipEmbedding`, text and images in one space for indexes, pipelines and retrievers."""

from __future__ import annotations

from ..errors import require_extra

require_extra("llama_index.core", extra="llama-index", purpose="jina_clip_integrations.llama_index")

from .embedding import JinaClipEmbedding  # noqa: E402  # after the check of the extra
from .image_digests import with_image_digests  # noqa: E402
from .mcp_results import mcp_content_blocks, with_mcp_images  # noqa: E402
from .tools import ImageRetrieverTool, content_blocks  # noqa: E402

__all__ = [
    "ImageRetrieverTool",
    "JinaClipEmbedding",
    "content_blocks",
    "mcp_content_blocks",
    "with_image_digests",
    "with_mcp_images",
]
