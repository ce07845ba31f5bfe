"""Keys: where they come from, what keeps them out of sight, and where they may be sent."""

from __future__ import annotations

import ipaddress
import os
import re
import unicodedata
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from .errors import ConfigurationError

KEY_VARIABLES = ("JINA_API_KEY", "JINAAI_API_KEY", "JINA_AUTH_TOKEN")
"""Environment variables that may hold the key, in the order in which they are read."""

SENSITIVE = ("auth", "cookie", "key", "secret", "token", "password", "credential")
"""Parts of header names whose values are treated like keys."""


class Key:
    """A key, or a callable that returns a fresh one. Its `repr` hides it, and it cannot be pickled."""

    def __init__(self, given: Any, *, source: str) -> None:
        """`given` is a string, an object with `get_secret_value()` or a callable; `source` names it in messages."""
        self._given = given
        self._source = source
        self._last: str | None = None
        if not callable(given):
            self._last = clean_key(given, source=source)

    def __bool__(self) -> bool:
        return callable(self._given) or self._last is not None

    def __repr__(self) -> str:
        return f"Key(from {self._source})" if self else "Key(none)"

    def __reduce__(self) -> Any:
        # An error and not an empty key, so that nothing which holds a key is pickled by oversight.
        raise TypeError("a key is not pickled; the environment of the other process has to hold it")

    @property
    def is_renewed(self) -> bool:
        """Whether every request has to ask for it, because a callable returns fresh ones."""
        return callable(self._given)

    def reveal(self) -> str | None:
        """The key itself, fresh from the callable if there is one. Raises `ConfigurationError` for an unusable one."""
        if callable(self._given):
            try:
                given = self._given()
            except Exception as error:  # it may be anything, and callers catch our errors only
                raise ConfigurationError(f"{self._source}: the callable raised {type(error).__name__}") from error
            self._last = clean_key(given, source=self._source)
            if self._last is None:
                raise ConfigurationError(f"{self._source} returned no key")
        return self._last

    @property
    def known(self) -> tuple[str, ...]:
        """The key as far as it was revealed, for those who hide it in messages."""
        return () if self._last is None else (self._last,)


def find_key(given: Any, *, environment: bool, environ: Mapping[str, str] | None = None) -> Key:
    """The key that was given, else (if `environment`) the first usable one of `KEY_VARIABLES`, else an empty one."""
    key = Key(given, source="api_key")
    if key or not environment:
        return key
    variables = os.environ if environ is None else environ
    # Lazily, so that an unusable later variable does no harm; an empty or blank one counts as not set.
    found = (Key(variables.get(name), source=name) for name in KEY_VARIABLES)
    return next((candidate for candidate in found if candidate), key)


def clean_key(given: Any, *, source: str) -> str | None:
    """The bare key, without what copying puts around it. None for nothing, blanks or only asterisks.

    What is certain is repaired: whitespace and quotes around it, invisible characters, `Bearer `, `Authorization:` and
    the assignment of one of `KEY_VARIABLES` in front. Raises `ConfigurationError`, without the value, for what cannot
    be a key.
    """
    value = given.get_secret_value() if hasattr(given, "get_secret_value") else given
    if value is None:
        return None
    if not isinstance(value, str):
        raise ConfigurationError(f"{source} must be a string, a secret or a callable, not {type(value).__name__}")
    key = _bare(value)
    if not key.strip("*"):  # what a masked dump leaves in place of a secret
        return None
    flaw = next((what for pattern, what in _FLAWS if pattern.search(key)), None)
    if flaw is not None:
        raise ConfigurationError(f"{source} {flaw}; copy it again")
    return key


def unquote(text: str) -> str:
    """The text without invisible characters, and without whitespace and one pair of quotes around it."""
    # Zero-width and directional characters, which web pages and chats put between what is copied.
    text = "".join(character for character in text if unicodedata.category(character) != "Cf").strip()
    quoted = len(text) > 1 and _QUOTES.get(text[0]) == text[-1]
    # Not a list of things that are quoted each.
    return text[1:-1].strip() if quoted and not {text[0], text[-1]} & set(text[1:-1]) else text


def _bare(text: str) -> str:
    """The text without quotes, `Bearer ` and the like, in whatever order they stand around each other."""
    while (shorter := _PREFIX.sub("", unquote(text), count=1)) != text:
        text = shorter
    return text


_QUOTES = {'"': '"', "'": "'", "`": "`", "\u201c": "\u201d", "\u2018": "\u2019", "\u201e": "\u201c", "\u00ab": "\u00bb"}
"""Opening to closing quotes, a word processor's among them."""

_PREFIX = re.compile(
    rf"\A(?:authorization\s*:|bearer(?:\s+|$)|(?:export\s+)?(?:{'|'.join(KEY_VARIABLES)})\s*=)\s*", re.IGNORECASE
)
"""Copied from a header, whose scheme is put in front again when the key is sent, or from a file of settings."""

# The HTTP client would refuse most of these too, with a message that quotes the header.
_FLAWS = (
    (re.compile(r"^\$\w+$|^\$\{\w+\}$|^%\w+%$|^<.*>$"), "holds a placeholder and no key"),
    (re.compile(r"\*{3}|\.{3}|[\u2022\u2026]"), "holds a key of which a part is masked"),
    (re.compile(r"^[\"'`]|[\"'`]$"), "has a quotation mark at one end only"),
    (
        re.compile(r"[^!-~]"),
        "holds a character that no key has (a control character, a space or a letter outside ASCII)",
    ),
)
"""What cannot be a key, and what is said of it, never more: the value may be a key all the same."""


def is_sensitive(header: str) -> bool:
    """Whether a header's name suggests a credential."""
    return any(part in header.lower() for part in SENSITIVE)


def drop_sensitive(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers that may leave this process, in a pickle or a dump."""
    return {name: value for name, value in headers.items() if not is_sensitive(name)}


def public_url(url: str) -> str:
    """The address without user name, password, query and fragment, any of which may be a credential."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  # raises for what is no number
    except ValueError:  # it may be shown in an error about itself
        return "a malformed URL"
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def url_host(host: str) -> str:
    """`host` as it stands in a URL, where an IPv6 address needs brackets."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def is_loopback(host: str) -> bool:
    """Whether `host` is this machine, so that nobody in between reads what is sent."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name: where it leads is not resolved here
        return False
