"""Who may ask: the name the app was called by, the page that asks, and the token; and what a browser may do with it.

A page elsewhere must get nothing out of an app on loopback. It could have its own name resolve to 127.0.0.1 (DNS
rebinding): then the `Host` header holds that name, and the request is refused. It could send a form or load an image
from here: then the browser says so (`Origin`, `Sec-Fetch-Site`), and the request is refused.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from http.cookies import CookieError, SimpleCookie
from ipaddress import ip_address

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..credentials import is_loopback
from ..server.auth import BearerAuth
from ..server.errors import RequestError, authentication_error
from ..server.middleware import ERROR_CODE, REQUEST_ID
from .settings import AppSettings

SESSION_PATH = "/api/session"
"""Where a token is exchanged for a cookie; the only address below `/api` that is open without either."""

SAFE_METHODS = frozenset({"GET", "HEAD"})
OWN_SITES = frozenset({"same-origin", "none"})
"""What `Sec-Fetch-Site` says of the app's own page, and of an address that was typed."""

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob:",  # blob: the preview of an image that was dropped in
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        # With no policy by that name, a browser refuses every way of turning a string into markup.
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


class Sessions:
    """The token, and the cookie that stands for it in the browser. The cookie's value ends with the process."""

    def __init__(self, token: str | None) -> None:
        self.required = token is not None
        self._auth = BearerAuth([token] if token else [])
        self.secret = secrets.token_urlsafe(32)
        # Cookies are shared between the ports of a host, so that two apps need two names.
        self.cookie = f"jina-clip-{hashlib.sha256((token or '').encode()).hexdigest()[:12]}"

    def open(self, authorization: str | None) -> None:
        """Raise `RequestError` 401 unless the header carries the token."""
        self._auth.check(authorization)

    def check(self, headers: Headers) -> None:
        """Raise `RequestError` 401 unless the request carries the cookie or the token."""
        if not self.required:
            return
        try:
            morsel = SimpleCookie(headers.get("cookie", "")).get(self.cookie)
        except CookieError:
            morsel = None
        if morsel is not None and hmac.compare_digest(morsel.value.encode(), self.secret.encode()):
            return
        if "authorization" not in headers:
            raise authentication_error("TOKEN_REQUIRED", "This app asks for the token that was printed when it started")
        self._auth.check(headers["authorization"])


class Guard:
    """ASGI middleware: refuses what must not be answered, and adds the headers that bind the browser."""

    def __init__(self, app: ASGIApp, *, settings: AppSettings, sessions: Sessions) -> None:
        self._app = app
        self._settings = settings
        self._sessions = sessions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request; there are no web sockets here."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        try:
            self.check(scope)
        except RequestError as error:
            scope[ERROR_CODE] = error.code
            refusal = JSONResponse(error.body(scope.get(REQUEST_ID, "")), error.status, error.headers)
            await refusal(scope, receive, send_with_headers)
            return
        await self._app(scope, receive, send_with_headers)

    def check(self, scope: Scope) -> None:
        """Raise `RequestError` for a request that must not be answered."""
        headers = Headers(scope=scope)
        self._check_host(headers.getlist("host"))
        self._check_origin(scope, headers)
        if scope["path"].startswith("/api/") and scope["path"] != SESSION_PATH:
            self._sessions.check(headers)

    def _check_host(self, hosts: list[str]) -> None:
        name = host_name(hosts[0]) if len(hosts) == 1 else ""
        if name and (is_loopback(name) or (not self._settings.loopback_only and self._is_ours(name))):
            return
        hint = "" if self._settings.loopback_only else "; --allow-host NAME allows one"
        raise RequestError(421, "HOST_NOT_ALLOWED", f"This app does not answer to that host name{hint}", nested=False)

    def _is_ours(self, name: str) -> bool:
        # Rebinding needs a name: nobody can have an address resolve to another one.
        return _is_address(name) or name in {own.lower() for own in self._settings.host_names}

    def _check_origin(self, scope: Scope, headers: Headers) -> None:
        origin = headers.get("origin")
        if origin is not None and origin.partition("://")[2].lower() != headers["host"].lower():
            raise _foreign_page()
        site = headers.get("sec-fetch-site", "none")  # absent outside of browsers, and in old ones
        opens_page = scope["path"] == "/" and headers.get("sec-fetch-mode") == "navigate"
        if site not in OWN_SITES and not (opens_page and scope["method"] in SAFE_METHODS):
            raise _foreign_page()


def host_name(host: str) -> str:
    """The name in a `Host` header, in lower case and without port and brackets; empty for a malformed one."""
    if host.startswith("["):
        name, bracket, port = host[1:].partition("]")
        valid = bool(bracket) and (not port or _is_port(port)) and _is_address(name)
    else:
        name, colon, port = host.partition(":")
        valid = not colon or _is_port(f":{port}")
    return name.lower() if valid else ""


def _is_port(text: str) -> bool:
    return text.startswith(":") and text[1:].isascii() and text[1:].isdigit()


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _foreign_page() -> RequestError:
    return RequestError(403, "FOREIGN_PAGE", "Only this app's own page may ask", nested=False)
