"""Which files of a collection a search is about: time, folder, kind, size, camera, place.

The same filter in two forms: for a server as Qdrant's own, and for the table of an embedded store as a mask. Where a
file does not say something, as a text its camera, a filter on that leaves it out.
"""

from __future__ import annotations

import math
import re
from calendar import monthrange
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .names import encode_name
from .payload import CAMERA, FOLDERS, FORMAT, MODALITY, MTIME_NS, PLACE, SIZE, TAKEN

if TYPE_CHECKING:
    from .table import PointTable

Mask = NDArray[np.bool_]

EARTH_RADIUS_M = 6_371_000.0
"""Mean radius, with which Qdrant reckons too."""

MODALITIES = frozenset({"image", "text"})
FORMAT_NAMES = {"jpg": "jpeg", "tif": "tiff", "jp2": "jpeg2000", "heic": "heif"}
"""What people call a format, to Pillow's name of it in small letters."""

_DAY = re.compile(r"(\d{4})(?:-(\d{1,2})(?:-(\d{1,2}))?)?")


@dataclass(frozen=True)
class Filters:
    """What a file has to be; everything that is given has to hold. Raises `InputError` for what no file can be."""

    since: datetime | None = None
    """Taken, or where an image does not say when it was taken, last changed at this time or later. A time without a
    zone is read as UTC, as cameras' times are."""
    until: datetime | None = None
    """The same: at this time or earlier."""
    folder: str | None = None
    """A folder below the collection's, with forward slashes: everything in it, at any depth."""
    kinds: frozenset[str] = frozenset()
    """`image`, `text`, or formats such as `jpeg`; one of them has to fit. Empty = all."""
    min_bytes: int | None = None
    """Smallest size of the file."""
    max_bytes: int | None = None
    """Largest size of the file."""
    camera: str | None = None
    """Part of the name of the camera, in capitals or not."""
    near: tuple[float, float, float] | None = None
    """Taken around a place: latitude and longitude in degrees, and the distance in km."""

    def __post_init__(self) -> None:
        if self.since is not None and self.until is not None and _seconds(self.since) > _seconds(self.until):
            raise InputError(f"no time is since {self.since} and until {self.until}")
        if self.min_bytes is not None and self.max_bytes is not None and self.min_bytes > self.max_bytes:
            raise InputError(f"no file has at least {self.min_bytes} and at most {self.max_bytes} bytes")
        _check_kinds(self.kinds)
        object.__setattr__(self, "kinds", frozenset(_kind(kind) for kind in self.kinds))
        object.__setattr__(self, "folder", _clean_folder(self.folder))
        _check_place(self.near)

    @property
    def is_empty(self) -> bool:
        """Whether everything passes."""
        return self == Filters()

    def to_qdrant(self, cameras: Sequence[str] = ()) -> list[Any]:
        """Conditions that all have to hold, for a filter's `must`. `cameras` are the names that `camera` means."""
        return [*self._times(), *self._sizes(), *self._places(), *self._words(cameras)]

    def mask(self, table: PointTable) -> Mask:
        """Which points of `table` pass: `(n,)`."""
        passing = np.ones(len(table), np.bool_)
        if self.since is not None or self.until is not None:
            passing &= _between(table.times(), *self._span())
        if self.min_bytes is not None or self.max_bytes is not None:
            passing &= _between(table.numbers(SIZE), self.min_bytes, self.max_bytes)
        if self.folder is not None:
            passing &= table.below(self.folder)
        if self.kinds:
            passing &= np.isin(table.words(MODALITY), list(self.kinds)) | np.isin(table.words(FORMAT), list(self.kinds))
        if self.camera is not None:
            passing &= np.isin(table.words(CAMERA), self.matching_cameras(table.distinct(CAMERA)))
        if self.near is not None:
            passing &= distance_m(table.places(), self.near[0], self.near[1]) <= self.near[2] * 1000
        return passing

    def _span(self) -> tuple[float | None, float | None]:
        """`since` and `until` in seconds since 1970."""
        since, until = (None if moment is None else _seconds(moment) for moment in (self.since, self.until))
        return since, until

    def matching_cameras(self, known: Iterable[str]) -> list[str]:
        """Those of the known cameras that `camera` is a part of."""
        wanted = (self.camera or "").casefold()
        return sorted(name for name in known if wanted in name.casefold())

    def _times(self) -> list[Any]:
        from qdrant_client import models

        if self.since is None and self.until is None:
            return []
        since, until = self._span()
        taken = models.FieldCondition(key=TAKEN, range=models.Range(gte=since, lte=until))
        ns = [None if moment is None else moment * 1e9 for moment in (since, until)]
        changed = models.FieldCondition(key=MTIME_NS, range=models.Range(gte=ns[0], lte=ns[1]))
        unknown = models.IsEmptyCondition(is_empty=models.PayloadField(key=TAKEN))
        return [models.Filter(should=[taken, models.Filter(must=[unknown, changed])])]

    def _sizes(self) -> list[Any]:
        from qdrant_client import models

        if self.min_bytes is None and self.max_bytes is None:
            return []
        return [models.FieldCondition(key=SIZE, range=models.Range(gte=self.min_bytes, lte=self.max_bytes))]

    def _places(self) -> list[Any]:
        from qdrant_client import models

        if self.near is None:
            return []
        latitude, longitude, km = self.near
        around = models.GeoRadius(center=models.GeoPoint(lat=latitude, lon=longitude), radius=km * 1000)
        return [models.FieldCondition(key=PLACE, geo_radius=around)]

    def _words(self, cameras: Sequence[str]) -> list[Any]:
        from qdrant_client import models

        found: list[Any] = []
        if self.folder is not None:
            match = models.MatchValue(value=encode_name(self.folder))
            found.append(models.FieldCondition(key=FOLDERS, match=match))
        if self.kinds:
            match_any = models.MatchAny(any=sorted(self.kinds))
            fields = (MODALITY, FORMAT)
            found.append(models.Filter(should=[models.FieldCondition(key=key, match=match_any) for key in fields]))
        if self.camera is not None:
            found.append(models.FieldCondition(key=CAMERA, match=models.MatchAny(any=list(cameras))))
        return found


def parse_moment(text: str, *, end: bool = False) -> datetime:
    """The time that `2024`, `2024-05`, `2024-05-31` or `2024-05-31T18:00` means, in UTC where no zone is said.

    `end` is for the end of a range: the last moment of that year, month or day. Raises `InputError` for anything else.
    """
    found = _DAY.fullmatch(text.strip())
    try:
        if found is None:
            return _in_utc(datetime.fromisoformat(text.strip().replace("Z", "+00:00")))
        year, month, day = int(found[1]), int(found[2] or 0), int(found[3] or 0)
        if not end:
            return datetime(year, month or 1, day or 1, tzinfo=timezone.utc)
        month = month or 12
        last = datetime(year, month, day or monthrange(year, month)[1], tzinfo=timezone.utc)
        return last + timedelta(days=1) - timedelta(microseconds=1)
    except (ValueError, OverflowError) as error:  # calendar's IllegalMonthError is a ValueError
        raise InputError(f"{text!r} is no time; write 2024, 2024-05, 2024-05-31 or 2024-05-31T18:00") from error


def distance_m(places: NDArray[np.float64], latitude: float, longitude: float) -> NDArray[np.float64]:
    """Great-circle distances in metres from one place to `(n, 2)` others, all in degrees; NaN stays NaN."""
    there, here = np.radians(places), np.radians([latitude, longitude])
    half = (there - here) / 2
    haversine = np.sin(half[:, 0]) ** 2 + np.cos(there[:, 0]) * np.cos(here[0]) * np.sin(half[:, 1]) ** 2
    result: NDArray[np.float64] = 2 * EARTH_RADIUS_M * np.arcsin(np.sqrt(np.clip(haversine, 0, 1)))
    return result


def _between(values: NDArray[np.float64], low: float | None, high: float | None) -> Mask:
    # Comparisons with NaN are False, so what is not known does not pass.
    passing = np.isfinite(values)
    if low is not None:
        passing &= values >= low
    if high is not None:
        passing &= values <= high
    return passing


def _in_utc(moment: datetime) -> datetime:
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=timezone.utc)


def _seconds(moment: datetime) -> float:
    return _in_utc(moment).timestamp()


def _kind(kind: str) -> str:
    small = kind.strip().lower().removeprefix(".")
    return FORMAT_NAMES.get(small, small)


def _check_kinds(kinds: object) -> None:
    if isinstance(kinds, str):  # the letters of a bare string would be kinds
        raise InputError(f"kinds is a set of words such as {{'jpeg'}}, not {kinds!r}")


def _clean_folder(folder: str | None) -> str | None:
    """The folder as names of files begin with it; None for the collection's own."""
    if folder is None:
        return None
    parts = [part for part in folder.replace("\\", "/").split("/") if part not in ("", ".")]
    if ".." in parts:
        raise InputError(f"{folder!r} leads out of the collection; name a folder below it")
    return "/".join(parts) or None


def _check_place(near: tuple[float, float, float] | None) -> None:
    if near is None:
        return
    latitude, longitude, km = near
    if not (-90 <= latitude <= 90 and -180 <= longitude <= 180 and 0 < km < math.inf):
        raise InputError(
            f"near={near}: latitude from -90 to 90 and longitude from -180 to 180 degrees, and a distance in km above 0"
        )
