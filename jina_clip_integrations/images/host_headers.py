"""Headers that belong to one image host each, such as its credentials, and are sent to no other."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from ..credentials import is_sensitive
from ..errors import ConfigurationError, ImageError

Origin: TypeAlias = tuple[str, str, int]
"""Scheme, host and port: what a header is tied to."""

_PORTS = {"http": 80, "https": 443}
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_NOT_PICKLED = None
"""Stands for a value that did not leave the process where it was given."""


class HostHeaders(Mapping[str, Mapping[str, str]]):
    """Headers by host. Immutable and hashable; its `repr` shows no value, and a pickle of it holds no credential.

        HostHeaders({"images.example.org": {"Authorization": "Bearer …"}})

    A host stands for `https://host`; another scheme or port has to be said: `"http://nas.lan:8080"`.
    """

    def __init__(self, given: Mapping[str, Mapping[str, Any]]) -> None:
        """Raises `ConfigurationError` for a host or header that cannot be sent, without showing its value."""
        self._by_origin: dict[Origin, dict[str, Any]] = {}
        self._given = {host: dict(headers) for host, headers in _checked(given).items()}
        for host, headers in self._given.items():
            self._by_origin.setdefault(_origin_of_key(host), {}).update(headers)

    def for_url(self, url: str) -> dict[str, str]:
        """The headers for the host of `url`. Raises `ImageError` if one was lost on the way to this process."""
        origin = _origin(url)
        headers = self._by_origin.get(origin, {}) if origin is not None else {}
        lost = [name for name, value in headers.items() if value is _NOT_PICKLED]
        if lost:
            raise ImageError(
                f"{urlsplit(url).hostname}: {', '.join(lost)} is not pickled; make the policy anew in this process"
            )
        return dict(headers)

    def __getitem__(self, host: str) -> Mapping[str, str]:
        return dict(self._given[host])

    def __iter__(self) -> Iterator[str]:
        return iter(self._given)

    def __len__(self) -> int:
        return len(self._given)

    def __hash__(self) -> int:
        return hash(frozenset((origin, frozenset(headers)) for origin, headers in self._by_origin.items()))

    def __repr__(self) -> str:
        return f"HostHeaders({', '.join(self._given)})"

    def __deepcopy__(self, memo: Any) -> HostHeaders:
        return self  # a pickle, which is how copies are made otherwise, would lose the credentials

    def __copy__(self) -> HostHeaders:
        return self

    def __reduce__(self) -> Any:
        public = {
            host: {name: _NOT_PICKLED if is_sensitive(name) else value for name, value in headers.items()}
            for host, headers in self._given.items()
        }
        return HostHeaders, (public,)


def check_header(name: str, value: Any) -> None:
    """Raise `ConfigurationError`, without the value, for a header that cannot be sent."""
    if not isinstance(name, str) or _TOKEN.fullmatch(name) is None:
        raise ConfigurationError(f"a header cannot be called {name!r}"[:120])
    if not isinstance(value, str) or not value.isascii() or not value.isprintable():
        raise ConfigurationError(f"the value of {name} must be a str of printable ASCII characters, in one line")
    if name.lower() == "host":
        raise ConfigurationError("the header Host follows from the URL and cannot be set")


def _checked(given: Any) -> Mapping[str, Mapping[str, Any]]:
    if not isinstance(given, Mapping) or not all(isinstance(headers, Mapping) for headers in given.values()):
        raise ConfigurationError('headers are given by host: {"images.example.org": {"Authorization": "…"}}')
    for headers in given.values():
        for name, value in headers.items():
            if value is not _NOT_PICKLED:
                check_header(name, value)
    return given


def _origin_of_key(host: Any) -> Origin:
    url = f"{host}" if "://" in f"{host}" else f"https://{host}"
    origin = _origin(url) if isinstance(host, str) else None
    if origin is None or urlsplit(url).path not in ("", "/"):
        raise ConfigurationError(
            "headers are given by host, such as 'images.example.org', 'images.example.org:8443' or 'http://nas.lan'"
        )
    return origin


def _origin(url: str) -> Origin | None:
    """Scheme, host as it travels (punycode), and port; None for what has none."""
    import httpx

    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, ValueError, TypeError):
        return None
    if parsed.scheme not in _PORTS or not parsed.host:
        return None
    host = parsed.raw_host.decode("ascii").lower().rstrip(".")
    with suppress(ValueError):  # an IPv6 address has many spellings
        host = str(ipaddress.ip_address(host.strip("[]")))
    return parsed.scheme, host, parsed.port or _PORTS[parsed.scheme]
