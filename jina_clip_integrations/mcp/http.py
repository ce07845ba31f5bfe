"""Streamable HTTP: who may ask, and how much of it."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address

from mcp.server.transport_security import TransportSecuritySettings
from starlette.applications import Starlette

from ..credentials import is_loopback, url_host
from ..errors import ConfigurationError
from .server import ImageSearchServer

PATH = "/mcp"
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
MAX_SESSIONS = 64
"""Clients that are connected at a time."""
SESSION_IDLE_S = 3600.0
"""Time after which a client that asked nothing has to connect again."""


def create_http_app(
    server: ImageSearchServer, *, host: str = "127.0.0.1", allow_hosts: Sequence[str] = ()
) -> Starlette:
    """The ASGI application that serves `server` at `/mcp`.

    A web page must get nothing out of a server on this machine: a request that names another host (as after DNS
    rebinding), or that a page elsewhere sent (`Origin`), is refused.

    Args:
        server: From `create_server`. Bound to anything but loopback, it needs a token.
        host: Address that it will listen on.
        allow_hosts: Host names that it answers to, beside loopback's and `host`.

    Raises:
        ConfigurationError: `host` is reachable from elsewhere, and there is no token.
    """
    if not is_loopback(host) and server.settings.auth is None:
        raise ConfigurationError(f"a server on {host} can be reached from other machines: it needs a token")
    return server.streamable_http_app(
        streamable_http_path=PATH,
        host=host,
        max_sessions=MAX_SESSIONS,
        session_idle_timeout=SESSION_IDLE_S,
        transport_security=allow(host, allow_hosts),
    )


def allow(host: str, allow_hosts: Sequence[str] = ()) -> TransportSecuritySettings:
    """Which `Host` and `Origin` headers are answered: any where it listens on all addresses, as it asks for a token."""
    everywhere = _is_unspecified(host) and not allow_hosts
    names = [*LOOPBACK, *(() if _is_unspecified(host) else (url_host(host),)), *map(url_host, allow_hosts)]
    hosts = [form for name in names for form in (name, f"{name}:*")]
    origins = [f"{scheme}://{form}" for scheme in ("http", "https") for form in hosts]
    return TransportSecuritySettings(
        enable_dns_rebinding_protection=not everywhere, allowed_hosts=hosts, allowed_origins=origins
    )


def _is_unspecified(host: str) -> bool:
    try:
        return ip_address(host).is_unspecified
    except ValueError:
        return False
