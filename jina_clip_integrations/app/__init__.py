"""The page behind `jina-clip app FOLDER`: search one's own images in a browser, on this machine.

    from jina_clip_integrations.app import AppSettings, create_app

    app = create_app(collection, AppSettings())  # a `collections.folder.FolderCollection`; for any ASGI server

Needs the extra `app`. The web framework is imported by `create_app` only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import require_extra
from .settings import AppSettings

if TYPE_CHECKING:
    from fastapi import FastAPI

    from ..collections.folder import FolderCollection

__all__ = ["AppSettings", "create_app"]


def create_app(collection: FolderCollection, settings: AppSettings | None = None) -> FastAPI:
    """The application that shows `collection`; the caller closes the collection after the app has stopped.

    Raises:
        ImportError: the extra `app` is not installed.
    """
    for package in ("fastapi", "prometheus_client"):
        require_extra(package, extra="app", purpose="the app")
    from .application import build_app

    return build_app(collection, settings or AppSettings())
