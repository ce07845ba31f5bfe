"""One fixed bearer token, compared in constant time."""

from __future__ import annotations

import hashlib
import hmac

from mcp.server.auth.provider import AccessToken


class TokenVerifier:
    """Knows one token, and keeps its digest only. Implements the SDK's `TokenVerifier`."""

    def __init__(self, token: str) -> None:
        self._digest = _digest(token)

    async def verify_token(self, token: str) -> AccessToken | None:
        """Who the token belongs to; None for any other."""
        if not hmac.compare_digest(self._digest, _digest(token.strip())):
            return None
        return AccessToken(token="", client_id="token", scopes=[])


def _digest(token: str) -> bytes:
    # Digests have one length, so that the comparison does not tell the length of the token either.
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
