"""The application behind `jina-clip serve`: a local model behind Jina's schema.

    from jina_clip_integrations import LocalBackend
    from jina_clip_integrations.server import ServerSettings, create_app

    app = create_app(LocalBackend("jina-clip-v2"), ServerSettings(api_keys=("secret",)))

Needs the extra `serve`. The web framework is imported by `create_app` only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import require_extra
from .settings import ServerSettings

if TYPE_CHECKING:
    from fastapi import FastAPI

    from ..backends.base import EmbeddingBackend
    from ..encoder import JinaClipEncoder

__all__ = ["ServerSettings", "create_app"]


def create_app(
    source: JinaClipEncoder | EmbeddingBackend, settings: ServerSettings | None = None, **changes: Any
) -> FastAPI:
    """The application that serves `source`, ready for any ASGI server.

    Args:
        source: A backend, or an encoder, of which the backend, cache and EXIF setting are used; each request decides
            width and normalisation.
        settings: Limits and access; None = the defaults.
        changes: Fields of `ServerSettings` that override `settings`.

    Raises:
        ImportError: the extra `serve` is not installed.
        ConfigurationError: invalid settings.
    """
    for package in ("fastapi", "prometheus_client"):
        require_extra(package, extra="serve", purpose="the server")
    from .app import build_app

    return build_app(source, (settings or ServerSettings()).changed(**changes))
