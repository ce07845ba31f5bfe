"""What an address of the page asks for: words, images, filters, order. The page's own address has the same parameters.

q=red car +beach -snow      words, with + and - as on the command line
image=ID  notimage=ID       an image that was dropped in: like it, unlike it
like=NAME unlike=NAME       likewise an image of the folder
since until folder kind min max camera near=lat,lon,km
diversity=0.5  all=1  sort=newest|oldest|name|largest
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from typing import Literal, TypeAlias, get_args

from starlette.datastructures import QueryParams

from ..collections.filters import Filters
from ..collections.names import decode_name
from ..collections.query import MINUS_WEIGHT, Query, Term
from ..server.errors import RequestError
from ..types import Modality
from .errors import invalid_parameter
from .settings import AppSettings
from .uploads import Uploads

Sort: TypeAlias = Literal["newest", "oldest", "name", "largest"]

IMAGE_TERMS = {"image": 1.0, "notimage": -MINUS_WEIGHT}
STORED_TERMS = {"like": 1.0, "unlike": -MINUS_WEIGHT}
"""Parameter to weight, the same as of words."""

MAX_TERMS = 16
EARTH_KM = 20_038
"""Half the Earth's circumference: no place is farther from another."""


@dataclass(frozen=True)
class Asked:
    """One address, read."""

    query: Query | None
    """None = show everything."""
    filters: Filters
    modality: Modality = "image"
    sort: Sort = "newest"
    diversity: float = 0.0
    show_all: bool = False


def read_address(parameters: QueryParams, uploads: Uploads, settings: AppSettings) -> Asked:
    """Raises `RequestError` 400 that names the parameter, 404 for an upload that is gone, and `InputError`."""
    kind = parameters.get("kind", "")
    return Asked(
        query=_read_query(parameters, uploads, settings),
        filters=read_filters(parameters),
        modality="text" if kind == "text" else "image",
        sort=_read_sort(parameters.get("sort", "")),
        diversity=_read_number(parameters, "diversity", 0.0, 1.0) or 0.0,
        show_all=parameters.get("all", "") == "1",
    )


def _read_query(parameters: QueryParams, uploads: Uploads, settings: AppSettings) -> Query | None:
    words = parameters.get("q", "").strip()
    if len(words) > settings.max_text_characters:
        raise invalid_parameter("q", f"more than {settings.max_text_characters:,} characters")
    terms = list(Query.parse(words).terms) if words else []
    for name, weight in IMAGE_TERMS.items():
        terms += [Term(weight, image=uploads.get(key).content) for key in parameters.getlist(name)]
    for name, weight in STORED_TERMS.items():
        terms += [Term(weight, stored=decode_name(kept)) for kept in parameters.getlist(name)]
    if len(terms) > MAX_TERMS:
        raise RequestError(400, "QUERY_INVALID", f"A query has at most {MAX_TERMS} words and images with a sign")
    return Query(tuple(terms)) if terms else None


def read_filters(parameters: QueryParams) -> Filters:
    """The filters of an address. Raises `RequestError` 400."""
    until = _read_day(parameters, "until")
    kind = parameters.get("kind", "")
    low, high = (_read_number(parameters, name, 0, 2**53) for name in ("min", "max"))
    filters = Filters(
        since=_read_day(parameters, "since"),
        until=until + timedelta(days=1, microseconds=-1) if until else None,  # the whole of that day
        folder=parameters.get("folder") or None,
        kinds=frozenset({kind}) if kind and kind != "text" else frozenset(),
        min_bytes=None if low is None else int(low),
        max_bytes=None if high is None else int(high),
        camera=parameters.get("camera") or None,
        near=_read_place(parameters.get("near", "")),
    )
    return filters if filters.folder is None else replace(filters, folder=decode_name(filters.folder))


def _read_day(parameters: QueryParams, name: str) -> datetime | None:
    text = parameters.get(name, "")
    if not text:
        return None
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=timezone.utc)
    except ValueError:
        raise invalid_parameter(name, "not a day; write it as 2025-12-31") from None


def _read_number(parameters: QueryParams, name: str, low: float, high: float) -> float | None:
    text = parameters.get(name, "")
    number = _to_number(text) if text else None
    if number is not None and not low <= number <= high:  # NaN is in no range
        raise invalid_parameter(name, f"not a number from {low:g} to {high:g}")
    return number


def _read_place(text: str) -> tuple[float, float, float] | None:
    if not text:
        return None
    numbers = [_to_number(part) for part in text.split(",")]
    if len(numbers) == 3:
        latitude, longitude, km = numbers
        if abs(latitude) <= 90 and abs(longitude) <= 180 and 0 < km <= EARTH_KM:
            return latitude, longitude, km
    raise invalid_parameter("near", "not a place; write latitude, longitude and kilometres, as in 48.86,2.35,5")


def _to_number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _read_sort(text: str) -> Sort:
    for sort in get_args(Sort):
        if text in ("", sort):
            chosen: Sort = sort
            return chosen
    raise invalid_parameter("sort", f"none of {', '.join(get_args(Sort))}")
