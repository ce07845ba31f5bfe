"""File names as stores and tables can keep them: as valid Unicode, and back."""

from __future__ import annotations

import os
from urllib.parse import quote_from_bytes, unquote_to_bytes

MARK = "bytes:"
"""How a name begins that is kept by its bytes, percent-encoded as in a URL."""


def encode_name(name: str) -> str:
    """`name`, or `bytes:` and its bytes where they are no UTF-8 (`bytes:caf%E9.png`). `decode_name` undoes it."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return MARK + quote_from_bytes(os.fsencode(name))
    # A name that happens to begin with the mark would be taken for one of the others.
    return MARK + quote_from_bytes(os.fsencode(name)) if name.startswith(MARK) else name


def decode_name(kept: str) -> str:
    """The name that `encode_name` was given."""
    return os.fsdecode(unquote_to_bytes(kept[len(MARK) :])) if kept.startswith(MARK) else kept
