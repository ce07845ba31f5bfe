"""What a search finds: a file, or a passage of one, with what is known of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..types import Modality
from .names import decode_name
from .payload import (
    CAMERA,
    FORMAT,
    HEIGHT,
    MODALITY,
    MTIME_NS,
    NAME,
    PASSAGE,
    PASSAGES,
    PLACE,
    ROOT,
    SIZE,
    TAKEN,
    TEXT,
    WIDTH,
)


@dataclass(frozen=True)
class Hit:
    """One result of a search."""

    score: float
    """Cosine, from -1 to 1."""
    path: str
    name: str
    """Relative to the folder, with forward slashes."""
    modality: Modality
    text: str | None
    passage: int
    passages: int
    size: int = 0
    """Bytes of the file."""
    modified: float = 0.0
    """When the file was last changed, in seconds since 1970."""
    taken: float | None = None
    """When the image was taken, in seconds since 1970."""
    camera: str | None = None
    place: tuple[float, float] | None = None
    """Latitude and longitude in degrees."""
    width: int | None = None
    height: int | None = None
    format: str | None = None
    """Pillow's name of the format in small letters."""


def make_hit(score: float, payload: Mapping[str, Any]) -> Hit:
    """The hit of a point with this payload."""
    root, name = decode_name(payload[ROOT]), decode_name(payload[NAME])
    place = payload.get(PLACE)
    return Hit(
        score=float(score),
        path=str(Path(root) / name),
        name=name,
        modality=payload[MODALITY],
        text=payload[TEXT],
        passage=payload[PASSAGE],
        passages=payload[PASSAGES],
        size=payload[SIZE],
        modified=payload[MTIME_NS] / 1e9,
        taken=payload.get(TAKEN),
        camera=payload.get(CAMERA),
        place=(place["lat"], place["lon"]) if place else None,
        width=payload.get(WIDTH),
        height=payload.get(HEIGHT),
        format=payload.get(FORMAT),
    )
