"""Limits of the MCP server. An agent may be misled by what it reads, so each has a value that is safe by itself."""

from __future__ import annotations

from dataclasses import dataclass

from ..settings import require_integer

KIB = 1024
MIB = 1024 * KIB

MAX_TOP = 50
"""Most hits of one call."""
MAX_IMAGES = 8
"""Most image blocks of one result."""
MIN_PIXELS, DEFAULT_PIXELS, MAX_PIXELS = 64, 384, 1024
"""Longest side of an image block, in pixels. At 384 an image costs a chat model some 200 tokens."""
MAX_TERMS = 16
"""Most words or names in one list of an argument."""
MAX_EMBEDDED = 16
"""Most items of one call of `embed`."""


@dataclass(frozen=True, kw_only=True)
class McpSettings:
    """What the server offers and how much of it."""

    allow_embed: bool = False
    """Whether there is a tool that hands out vectors."""
    max_calls_per_minute: int = 120
    """Calls and reads of all clients together."""
    max_running: int = 4
    """Calls that are worked on at a time; further ones wait."""
    max_waiting: int = 16
    """Calls that may wait; further ones are refused."""
    max_text_characters: int = 2_000
    """Longest text of an argument."""
    max_data_uri_characters: int = 3 * MIB
    """Longest image that an argument carries, as a data URI; a request over HTTP has 4 MiB in all."""
    max_result_bytes: int = 600 * KIB
    """Images of one result together, in bytes before base64. Hosts commonly refuse results above 1 MB."""
    max_resource_bytes: int = 5 * MIB
    """Largest image file that is handed out as it is, in bytes."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if name != "allow_embed":
                require_integer(name, value, minimum=0 if name == "max_waiting" else 1)
