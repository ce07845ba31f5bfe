"""Where things are kept that the user did not name a place for: the user's folder for caches."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

from ..errors import require_extra

APPLICATION = "jina-clip"
NAME_CHARACTERS = 40
"""Most characters of a folder's name that its store is called by, so that a person finds it."""

_UNFIT = re.compile(r"[^A-Za-z0-9_-]+")


def cache_folder() -> Path:
    """This package's folder in the user's cache: as XDG, macOS and Windows have it."""
    require_extra("platformdirs", extra="qdrant", purpose="A store without a place of its own")
    from platformdirs import user_cache_path

    return user_cache_path(APPLICATION, appauthor=False)


def default_store(folder: Path) -> Path:
    """Where the store of a folder is kept; the same for the same absolute path, links resolved."""
    resolved = folder.expanduser().resolve()
    digest = hashlib.sha256(os.fsencode(resolved)).hexdigest()[:16]
    name = _UNFIT.sub("-", resolved.name)[:NAME_CHARACTERS].strip("-")
    return cache_folder() / "collections" / "-".join(part for part in (name, digest) if part)
