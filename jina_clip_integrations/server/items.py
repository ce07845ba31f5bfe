"""One input of a request: a text, or where an image is. Nothing is opened here, and a plain string is a text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from .errors import BadFieldsError, FieldError, field_path

MAX_URL_CHARACTERS = 65_536
"""Longest URL of an image, as the older published schema had it."""

MAX_LISTED_ERRORS = 20
"""Items that a refusal lists at most."""

STRICT_KEYS = frozenset({"text", "image"})


@dataclass(frozen=True)
class Text:
    """A text."""

    value: str


@dataclass(frozen=True)
class Linked:
    """An image to be fetched."""

    url: str


@dataclass(frozen=True)
class Inline:
    """An image in the request itself, as base64 or as a data URI."""

    encoded: str


Item: TypeAlias = Text | Linked | Inline


class _MisfitError(Exception):
    """Why an item does not fit the schema."""

    def __init__(self, message: str, type: str) -> None:
        super().__init__(message)
        self.message = message
        self.type = type


def read_items(given: Any, *, path: tuple[str, ...], max_items: int, strict: bool) -> list[Item]:
    """The items of a request, one or a list of them. Raises `BadFieldsError` that lists what does not fit.

    `path` is where they stand in the body, such as `("jina-clip-v2", "input")`.
    """
    alone = isinstance(given, (str, Mapping))
    raw = [given] if alone else given
    errors: list[FieldError] = []
    items: list[Item] = []
    if not isinstance(raw, list):
        errors.append(_error(_MisfitError("Input should be a text, an object or a list of them", "list_type"), *path))
    elif not raw:
        errors.append(_error(_MisfitError("List should have at least 1 item", "too_short"), *path))
    elif len(raw) > max_items:
        errors.append(
            _error(_MisfitError(f"List should have at most {max_items} items, not {len(raw)}", "too_long"), *path)
        )
    else:
        for index, item in enumerate(raw):
            found = _read_or_misfit(item, strict=strict)
            if isinstance(found, _MisfitError):
                errors.append(_error(found, *path, *(() if alone else (index,))))
            else:
                items.append(found)
    if errors:
        raise BadFieldsError(errors[:MAX_LISTED_ERRORS])
    return items


def _error(misfit: _MisfitError, *path: str | int) -> FieldError:
    return FieldError(field_path(*path), misfit.message, misfit.type)


def _read_or_misfit(item: Any, *, strict: bool) -> Item | _MisfitError:
    try:
        return _read(item, strict=strict)
    except _MisfitError as misfit:
        return misfit


def _read(item: Any, *, strict: bool) -> Item:
    if isinstance(item, str):
        return Text(item)
    if not isinstance(item, dict):
        hint = " (token ids are not taken)" if isinstance(item, (int, list)) else ""
        raise _MisfitError(f'Input should be a text, {{"text": ...}} or {{"image": ...}}{hint}', "model_type")
    if strict and (extra := sorted(set(item) - STRICT_KEYS)):
        raise _MisfitError(f"Extra inputs are not permitted ({len(extra)} unknown keys)", "extra_forbidden")
    if item.get("pdf") is not None:
        raise _MisfitError("PDFs are not supported", "value_error")
    if item.get("content") is not None:
        raise _MisfitError("Several parts in one vector are not supported; make them items of their own", "value_error")
    found = [entry for entry in (_text(item), _image(item)) if entry is not None]
    if len(found) != 1:
        what = "both a text and an image" if found else "neither a text nor an image"
        raise _MisfitError(
            f"An item is a text or an image; this one has {what}", "missing" if not found else "value_error"
        )
    return found[0]


def _text(item: Mapping[str, Any]) -> Text | None:
    value = item.get("text")
    if value is None:
        return None
    if not isinstance(value, str):
        raise _MisfitError("text should be a valid string", "string_type")
    return Text(value)


def _image(item: Mapping[str, Any]) -> Linked | Inline | None:
    """The image of an item, in Jina's spelling (today's and the older one) or in that of OpenAI-style parts."""
    given = [(name, item[name]) for name in _IMAGE_KEYS if item.get(name) is not None]
    if item.get("type") == "image" and item.get("format") == "base64" and item.get("value") is not None:
        given.append(("value", item["value"]))
    if not given:
        return None
    if len(given) > 1:
        raise _MisfitError("An item has one image, not several", "value_error")
    name, value = given[0]
    if name == "image_url" and isinstance(value, Mapping):
        value = value.get("url")
    if not isinstance(value, str) or not value:
        raise _MisfitError(f"{name} should be a string that is not empty", "string_type")
    return _locate(name, value)


_IMAGE_KEYS = ("image", "url", "bytes", "image_url", "image_base64", "base64")
_LINK_KEYS = ("url", "image_url")
_MIXED_KEY = "image"


def _locate(name: str, value: str) -> Linked | Inline:
    start = value[:8].lower()
    if start.startswith("data:"):
        return Inline(value)
    is_link = start.startswith(("http://", "https://"))
    if is_link and name in (_MIXED_KEY, *_LINK_KEYS):
        if len(value) > MAX_URL_CHARACTERS:
            raise _MisfitError(f"a URL should have at most {MAX_URL_CHARACTERS} characters", "string_too_long")
        if not value.isprintable() or " " in value:
            raise _MisfitError("a URL should have neither spaces nor control characters", "url_parsing")
        return Linked(value)
    if name in _LINK_KEYS:
        raise _MisfitError(f"{name} should start with http://, https:// or data:", "url_parsing")
    return Inline(value)
