"""Text of foreign origin (file names, captions, answers of servers) in a form that can be printed, or written as JSON.

A file name may hold anything but a slash and a zero byte: line breaks, the control sequences of terminals, marks that
turn the direction of writing around, and on Linux bytes that are no UTF-8, which Python keeps as lone surrogates.
"""

from __future__ import annotations

import json
import re
from typing import Any

_UNPRINTABLE = (
    "\x00-\x1f\x7f-\x9f"  # control characters of ASCII and of Latin-1, which start the sequences of terminals
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # directions (UAX #9), by which a name shows as another one
    "\u200b\u2060-\u2064\ufeff\u00ad"  # nothing at all, by which two names look alike
    "\u2028\u2029"  # line and paragraph separators
    "\ud800-\udfff"  # bytes that are no UTF-8
)
_NAME = re.compile(f"[{_UNPRINTABLE}]")
_TEXT = re.compile(f"(?![\n\t])[{_UNPRINTABLE}]")


def printable_name(name: str) -> str:
    """`name` on one line, escaped as in Python: `\\n`, `\\x1b`, `\\u202e`, and `\\xff` for bytes that are no UTF-8."""
    return _NAME.sub(_escape, name)


def printable_text(text: str) -> str:
    """`text` likewise, with its line breaks and tabs as they are."""
    return _TEXT.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    char = found.group()
    if "\udc80" <= char <= "\udcff":  # PEP 383: the byte itself
        return f"\\x{ord(char) - 0xDC00:02x}"
    return char.encode("unicode_escape").decode("ascii")


def to_json(value: Any, *, indent: int | None = None) -> str:
    """JSON in which letters of any script stay as they are and everything unprintable is escaped.

    It can be encoded as UTF-8 and reads back as it was, lone surrogates included, so that a path opens its file.
    """
    # Such characters occur within strings only, where JSON's escapes mean the same.
    return _TEXT.sub(lambda found: f"\\u{ord(found.group()):04x}", json.dumps(value, ensure_ascii=False, indent=indent))
