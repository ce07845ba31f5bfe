"""What is told of a file: its facts in the words of the structured results."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from itertools import islice
from typing import Any

from ..collections.duplicates import DuplicateGroup
from ..collections.hits import Hit
from .names import thumbnail_uri, wire_name
from .schema import Count, Duplicates, ImageHit


def describe_hit(hit: Hit, rank: int) -> ImageHit:
    """A hit without its image."""
    return ImageHit(rank=rank, score=round(hit.score, 4), **_facts(hit))


def describe_group(group: DuplicateGroup, *, max_others: int) -> Duplicates:
    """A group of duplicates without its image."""
    others = [wire_name(other.name) for other in group.others[:max_others]]
    return Duplicates(reason=group.reason, others=others, others_total=len(group.others), **_facts(group.keep))


def count_list(counts: Mapping[str, int], maximum: int) -> list[Count]:
    """The first of some values with their counts."""
    return [Count(value=wire_name(value), files=files) for value, files in islice(counts.items(), maximum)]


def time_text(seconds: float | None) -> str | None:
    """A time in seconds since 1970 as ISO 8601 in UTC, to the second; None for one that no calendar has."""
    if seconds is None:
        return None
    try:
        return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return None


def _facts(hit: Hit) -> dict[str, Any]:
    latitude, longitude = hit.place or (None, None)
    return {
        "name": wire_name(hit.name),
        "uri": thumbnail_uri(hit.name),
        "width": hit.width,
        "height": hit.height,
        "format": hit.format,
        "bytes": hit.size,
        "taken": time_text(hit.taken),
        "camera": None if hit.camera is None else wire_name(hit.camera),
        "latitude": latitude,
        "longitude": longitude,
    }
