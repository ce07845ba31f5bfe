"""Opening what a string or bytes mean: local files, `file://` URLs, data URIs, base64."""

from __future__ import annotations

import base64
import binascii
import io
import os
import re
import sys
from typing import BinaryIO
from urllib.parse import unquote_to_bytes, urlsplit

from ..errors import ImageError
from .formats import BASE64_STARTS
from .sources import MAX_PATH, MIN_BASE64, SourcePolicy, show_path, show_url

_WINDOWS_PATH = re.compile(r"[/\\]?[A-Za-z]:[/\\]|\\\\")
_BASE64 = re.compile(rb"\s*[A-Za-z0-9+/_\-\s]+=*\s*")
_BASE64_STARTS = tuple(start.encode() for start in BASE64_STARTS)
_NAME = re.compile(rb"\s*(?:[A-Za-z][A-Za-z0-9+.\-]*://)?[^\0-\x1f<>|]*[^\0-\x1f<>|/\\.]\.[A-Za-z0-9]{2,5}\s*")


def open_local(path: str, sources: SourcePolicy) -> BinaryIO:
    """The file at `path`, or at what it is without the blanks, line end or quotes that were copied along with it.

    Raises `ImageError` or `OSError`.
    """
    try:
        return sources.open_path(path)
    except FileNotFoundError as error:
        bare = path.strip().strip("\"'").strip()
        if bare and bare != path:
            return open_local(bare, sources)
        if os.name != "nt" and _WINDOWS_PATH.match(path):
            raise ImageError(
                f"{show_path(path)}: no such file; this is a path of Windows, and the system here is {sys.platform} "
                "(under WSL, C:\\ is /mnt/c/)"
            ) from error
        raise


def path_of_file_url(url: str) -> str:
    """The path that a `file://` URL names. Raises `ImageError` for one of another host."""
    from urllib.request import url2pathname  # slow to import, and seldom needed

    parts = urlsplit(url)
    if parts.netloc not in ("", "localhost"):
        raise ImageError(f"{show_url(url)}: a file:// URL with another host cannot be read")
    return url2pathname(parts.path)


def open_data_uri(uri: str) -> BinaryIO:
    """The bytes that a data URI carries. Raises `ImageError`, which never shows them."""
    # Lenient: line breaks, the URL-safe alphabet, percent-encoding and missing padding all occur.
    header, comma, payload = uri.partition(",")
    if not comma:
        raise ImageError("a data URI without a comma; it should read data:image/png;base64,…")
    if not header.rstrip().lower().endswith(";base64"):
        return io.BytesIO(unquote_to_bytes(payload))
    compact = "".join(payload.split()).replace("-", "+").replace("_", "/").replace("%2B", "+").replace("%2F", "/")
    compact = compact.replace("%3D", "=").rstrip("=")
    try:
        return io.BytesIO(base64.b64decode(compact + "=" * (-len(compact) % 4), validate=True))
    except (binascii.Error, ValueError) as error:
        raise ImageError("a data URI or image block whose base64 is broken") from error


def is_base64(data: bytes) -> bool:
    """Whether bytes are an image in base64, which no encoded image can be mistaken for."""
    start = data[:64].lstrip()
    return len(data) > MIN_BASE64 and start.startswith(_BASE64_STARTS) and _BASE64.fullmatch(data) is not None


def is_name(data: bytes) -> bool:
    """Whether bytes read like a path or URL of an image instead of being one."""
    return len(data) <= MAX_PATH and _NAME.fullmatch(data) is not None
