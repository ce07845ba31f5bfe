"""Downloading an image under a source policy: every hop is checked, and the checked address is connected to."""

from __future__ import annotations

import functools
import ipaddress
import socket
import ssl
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

from .._version import USER_AGENT
from ..errors import ImageError
from .sources import SourcePolicy, show_url

if TYPE_CHECKING:
    import httpx

_REDIRECTS = (301, 302, 303, 307, 308)
_GLOBAL_IPV6 = ipaddress.IPv6Network("2000::/3")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def fetch(url: str, *, policy: SourcePolicy) -> bytes:
    """The body of `url`, redirects followed. Raises `ImageError` naming the URL without user name and query."""
    import httpx

    given, deadline = url, time.monotonic() + policy.timeout
    try:
        with _client(policy) as client:
            for _ in range(policy.max_redirects + 1):  # by hand, since httpx would follow without asking the policy
                policy.check_url(url)
                body, onward = _send(client, url, policy, deadline)
                if onward is None:
                    return body
                url = urljoin(url, onward)
    except httpx.TimeoutException as error:
        raise ImageError(f"{show_url(url)}: not fetched within {policy.timeout:g} s (timeout of the policy)") from error
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        reason = str(error).partition("\n")[0] if isinstance(error, (httpx.TransportError, OSError)) else ""
        raise ImageError(f"{show_url(url)}: cannot be fetched ({reason or type(error).__name__})") from error
    raise ImageError(f"{show_url(given)}: more than {policy.max_redirects} redirects")


def _client(policy: SourcePolicy) -> httpx.Client:
    import httpx

    # A proxy would resolve the name again, so a policy that checks addresses goes without.
    return httpx.Client(
        verify=_ssl_context(),
        timeout=policy.timeout,
        trust_env=not policy.public_only,
        headers={"User-Agent": USER_AGENT, "Accept": "image/*,*/*;q=0.5", "Accept-Encoding": "identity"},
    )


@functools.lru_cache(maxsize=1)
def _ssl_context() -> ssl.SSLContext:
    """One for the process: reading the certificates takes longer than many a download."""
    import httpx

    return httpx.create_ssl_context()


def _send(client: httpx.Client, url: str, policy: SourcePolicy, deadline: float) -> tuple[bytes, str | None]:
    """Body of an image, or the location that the server redirects to."""
    request = client.build_request("GET", url)
    if policy.public_only:
        _pin(request)
    response = client.send(request, stream=True)
    try:
        if response.status_code in _REDIRECTS and "location" in response.headers:
            return b"", response.headers["location"]
        _check_response(response, url, policy)
        return _read_body(response, url, policy, deadline), None
    finally:
        response.close()


def _check_response(response: httpx.Response, url: str, policy: SourcePolicy) -> None:
    if response.status_code != 200:
        raise ImageError(
            f"{show_url(url)}: the server answered {response.status_code} {response.reason_phrase}".strip()
        )
    # Servers send images under many types or none, so only what certainly is no image is refused: pages and messages.
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind.startswith("text/") or kind == "application/json":
        raise ImageError(f"{show_url(url)}: the server answered with {kind}, not with an image")
    length = response.headers.get("content-length", "")
    if length.isdecimal() and int(length) > policy.max_bytes:
        raise ImageError(_too_large(url, policy))


def _read_body(response: httpx.Response, url: str, policy: SourcePolicy, deadline: float) -> bytes:
    # Block by block: a body may be longer than its announced length, have none, or unpack to a multiple of it.
    body = bytearray()
    for block in response.iter_bytes():
        body += block
        if len(body) > policy.max_bytes:
            raise ImageError(_too_large(url, policy))
        if time.monotonic() > deadline:
            raise ImageError(f"{show_url(url)}: not fetched within {policy.timeout:g} s (timeout of the policy)")
    return bytes(body)


def _too_large(url: str, policy: SourcePolicy) -> str:
    return f"{show_url(url)}: more than {policy.max_bytes:,} bytes, the limit of the source policy (max_bytes)"


def _pin(request: httpx.Request) -> None:
    """Send the request to an address that was checked, with the host's name in TLS and the `Host` header.

    Resolving the name once more to connect would let it point elsewhere by then (DNS rebinding).
    """
    host = request.url.host
    addresses = resolve(host, request.url.port or {"http": 80}.get(request.url.scheme, 443))
    if not addresses or not all(is_public(address) for address in addresses):
        raise ImageError(f"{show_url(str(request.url))}: the source policy allows public addresses only")
    request.extensions["sni_hostname"] = request.url.raw_host.decode("ascii")
    request.url = request.url.copy_with(host=addresses[0])


def resolve(host: str, port: int) -> list[str]:
    """Every address of `host`, in the order the system prefers."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def is_public(address: str) -> bool:
    """Whether `address` is reachable from anywhere; an IPv4 address inside an IPv6 one is checked too."""
    found: Any = ipaddress.ip_address(address)
    if found.version == 6:
        inner = _inner_ipv4(found)
        if inner is not None:
            return all(is_public(str(part)) for part in inner)
        if found not in _GLOBAL_IPV6:
            return False
    return bool(found.is_global and not found.is_multicast and not found.is_reserved)


def _inner_ipv4(address: ipaddress.IPv6Address) -> tuple[ipaddress.IPv4Address, ...] | None:
    if address.ipv4_mapped is not None:
        return (address.ipv4_mapped,)
    if address.sixtofour is not None:
        return (address.sixtofour,)
    if address.teredo is not None:
        return address.teredo
    if address in _NAT64:
        return (ipaddress.IPv4Address(int(address) & 0xFFFFFFFF),)
    return None
