"""What the requests of one backend share: its transport, limits, settings and hooks; and the record of an attempt."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ...settings import RetryPolicy
from ...types import Modality
from .error_mapping import ErrorKind
from .limits import Limits
from .responses import Rows
from .transport import Transport


@dataclass(frozen=True, kw_only=True)
class CallRecord:
    """Figures of one attempt, for metrics; no payload and no key."""

    service: str
    modality: Modality
    items: int
    attempt: int
    status: int | None
    """HTTP status, None if there was no response."""
    error: str | None
    """Name of the error's class, None if there was a response."""
    seconds: float
    bytes_received: int
    total_tokens: int
    """Tokens that the service counted."""


@dataclass(frozen=True)
class Clock:
    """Time and chance, replaceable in tests. Seconds."""

    now: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    chance: Callable[[], float] = random.random


@dataclass(kw_only=True)
class Service:
    """What all requests to one service share."""

    name: str
    """Host or endpoint, for messages."""
    limits: Limits
    address: str = ""
    """What is asked, without what may be a credential in it, for messages; empty where it is not HTTP."""
    max_retries: int
    transport: Transport | None = None
    """What performs an exchange; None where a test supplies the responses."""
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    max_response_bytes: int = 2**26
    clock: Clock = field(default_factory=Clock)
    secrets: Callable[[], Sequence[str]] = tuple
    """What must not show in a message even if the service repeats it. A function, since tokens may be renewed."""
    on_request: Callable[[CallRecord], None] | None = None
    on_rows: Callable[[Rows], None] | None = None
    """Called with the rows of every good response."""
    hints: Mapping[ErrorKind, str] = field(default_factory=dict)
    """What an error's message suggests, where that differs from the usual."""
    floats_only: bool = False
    """Whether the service turned out to know no encoding, so that none is asked for any more."""
