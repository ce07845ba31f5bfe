"""Where images may come from: one policy that decides, and reads files."""

from __future__ import annotations

import math
import os
import re
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PureWindowsPath
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from ..credentials import public_url
from ..errors import ConfigurationError, ImageError
from ..settings import option_names, reject_unknown, require_integer
from .addresses import is_public_host
from .formats import BASE64_STARTS
from .host_headers import HostHeaders, check_header

MAX_BYTES = 256 * 2**20
"""Largest encoded image that trusted code may load, in bytes."""
MAX_PIXELS = 178_956_970
"""Largest image that is decoded, in pixels: where Pillow's own protection refuses by default."""
AGENT_MAX_BYTES = 20 * 2**20
"""Largest encoded image under the agent policy, in bytes."""
AGENT_MAX_PIXELS = 50_000_000
"""Largest image under the agent policy, in pixels."""
MAX_PATH, MAX_NAME = 4096, 255
"""Longest path, and longest name in one, that an operating system takes (PATH_MAX and NAME_MAX of Linux)."""

MAX_URL = 16_384
"""Longest URL that is fetched, in characters: twice of what servers commonly take."""

MIN_BASE64 = 100
"""Characters from which a string that looks like base64 of an image is taken for one, and not for a strange name."""

_BASE64 = re.compile(r"[A-Za-z0-9+/_\-\s]+=*\s*")
_SEPARATORS = re.compile(r"[/\\]")
_OPEN_FLAGS = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)  # a pipe is not waited for
_NO_LINKS = getattr(os, "O_NOFOLLOW", 0)  # links were followed and checked; one that appears since is not

_WINDOWS = os.name == "nt"
_SHARE = re.compile(r"[/\\]{2}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

FETCH_TIMEOUT_S = 30.0
"""Longest attempt to fetch one image, redirects included, in seconds."""
FETCH_RETRIES = 2
"""Attempts to fetch an image after the first."""


@dataclass(frozen=True, kw_only=True)
class SourcePolicy:
    """Where images may come from and how large they may be.

    Three are usual. `SourcePolicy()`, the default of the encoder and the adapters: any local path, and public addresses
    over http and https. `SourcePolicy.trusted()`: private addresses too, for URLs that only your own code writes.
    `SourcePolicy.agent()`: for strings that a model or a stranger writes.

        JinaClipEncoder(sources=SourcePolicy.trusted(max_pixels=400_000_000))
        JinaClipEncoder(sources=SourcePolicy.agent(roots="uploads"))

    Paths, URLs and data URIs are what an outsider can write into a string; bytes and open objects come from code and
    are only held to `max_pixels`, and what has yet to be read of them to `max_bytes`.
    """

    paths: bool = True
    """Whether a string or path may name a file (and `file://` URLs too)."""
    roots: tuple[Path, ...] | None = None
    """Folders that files must lie in once symbolic links are followed; None = anywhere."""
    hard_links: bool = True
    """Whether a file in one of `roots` may have further names (hard links), which may lie outside."""
    schemes: tuple[str, ...] = ("https", "http")
    """URL schemes that may be fetched; empty = no URL at all."""
    data_uris: bool = True
    """Whether a string may carry the image itself."""
    public_only: bool = True
    """Fetch from public addresses only; every address of the host is checked, at every redirect, and then used. On
    Windows also: read no network shares."""
    direct_only: bool = False
    """Leave no fetch to anybody else, who would resolve the host's name once more: neither to a proxy that the
    environment names nor to a service that takes URLs. No user name or password in a URL."""
    max_bytes: int = MAX_BYTES
    """Largest encoded image, in bytes."""
    max_pixels: int = MAX_PIXELS
    """Largest decoded image, in pixels."""
    max_redirects: int = 3
    """Redirects followed for one image."""
    timeout: float = FETCH_TIMEOUT_S
    """Longest attempt to fetch one image, in seconds, and longest wait between two attempts."""
    max_retries: int = FETCH_RETRIES
    """Attempts after the first, if the host is overloaded or the connection fails; waits as the host asks for."""
    user_agent: str | None = None
    """How requests introduce themselves; None = this package with its address. Some hosts want a contact of yours."""
    headers: Mapping[str, Mapping[str, str]] | None = field(default=None, repr=False)
    """Headers for private image hosts, by host: `{"images.example.org": {"Authorization": "Bearer …"}}`. No other host
    gets them, not by a redirect either. A host means https; `http://nas.lan:8080` another scheme or port. Credentials
    are not pickled."""

    def __post_init__(self) -> None:
        if not set(self.schemes) <= {"http", "https"}:  # the letters of a bare string are not, either
            raise ConfigurationError(f"schemes is a tuple that may hold 'http' and 'https', not {self.schemes!r}")
        for name in ("max_bytes", "max_pixels", "timeout"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
                raise ConfigurationError(f"{name} of a SourcePolicy must be a positive number, not {value!r}")
        for name in ("paths", "hard_links", "data_uris", "public_only", "direct_only"):
            # A string such as "false" would count as true, and open what was meant to be shut.
            if not isinstance(getattr(self, name), bool):
                raise ConfigurationError(f"{name} of a SourcePolicy must be True or False")
        require_integer("max_redirects", self.max_redirects, minimum=0)
        require_integer("max_retries", self.max_retries, minimum=0)
        if self.user_agent is not None:
            check_header("User-Agent", self.user_agent)
        if self.roots is not None:  # as they are now: a folder that is changed to later does not move them
            object.__setattr__(self, "roots", _resolve(self.roots))
        if self.headers is not None:
            object.__setattr__(self, "headers", HostHeaders(self.headers))

    @classmethod
    def trusted(cls, **changes: Any) -> SourcePolicy:
        """For names that only your own code writes: any path, any http(s) address, private ones too.

        `changes` are fields of this class.
        """
        return _with_changes(cls(public_only=False), changes)

    @classmethod
    def agent(
        cls, roots: str | os.PathLike[str] | Iterable[str | os.PathLike[str]] = (), **changes: Any
    ) -> SourcePolicy:
        """For strings that a model or a stranger wrote: files inside `roots` only, public https addresses only.

        Without `roots` no file at all. `changes` are fields of this class.
        """
        folders = _resolve(roots)
        strict = cls(
            paths=bool(folders),
            roots=folders,
            hard_links=False,
            schemes=("https",),
            public_only=True,
            direct_only=True,
            max_bytes=AGENT_MAX_BYTES,
            max_pixels=AGENT_MAX_PIXELS,
        )
        return _with_changes(strict, changes)

    def check_url(self, url: str) -> None:
        """Raise `ImageError` for a URL that may not be fetched, as far as the URL alone tells."""
        if len(url) > MAX_URL:
            raise ImageError(f"{show_url(url)}: a URL of {len(url):,} characters; at most {MAX_URL:,} are sent")
        if _CONTROL.search(url):  # the parser drops some of them, and others would end a line of the request
            raise ImageError("a URL with a line break or another control character in it")
        parts = _split(url)
        if parts.scheme.lower() not in self.schemes:
            allowed = ", ".join(self.schemes) or "none"
            raise ImageError(f"{show_url(url)}: the source policy does not allow this URL (schemes allowed: {allowed})")
        if not parts.hostname:
            raise ImageError(f"{show_url(url)}: this URL has no host")
        if "\\" in parts.netloc:  # a browser ends the host there, and others do not
            raise ImageError(f"{show_url(url)}: a backslash in the host of a URL")
        if self.direct_only and (parts.username or parts.password):
            raise ImageError(f"{show_url(url)}: the source policy does not allow a user name or password in a URL")
        if self.public_only and not is_public_host(parts.hostname):
            raise self.not_public(url)

    def not_public(self, url: str) -> ImageError:
        """The refusal of a URL that leads to an address of somebody's own network."""
        # Not under the agent policy, where the URL is a stranger's: the way out would be a way in.
        hint = "" if self.direct_only else "; sources=SourcePolicy.trusted() allows others, for URLs of your own code"
        return ImageError(f"{show_url(url)}: the source policy allows public addresses only{hint}")

    def request_headers(self, url: str) -> dict[str, str]:
        """The headers of this policy for a request to `url`. Raises `ImageError` if one did not survive pickling."""
        own = self.headers.for_url(url) if isinstance(self.headers, HostHeaders) else {}
        return own if self.user_agent is None else {"User-Agent": self.user_agent, **own}

    def check_data_uri(self, uri: str) -> None:
        """Raise `ImageError` for a data URI that is not allowed or too long."""
        if not self.data_uris:
            raise ImageError("data URI: the source policy does not allow data URIs")
        if len(uri) * 3 // 4 > self.max_bytes + 1024:  # what base64 of that length decodes to, and a header
            raise ImageError(
                f"data URI: more than {self.max_bytes:,} bytes, the limit of the source policy (max_bytes)"
            )

    def open_path(self, path: str) -> BinaryIO:
        """Open the file at `path` if this policy allows it. Raises `ImageError` or `OSError`."""
        if not self.paths:
            raise ImageError(f"{show_path(path)}: the source policy does not allow files")
        target = self._inside_roots(path)
        flags = _OPEN_FLAGS if self.roots is None else _OPEN_FLAGS | _NO_LINKS
        stream = os.fdopen(os.open(target, flags), "rb")
        try:
            # The open file is examined, since the path may lead to another one by now.
            self._check_file(os.fstat(stream.fileno()), path)
        except BaseException:
            stream.close()
            raise
        return stream

    def _check_file(self, found: os.stat_result, path: str) -> None:
        if stat.S_ISDIR(found.st_mode):
            raise IsADirectoryError(path)
        if not stat.S_ISREG(found.st_mode):
            raise ImageError(f"{show_path(path)}: not a regular file")
        if found.st_nlink > 1 and self.roots is not None and not self.hard_links:
            raise ImageError(
                f"{show_path(path)}: this file has another name (a hard link), which may lie outside the folders that "
                "the source policy allows; copy the file"
            )
        if found.st_size > self.max_bytes:
            raise ImageError(
                f"{show_path(path)}: {found.st_size:,} bytes, more than the {self.max_bytes:,} that the source policy "
                "allows (max_bytes)"
            )

    def _inside_roots(self, path: str) -> Path:
        if self.public_only and _WINDOWS:
            self._check_share(path)
        target = Path(path).expanduser()
        if self.roots is None:
            return target
        resolved = target.resolve()
        if not any(resolved.is_relative_to(root) for root in self.roots):
            raise ImageError(f"{show_path(path)}: outside the folders that the source policy allows")
        return resolved

    def _check_share(self, path: str) -> None:
        """Refuse the path of a network share before anything asks its host, which would get the user's login to see."""
        drive = PureWindowsPath(path).drive.lower()
        inside = drive and drive in [PureWindowsPath(root).drive.lower() for root in self.roots or ()]
        if _SHARE.match(path) is None or inside:
            return
        hint = "" if self.direct_only else "; sources=SourcePolicy.trusted() allows it"
        raise ImageError(f"{show_path(path)}: the source policy allows no network shares{hint}")


def _resolve(roots: Any) -> tuple[Path, ...]:
    folders = (roots,) if isinstance(roots, (str, os.PathLike)) else tuple(roots)
    return tuple(Path(folder).expanduser().resolve() for folder in folders)


def _with_changes(policy: SourcePolicy, changes: dict[str, Any]) -> SourcePolicy:
    reject_unknown(changes, option_names(SourcePolicy), where="SourcePolicy")
    return replace(policy, **changes)


def _split(url: str) -> Any:
    try:
        return urlsplit(url)
    except ValueError as error:
        raise ImageError("a URL that cannot be parsed") from error


def show_url(url: str) -> str:
    """`url` for a message: without user name, password, query and fragment, and not too long."""
    return _shorten(public_url(url))


def show_path(path: str) -> str:
    """`path` for a message; a string that cannot be one may be a payload and is only counted."""
    return f"a string of {len(path):,} characters" if _cannot_be_a_path(path) else path


def check_path(path: str) -> None:
    """Raise `ImageError` for a string that cannot be a path, before anybody puts it into a message."""
    if not path:
        raise ImageError("an image cannot be an empty string")
    if _cannot_be_a_path(path):
        raise ImageError(
            f"{show_path(path)} is no path; base64 needs data:image/png;base64, in front, and a text is not an image"
        )


def _cannot_be_a_path(path: str) -> bool:
    encoded_image = len(path) > MIN_BASE64 and path.startswith(BASE64_STARTS) and _BASE64.fullmatch(path) is not None
    return encoded_image or len(path) > MAX_PATH or any(len(part) > MAX_NAME for part in _SEPARATORS.split(path))


def _shorten(text: str, limit: int = 200) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
