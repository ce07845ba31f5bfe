"""The files of the page, read once from the package: an address names an entry of this table, never a file."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response

MEDIA_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
PAGE = "index.html"


@dataclass(frozen=True)
class Asset:
    """One file of the page."""

    content: bytes
    media_type: str
    etag: str

    def respond(self, request: Request) -> Response:
        """The file, or 304 where the browser has this version."""
        # Asked for again each time: after an update of the package, old modules must not meet new ones.
        headers = {"ETag": self.etag, "Cache-Control": "no-cache"}
        if request.headers.get("if-none-match") == self.etag:
            return Response(status_code=304, headers=headers)
        return Response(self.content, media_type=self.media_type, headers=headers)


def load_assets() -> dict[str, Asset]:
    """File name to asset."""
    return {
        entry.name: _load(entry.name, entry.read_bytes())
        for entry in (files(__package__) / "static").iterdir()
        if entry.name.rpartition(".")[2] in MEDIA_TYPES
    }


def _load(name: str, content: bytes) -> Asset:
    etag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
    return Asset(content, MEDIA_TYPES[name.rpartition(".")[2]], etag)
