"""What every request owes, to a service or an image host: the environment's proxies and certificates, and its deadline.

httpx reads both as well, but gives up with an error of its own for what it cannot use, even where it is not needed, and
knows no networks in `NO_PROXY`. So its clients are told what to do, and not to look themselves (`trust_env=False`).
"""

from __future__ import annotations

import importlib.util
import ipaddress
import os
import re
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from .errors import ConfigurationError

if TYPE_CHECKING:
    import httpx

PROXY_REMEDY = (
    'give it an http://, https:// or socks5:// address (the latter needs pip install "httpx[socks]"), put the host '
    "into NO_PROXY, or give the backend clients of your own (http_client=, async_http_client=)"
)
CERTIFICATE_REMEDY = (
    "name the authorities to trust, such as your company's, with SSL_CERT_FILE (a file) or SSL_CERT_DIR (a folder); "
    "REQUESTS_CA_BUNDLE and CURL_CA_BUNDLE are not read"
)
_NOT_ABOUT_AUTHORITIES = (9, 10, 62, 64)
"""OpenSSL's codes for a certificate that is not valid yet or any more, or for another name or address."""

_HOST = re.compile(r"[A-Za-z0-9._-]+")
_HASHED = re.compile(r"[0-9a-f]{8}\.[0-9]+")
"""Names by which OpenSSL finds certificates in a folder (`openssl rehash`)."""


def client_options(url: str, *, proxies: bool = True) -> dict[str, Any]:
    """Arguments for an httpx client that asks `url`: certificates, and the proxy that the environment names for it.

    Raises `ConfigurationError`, which names the variable, for what cannot be honoured.
    """
    return {"verify": tls_context(), "proxy": proxy_for(url) if proxies else None, "trust_env": False}


# Proxies


def proxy_for(url: str) -> httpx.Proxy | None:
    """The proxy that the environment names for `url`. Raises `ConfigurationError`, never showing its address."""
    from urllib.request import getproxies  # slow to import

    named = getproxies()  # on Windows and macOS the system's settings too
    parts = urlsplit(url)
    kind = next((kind for kind in (parts.scheme.lower(), "all") if named.get(kind)), None)
    if kind is None or _is_exempt(named.get("no", ""), parts.scheme.lower(), _host(url), _port(parts)):
        return None
    return _make_proxy(named[kind].strip(), _variable(kind))


def _make_proxy(address: str, variable: str) -> httpx.Proxy:
    import httpx

    address = address if "://" in address else f"http://{address}"
    scheme = address.partition("://")[0].lower()
    try:
        # A proxy that is itself spoken to over TLS is checked by the same authorities as everybody else.
        proxy = httpx.Proxy(address, ssl_context=tls_context() if scheme == "https" else None)
    except ConfigurationError:  # of the certificates
        raise
    except (ValueError, TypeError, httpx.InvalidURL):
        proxy = None
    if proxy is None or not _is_reachable(proxy.url):
        shown = f"a proxy of the kind {scheme}" if scheme.isalnum() and len(scheme) < 12 else "no proxy"
        raise ConfigurationError(f"{variable} names {shown}, or an address, that cannot be used: {PROXY_REMEDY}")
    if proxy.url.scheme.startswith("socks") and importlib.util.find_spec("socksio") is None:
        raise ConfigurationError(
            f'{variable} names a SOCKS proxy, for which a package is missing: pip install "httpx[socks]"; '
            f"or {PROXY_REMEDY}"
        )
    return proxy


def _is_reachable(url: httpx.URL) -> bool:
    """Whether host and port can be connected to; httpx takes what a resolver or socket refuses later."""
    host = url.raw_host.decode("ascii")
    known = _HOST.fullmatch(host) is not None or (":" in host and _is_address(host))
    return known and (url.port is None or 0 < url.port < 65536)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def _variable(kind: str) -> str:
    """The variable that names the proxy of `kind`; its lower-case form comes first, as everywhere."""
    found = sorted((name for name in os.environ if name.lower() == f"{kind}_proxy"), reverse=True)
    return next((name for name in found if os.environ[name]), "the proxy setting of this system")


def _host(url: str) -> str:
    import httpx

    try:
        return httpx.URL(url).raw_host.decode("ascii").strip("[]").rstrip(".").lower()
    except httpx.InvalidURL:  # whoever sends it will say so
        return ""


def _port(parts: Any) -> int | None:
    try:
        return parts.port or {"http": 80, "https": 443}.get(parts.scheme.lower())
    except ValueError:
        return None


def _is_exempt(no_proxy: str, scheme: str, host: str, port: int | None) -> bool:
    """Whether a member of `NO_PROXY` covers the host: a name and what is below it, an address, a network, or `*`."""
    for member in re.split(r"[,\s]+", no_proxy.lower()):
        kind, separator, rest = member.rpartition("://")
        if not rest or (separator and kind not in ("all", scheme)):
            continue
        pattern, wanted_port = _split_port(rest)
        if (wanted_port is None or wanted_port == port) and _covers(pattern, host):
            return True
    return False


def _split_port(member: str) -> tuple[str, int | None]:
    bracketed = re.fullmatch(r"\[(.*)\](?::(\d+))?", member)
    plain = re.fullmatch(r"([^:]*):(\d+)", member)  # more colons make an IPv6 address
    found = bracketed or plain
    return (found[1], int(found[2]) if found[2] else None) if found else (member, None)


def _covers(pattern: str, host: str) -> bool:
    if "/" in pattern:
        return _in_network(pattern, host)
    try:
        return ipaddress.ip_address(pattern) == ipaddress.ip_address(host)
    except ValueError:  # one of them is a name
        name = pattern.removeprefix("*.").strip(".") if pattern != "*" else "*"
        return bool(name) and (fnmatchcase(host, name) or fnmatchcase(host, f"*.{name}"))


def _in_network(pattern: str, host: str) -> bool:
    address, _, length = pattern.partition("/")
    try:
        network = ipaddress.ip_network(f"{address.strip('[]')}/{length}", strict=False)
    except ValueError:
        raise ConfigurationError(
            f"NO_PROXY has the member {pattern[:60]!r}, which is no network; write 10.0.0.0/8 or fd00::/8"
        ) from None
    try:
        return ipaddress.ip_address(host) in network
    except ValueError:  # a name; where it leads is not looked up for this
        return False


# Certificates


def tls_context() -> ssl.SSLContext:
    """How connections are secured: one context per process, since reading certificates takes longer than a request.

    Raises `ConfigurationError` if `SSL_CERT_FILE` or `SSL_CERT_DIR` names something that cannot be used.
    """
    return _tls_context(os.environ.get("SSL_CERT_FILE") or None, os.environ.get("SSL_CERT_DIR") or None)


@lru_cache(maxsize=4)
def _tls_context(file: str | None, folders: str | None) -> ssl.SSLContext:
    import httpx

    if file is None and folders is None:
        return httpx.create_ssl_context(trust_env=False)
    if file is None and folders is not None:
        _check_folders(folders)
    try:
        return ssl.create_default_context(cafile=file, capath=folders)
    except (OSError, ValueError) as error:  # an SSL error is an OSError
        reason = "does not exist" if isinstance(error, FileNotFoundError) else f"cannot be used ({_text(error)})"
        raise ConfigurationError(f"SSL_CERT_FILE={file}: this file of certificates {reason}; {_CORRECT}") from error


_CORRECT = "correct the variable, or remove it to trust the usual authorities"


def _check_folders(folders: str) -> None:
    """OpenSSL takes any folder, and then trusts nobody."""
    found = [Path(folder) for folder in folders.split(os.pathsep) if Path(folder).is_dir()]
    if not found:
        raise ConfigurationError(f"SSL_CERT_DIR={folders}: there is no such folder; {_CORRECT}")
    if not any(_HASHED.fullmatch(entry.name) for folder in found for entry in folder.iterdir()):
        raise ConfigurationError(
            f"SSL_CERT_DIR={folders}: no certificate under the name that OpenSSL looks for; run openssl rehash on it, "
            "or use SSL_CERT_FILE"
        )


def certificate_failure(error: BaseException | None) -> str | None:
    """What is wrong with a certificate and what helps, if that is why a connection failed; else None."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, ssl.SSLCertVerificationError):
            reason = f"the certificate is not accepted: {error.verify_message or _text(error)}"
            return reason if error.verify_code in _NOT_ABOUT_AUTHORITIES else f"{reason}; {CERTIFICATE_REMEDY}"
        error = error.__cause__ or error.__context__
    return None


# Time

_current = threading.local()


@contextmanager
def reading_until(deadline: float | None) -> Iterator[None]:
    """Let no read in this thread go on beyond `deadline` (of `time.monotonic`), from what `bound_reads` saw."""
    before = getattr(_current, "deadline", None)
    _current.deadline = deadline
    try:
        yield
    finally:
        _current.deadline = before


def bound_reads(stream: Any) -> None:
    """Have an httpcore connection look at the time before every read, for whichever request it serves.

    The headers of a response are one phase to httpx, whose timeout holds for each of its reads: a server that sends a
    byte now and then would never be too late.
    """
    read = stream.read

    def read_in_time(max_bytes: int, timeout: float | None = None) -> bytes:
        deadline = getattr(_current, "deadline", None)
        if deadline is not None:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError("deadline")
            timeout = left if timeout is None else min(timeout, left)
        received: bytes = read(max_bytes, timeout)
        return received

    stream.read = read_in_time


def _text(error: BaseException) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__
