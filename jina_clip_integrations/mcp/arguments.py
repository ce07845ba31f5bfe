"""From the arguments of a call to a query and filters of the collection. Every failure names the argument."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from ..collections.filters import Filters, parse_moment
from ..collections.names import decode_name
from ..collections.query import MINUS_WEIGHT, Query, Term
from ..errors import InputError
from ..images.opening import is_base64
from .names import SCHEME, show
from .settings import MAX_TERMS, McpSettings

LESS = -MINUS_WEIGHT
"""Weight of what is unwanted. A full subtraction leaves little but the opposite of it."""


@dataclass(frozen=True, kw_only=True)
class FilterArguments:
    """The filters as a call has them; empty means any."""

    folder: str = ""
    since: str = ""
    until: str = ""
    formats: Sequence[str] = ()
    camera: str = ""
    min_bytes: int | None = None
    max_bytes: int | None = None
    latitude: float | None = None
    longitude: float | None = None
    radius_km: float | None = None


def make_filters(given: FilterArguments, settings: McpSettings) -> Filters:
    """Raises `InputError` that names the argument."""
    for name in ("folder", "camera"):
        check_text(name, getattr(given, name), settings)
    check_count("formats", given.formats)
    return Filters(
        since=read_time("since", given.since),
        until=read_time("until", given.until, end=True),
        folder=decode_name(given.folder) or None,
        kinds=frozenset(kind for kind in given.formats if kind.strip()),
        min_bytes=given.min_bytes,
        max_bytes=given.max_bytes,
        camera=decode_name(given.camera) or None,
        near=_read_place(given),
    )


def text_terms(name: str, texts: Sequence[str], weight: float, settings: McpSettings) -> list[Term]:
    """A term for each text of an argument that is not blank. Raises `InputError`."""
    check_count(name, texts)
    for text in texts:
        check_text(name, text, settings)
    return [Term(weight, text=text) for text in texts if text.strip()]


def parse_words(words: str, settings: McpSettings) -> list[Term]:
    """The terms of a query string. Raises `InputError` that names the position of what is malformed."""
    check_text("query", words, settings)
    return list(Query.parse(words).terms) if words.strip() else []


def read_time(name: str, text: str, *, end: bool = False) -> datetime | None:
    """A year, month, day or time, in UTC unless it says otherwise; None for an empty one. Raises `InputError`."""
    if not text.strip():
        return None
    try:
        return parse_moment(text, end=end)
    except InputError:
        raise InputError(
            f"{name}: {show(text)} is no time; write 2024, 2024-05, 2024-05-31 or 2024-05-31T18:00"
        ) from None


def is_data_uri(image: str) -> bool:
    """Whether a string carries the image itself."""
    return image[:5].lower() == "data:"


def check_image(argument: str, image: str, settings: McpSettings) -> None:
    """Raise `InputError` for what can be neither the name of an image nor a data URI of a size that is read."""
    if is_data_uri(image):
        if len(image) > settings.max_data_uri_characters:
            raise InputError(
                f"{argument}: a data URI of {len(image):,} characters, more than the "
                f"{settings.max_data_uri_characters:,} that are read; send a smaller copy"
            )
        return
    if is_base64(image[:4096].encode("utf-8", "surrogatepass")):
        raise InputError(f"{argument}: base64 without data:image/png;base64, in front")
    if "://" in image and not image.startswith(SCHEME):
        raise InputError(f"{argument}: {show(image)}: addresses are not fetched; pass a name or a data URI")
    check_text(argument, image, settings)


def check_text(name: str, text: str, settings: McpSettings) -> None:
    """Raise `InputError` for a text that is too long."""
    if len(text) > settings.max_text_characters:
        raise InputError(
            f"{name}: {len(text):,} characters; at most {settings.max_text_characters:,} are read, so shorten it"
        )


def check_count(name: str, values: Sequence[str], maximum: int = MAX_TERMS) -> None:
    """Raise `InputError` for a list that is too long."""
    if len(values) > maximum:
        raise InputError(f"{name}: {len(values)} entries; at most {maximum} are read")


def _read_place(given: FilterArguments) -> tuple[float, float, float] | None:
    latitude, longitude, km = given.latitude, given.longitude, given.radius_km
    if latitude is None and longitude is None and km is None:
        return None
    if latitude is None or longitude is None or km is None:
        raise InputError("latitude, longitude and radius_km belong together; give all three")
    return latitude, longitude, km
