"""The settings of a server: every limit and default in one place."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field, replace
from typing import Any

from ..credentials import clean_key, unquote
from ..errors import ConfigurationError
from ..images.sources import AGENT_MAX_PIXELS, SourcePolicy
from ..settings import option_names, reject_unknown, require_integer, require_number

MIB = 2**20

COUNTS = (
    "max_queue",
    "max_batch",
    "max_running",
    "max_items",
    "max_requests",
    "max_body_bytes",
    "max_buffered_bytes",
    "max_image_bytes",
    "max_image_pixels",
    "max_text_characters",
    "max_fetches",
)
SECONDS = {"batch_wait_s": 0.0, "fetch_timeout_s": 0.1, "request_timeout_s": 0.1, "drain_timeout_s": 0.0}

_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(?:[a-z0-9_.-]+|\[[0-9a-f:.]+\])(?::\d{1,5})?")


@dataclass(frozen=True, kw_only=True)
class ServerSettings:
    """What one server accepts, and its limits."""

    api_keys: tuple[str, ...] = field(default=(), repr=False)
    """Bearer keys that are accepted; empty = no authentication. With several, a key can be rotated without a gap."""
    model_names: tuple[str, ...] = ()
    """Names for the model that requests may use besides its own."""
    cors_origins: tuple[str, ...] = ()
    """Origins whose web pages may ask, such as `https://example.org` or `http://localhost:3000`; `*` = all. None is
    the default: a browser then keeps other pages from reading responses."""
    strict: bool = False
    """Refuse fields, aliases and forms of items that the published schema does not have."""

    max_batch: int = 64
    """Inputs per call of the backend."""
    batch_wait_s: float = 0.005
    """Longest wait for a batch to fill while the backend is idle, in seconds."""
    max_running: int = 2
    """Concurrent calls of the backend; a second one for the same kind of input needs a full batch."""
    max_queue: int = 2048
    """Inputs of all clients admitted and not yet answered; beyond it 429."""
    max_requests: int = 512
    """Concurrent embedding requests; beyond it 429."""

    max_items: int = 512
    """Inputs per request."""
    max_body_bytes: int = 32 * MIB
    """Largest request body, in bytes."""
    max_buffered_bytes: int = 1024 * MIB
    """Bodies of all requests in progress together, in bytes; beyond it 429."""
    max_image_bytes: int = 10 * MIB
    """Largest encoded image, inline or fetched, in bytes."""
    max_image_pixels: int = AGENT_MAX_PIXELS
    """Largest image, in pixels."""
    max_text_characters: int = 1_000_000
    """Longest text, in characters; the model's own limit is in tokens."""

    allow_private_addresses: bool = False
    """Fetch images from http addresses and private networks too, not only from public https addresses."""
    sources: SourcePolicy | None = None
    """Where images may be fetched from, instead of `SourcePolicy.agent()`; local files are never opened."""
    max_fetches: int = 16
    """Concurrent fetches of images."""
    fetch_timeout_s: float = 8.0
    """Longest fetch of one image, in seconds."""

    request_timeout_s: float = 120.0
    """Time limit of one request, from its headers to its response, in seconds; beyond it 504."""
    drain_timeout_s: float = 30.0
    """Time that requests in progress have after the server was told to stop, in seconds."""

    def __post_init__(self) -> None:
        for name in COUNTS:
            require_integer(name, getattr(self, name), minimum=1)
        for name, minimum in SECONDS.items():
            require_number(name, getattr(self, name), minimum=minimum)
        if self.max_items > self.max_queue:
            raise ConfigurationError(
                f"max_queue={self.max_queue} is smaller than max_items={self.max_items}: "
                "the largest request could never be admitted"
            )
        # Which of the two should win would be a guess, and a wrong guess opens a private network.
        if self.sources is not None and self.allow_private_addresses:
            raise ConfigurationError("give either sources or allow_private_addresses; a SourcePolicy decides alone")
        for name in ("api_keys", "model_names", "cors_origins"):
            _check_names(name, getattr(self, name))
        for origin in self.cors_origins:
            _check_origin(origin)
        # Cleaned like a client's, or a key that was pasted with quotes would let nobody in.
        object.__setattr__(self, "api_keys", tuple(map(_clean_server_key, self.api_keys)))

    def changed(self, **changes: Any) -> ServerSettings:
        """A copy with other values. Raises `ConfigurationError` for an unknown name."""
        reject_unknown(changes, option_names(ServerSettings), where="ServerSettings")
        return replace(self, **changes)

    @property
    def source_policy(self) -> SourcePolicy:
        """Where the images of requests may come from: never a local file, whatever `sources` says."""
        policy = self.sources
        if policy is None:
            policy = SourcePolicy.agent(timeout=self.fetch_timeout_s, max_retries=0)  # the client may ask again
            if self.allow_private_addresses:
                policy = replace(policy, schemes=("https", "http"), public_only=False, direct_only=False)
        return replace(
            policy,
            paths=False,
            roots=None,
            data_uris=True,
            max_bytes=min(policy.max_bytes, self.max_image_bytes),
            max_pixels=min(policy.max_pixels, self.max_image_pixels),
        )


def _check_names(name: str, values: object) -> None:
    if not isinstance(values, tuple) or not all(isinstance(value, str) and value.strip() for value in values):
        raise ConfigurationError(f"{name} must be a tuple of strings that are not blank")


def _check_origin(origin: str) -> None:
    # Browsers send exactly this, and compare letter by letter: anything else would silently match no page.
    if origin != "*" and _ORIGIN.fullmatch(origin) is None:
        raise ConfigurationError(
            f"{origin!r} is no origin; write scheme, host and port alone, without a path or a slash at the end, as in "
            "https://example.org or http://localhost:3000"
        )


def _clean_server_key(given: str) -> str:
    key = clean_key(given, source="api_keys")
    if key is None:
        raise ConfigurationError("api_keys holds a masked or an empty key; copy it again")
    return key


def read_api_keys(variable: str | None) -> tuple[str, ...]:
    """The comma-separated keys in an environment variable; none if `variable` is None."""
    # Not an option with the key itself, which every user of the machine could read in the list of processes.
    if variable is None:
        return ()
    keys = tuple(key.strip() for key in unquote(os.environ.get(variable, "")).split(",") if key.strip())
    if not keys:
        raise ConfigurationError(f"--api-key-env {variable}: this environment variable is empty or not set")
    return keys
