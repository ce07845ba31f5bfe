"""What is in a collection, for panels and for agents."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .identity import CollectionModel
from .names import decode_name
from .payload import CAMERA, FORMAT, MODALITY, MODEL, MTIME_NS, NAME, PLACE, TAKEN, list_folders


@dataclass(frozen=True)
class Description:
    """What is in a collection."""

    images: int
    passages: int
    files: int
    model: str | None
    """None while the collection is empty."""
    dimensions: int | None
    since: float | None
    """The earliest time of a file, taken or last changed, in seconds since 1970."""
    until: float | None
    """The latest."""
    folders: Mapping[str, int] = field(default_factory=dict)
    """Folder to the number of files in it, at any depth; in the order of names."""
    cameras: Mapping[str, int] = field(default_factory=dict)
    """Camera to the number of its images, the most frequent first."""
    formats: Mapping[str, int] = field(default_factory=dict)
    """Format to the number of images, the most frequent first."""
    with_place: int = 0
    """Images that say where they were taken."""
    image_size: int | None = None
    """Side in pixels at which images were computed, where it is not the model's own."""


def describe_payloads(payloads: Iterable[Mapping[str, Any]], *, where: str) -> Description:
    """The description of points of the store `where` with these payloads."""
    model: CollectionModel | None = None
    modalities: Counter[str] = Counter()
    cameras: Counter[str] = Counter()
    formats: Counter[str] = Counter()
    times: list[float] = []
    names: set[str] = set()
    with_place = 0
    for payload in payloads:
        # Any point will do, and asking the store would wait for whoever is writing to it.
        model = model or CollectionModel.from_payload(payload[MODEL], where=where)
        modalities[payload[MODALITY]] += 1
        names.add(decode_name(payload[NAME]))
        times.append(payload[TAKEN] if payload.get(TAKEN) is not None else payload[MTIME_NS] / 1e9)
        cameras.update(filter(None, [payload.get(CAMERA)]))
        formats.update(filter(None, [payload.get(FORMAT)]))
        with_place += payload.get(PLACE) is not None
    return Description(
        images=modalities["image"],
        passages=modalities["text"],
        files=len(names),
        model=None if model is None else model.model,
        dimensions=None if model is None else model.fingerprint.dimensions,
        since=min(times, default=None),
        until=max(times, default=None),
        folders=_count_folders(names),
        cameras=dict(cameras.most_common()),
        formats=dict(formats.most_common()),
        with_place=with_place,
        image_size=(model.fingerprint.image_size or None) if model is not None else None,
    )


def _count_folders(names: Iterable[str]) -> dict[str, int]:
    counted = Counter(folder for name in names for folder in list_folders(name))
    return dict(sorted(counted.items()))
