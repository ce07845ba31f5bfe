"""A folder of images as a Model Context Protocol server: `jina-clip mcp FOLDER`, and `create_server` for code."""

from __future__ import annotations

from ..errors import require_extra

require_extra("mcp", extra="mcp", purpose="jina_clip_integrations.mcp")

from .http import create_http_app  # noqa: E402  # after the check of the extra
from .server import create_server  # noqa: E402
from .settings import McpSettings  # noqa: E402
from .source import CollectionSource  # noqa: E402

__all__ = ["CollectionSource", "McpSettings", "create_http_app", "create_server"]
