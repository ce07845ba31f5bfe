"""Names of files as an agent gets them and gives them back: data that acts on nobody who reads it.

A name of printable characters without angle brackets is itself. Any other (control characters, marks that turn the
direction of writing, bytes that are no UTF-8, what looks like a tag of a prompt or of HTML) is `bytes:` and its bytes
percent-encoded, as a store keeps names that are no Unicode. `decode_name` undoes both.
"""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote, quote_from_bytes, unquote

from ..collections.names import MARK, decode_name, encode_name
from ..printable import printable_name

SCHEME = "jina-clip://"
THUMBNAIL, FULL = f"{SCHEME}thumbnail/", f"{SCHEME}full/"
"""Beginnings of the resources' URIs; the name follows."""

SHOWN_CHARACTERS = 120
"""Most characters of a name, or of anything else that a caller wrote, in a message."""


def wire_name(name: str) -> str:
    """`name` in the form in which an agent gets it."""
    kept = encode_name(name)
    if kept == name and (printable_name(name) != name or "<" in name or ">" in name):
        return MARK + quote_from_bytes(os.fsencode(name))
    return kept


def thumbnail_uri(name: str) -> str:
    """URI of the small image of a file."""
    return THUMBNAIL + quote(wire_name(name), safe="/")


def full_uri(name: str) -> str:
    """URI of an image file as it is."""
    return FULL + quote(wire_name(name), safe="/")


def read_name(given: str) -> str:
    """The file's name in what an agent passes: a name as it got it, or one of the two URIs."""
    for start in (THUMBNAIL, FULL):
        if given.startswith(start):
            return decode_name(unquote(given[len(start) :]))
    return decode_name(given)


def show(text: str) -> str:
    """What a caller wrote, for a message: in quotes, on one line, and not too long."""
    shown = printable_name(text if len(text) <= SHOWN_CHARACTERS else f"{text[: SHOWN_CHARACTERS - 1]}…")
    return f"'{shown}'"


def hide_folder(message: str, folder: Path) -> str:
    """`message` with names instead of absolute paths: where the folder lies is none of an agent's business."""
    return message.replace(f"{folder}{os.sep}", "").replace(str(folder), "the folder")
