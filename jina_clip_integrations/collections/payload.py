"""Names of what a point of a collection carries, and which of it a server keeps an index of.

Whoever writes points and whoever filters them takes the names from here. Fields that were added later are missing in
older points; a filter on them leaves those out.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

ROOT = "root"
"""The folder, absolute, as `encode_name` writes it."""
NAME = "name"
"""The file's name relative to the folder, with forward slashes, as `encode_name` writes it."""
MODALITY = "modality"
"""`image` or `text`."""
TEXT = "text"
"""A passage's text; None for an image."""
PASSAGE = "passage"
"""Its number among the passages of its file, from 0."""
PASSAGES = "passages"
"""How many passages the file has."""
SIZE = "size"
"""Size of the file in bytes."""
MTIME_NS = "mtime_ns"
"""Modification time in nanoseconds since 1970."""
SHA256 = "sha256"
"""Digest of the file's content in hexadecimal digits."""
MODEL = "made_with"
"""The model of the vector; in every point, as older servers keep no metadata of collections."""
FOLDERS = "folders"
"""Every folder that the file lies in below the root (`list_folders`), so that a subtree is one comparison."""
TAKEN = "taken"
"""When the image was taken, in seconds since 1970 (UTC); missing where the file does not say."""
CAMERA = "camera"
"""The camera's maker and model; missing where the file does not say."""
PLACE = "place"
"""Where the image was taken, `{"lat": degrees, "lon": degrees}`: the form that Qdrant's filters of places read."""
WIDTH = "width"
"""Width of the image in pixels, upright."""
HEIGHT = "height"
"""Height of the image in pixels, upright."""
FORMAT = "format"
"""The format by Pillow's name in small letters, such as `jpeg`; missing for texts."""
FACTS = "facts"
"""Which `FACTS_VERSION` the fields from `FOLDERS` to `FORMAT` are of; missing in points of before there were any."""

FACTS_VERSION = 1
"""A run of the indexing writes the facts of older points anew, without embedding. Count up when there are more."""

INDEXES: Mapping[str, str] = {
    ROOT: "keyword",
    MODALITY: "keyword",
    NAME: "keyword",
    FOLDERS: "keyword",
    CAMERA: "keyword",
    FORMAT: "keyword",
    SIZE: "integer",
    MTIME_NS: "integer",
    TAKEN: "float",
    PLACE: "geo",
}
"""Fields that a server keeps an index of, to the kind of the index. An embedded store has none."""


def list_folders(name: str) -> list[str]:
    """The folders of a relative name, outermost first: `["trip", "trip/sea"]` for `trip/sea/1.jpg`."""
    return [folder.as_posix() for folder in reversed(PurePosixPath(name).parents[:-1])]


def make_place(latitude: float | None, longitude: float | None) -> dict[str, Any] | None:
    """The value of `PLACE`; None where one of the two is missing or not finite."""
    if latitude is None or longitude is None or not (-90 <= latitude <= 90 and -180 <= longitude <= 180):
        return None
    return {"lat": float(latitude), "lon": float(longitude)}
