"""Authentication by bearer keys, compared in constant time."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable

from .errors import authentication_error

SCHEME = "bearer"


class BearerAuth:
    """Accepts requests that carry one of the keys, or every request if there are no keys. Stores digests only."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._digests = tuple(_digest(key.strip()) for key in keys)

    def check(self, authorization: str | None) -> None:
        """Raise `RequestError` 401 unless this `Authorization` header carries a known key."""
        if not self._digests:
            return
        if not authorization:
            raise authentication_error(
                "AUTH_MISSING_API_KEY", "Authentication required: send Authorization: Bearer <key>"
            )
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != SCHEME or not token.strip():
            raise authentication_error(
                "AUTH_INVALID_FORMAT", "Invalid authorization format: send Authorization: Bearer <key>"
            )
        given = _digest(token.strip())
        # Compared with every key: stopping at a match would tell by time which key it was.
        matches = [hmac.compare_digest(known, given) for known in self._digests]
        if not any(matches):
            raise authentication_error("AUTH_INVALID_API_KEY", "Invalid API key")


def _digest(key: str) -> bytes:
    # Digests have one length, so that the comparison does not tell the length of a key either.
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
