"""Text of foreign origin, made fit for messages, logs and terminals; and what to say about an address."""

from __future__ import annotations

import re
from itertools import pairwise
from urllib.parse import urlsplit

ADDRESS_LENGTH = 200
"""Characters of an address that a message shows."""

_ESCAPES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # colours, the cursor, clearing
    r"|(?:\x1b\]|\x9d)[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"  # titles, links, the clipboard
    r"|(?:\x1b[PX^_]|[\x90\x98\x9e\x9f])[^\x1b\x9c]*(?:\x1b\\|\x9c)?"
    r"|\x1b[ -/]*[0-~]?"
)
"""Sequences that a terminal acts upon, with their parameters, which would stay behind as litter."""


def clean_text(text: str, length: int) -> str:
    """One line of at most `length` printable characters, ending in `…` if it was cut.

    Escape sequences, control, zero-width and directional characters and halves of surrogate pairs are left out: they
    act on a terminal, break lines of a log, or show other text than was sent.
    """
    text = _ESCAPES.sub("", text[: 16 * length])
    kept = "".join(character for character in text if character.isprintable() or character.isspace())
    line = " ".join(kept.split())
    return line if len(line) <= length else line[: length - 1] + "…"


def describe_address(url: str) -> str:
    """What to say of an address at which no service answered: the address as it is asked, and what may be wrong."""
    path = urlsplit(url).path
    parts = path.strip("/").split("/")
    twice = next((part for part, following in pairwise(parts) if part and part == following), None)
    if twice is not None:
        advice = f"/{clean_text(twice, 40)} stands in it twice; check base_url"
    elif path == "/embeddings":
        advice = "base_url has no path, and that of most servers ends in /v1; check base_url and dialect"
    else:
        advice = "check base_url and dialect"
    return f"the address asked was {clean_text(url, ADDRESS_LENGTH)}: {advice}"
