"""What one app accepts, and its limits: every default in one place."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from ..errors import ConfigurationError
from ..settings import require_integer

MIB = 2**20

MIN_TOKEN_CHARACTERS = 16
"""Shortest token of the user's own choosing; a shorter one could be guessed over the network."""

COUNTS = (
    "max_hits",
    "max_listed",
    "max_upload_bytes",
    "max_uploads_bytes",
    "max_thumbnail_bytes",
    "max_text_characters",
)

_HOST_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class AppSettings:
    """Access and limits of one app."""

    token: str | None = field(default=None, repr=False)
    """What a browser has to show before it sees anything of the folder; None = nothing, for loopback only."""
    loopback_only: bool = True
    """Answer to the names of this machine's loopback alone, whatever a page elsewhere has a name resolve to."""
    host_names: tuple[str, ...] = ()
    """Names, besides addresses and `localhost`, by which the app may be called when it is bound elsewhere."""
    index: bool = True
    """Bring the collection up to date with the folder when the app starts."""
    watch: bool = False
    """Go on doing so while it runs."""

    max_hits: int = 2000
    """Results of one search, at most."""
    max_listed: int = 50_000
    """Images shown without a query, at most."""
    max_upload_bytes: int = 64 * MIB
    """Largest image to search with, in bytes as encoded."""
    max_uploads_bytes: int = 192 * MIB
    """All such images that are kept while the app runs; the oldest go first."""
    max_thumbnail_bytes: int = 96 * MIB
    """Thumbnails kept in memory; the ones that were not asked for longest go first."""
    max_text_characters: int = 2000
    """Longest query, in characters."""

    def __post_init__(self) -> None:
        for name in COUNTS:
            require_integer(name, getattr(self, name), minimum=1)
        if self.token is not None and len(self.token.strip()) < MIN_TOKEN_CHARACTERS:
            raise ConfigurationError(
                f"the token is shorter than {MIN_TOKEN_CHARACTERS} characters and could be guessed"
            )
        if self.token is None and not self.loopback_only:
            raise ConfigurationError("an app that is reached from other machines needs a token")
        for name in self.host_names:
            if _HOST_NAME.fullmatch(name) is None:
                raise ConfigurationError(f"{name!r} is no host name; write it alone, without a scheme, port or path")
