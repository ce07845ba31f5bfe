"""Parsing the items of a request: texts, image URLs and inline images. Nothing is opened or fetched here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from .errors import FieldError, InvalidFieldsError, field_path

MAX_URL_CHARACTERS = 65_536
"""Longest URL of an image, in characters, as in the older published schema."""

MAX_LISTED_ERRORS = 20
"""Upper bound of the items that one validation error lists."""

STRICT_KEYS = frozenset({"text", "image"})

_IMAGE_AS_STRING = re.compile(r"data:image/[\w.+-]+(?:;[\w=.+-]+)*;base64,", re.IGNORECASE)
"""How a string begins that is certainly an image: several clients of embedding servers send images like this."""

HEAD_CHARACTERS = 256
"""As many first characters of a string as are looked at for that."""

IDS_REFUSED = (
    "token ids are not taken, only texts: with OpenAIEmbeddings of LangChain set check_embedding_ctx_length=False, "
    "elsewhere pass the text instead of its tokens"
)


@dataclass(frozen=True)
class Text:
    """A text. `{"text": ...}` is always one, whatever it looks like, and a plain string unless it holds an image."""

    value: str


@dataclass(frozen=True)
class ImageUrl:
    """An image to fetch."""

    url: str


@dataclass(frozen=True)
class InlineImage:
    """An image in the request itself, as base64 or as a data URI."""

    encoded: str


Item: TypeAlias = Text | ImageUrl | InlineImage


class _ItemError(Exception):
    """An item does not fit the schema."""

    def __init__(self, message: str, type: str) -> None:
        super().__init__(message)
        self.message = message
        self.type = type

    def at(self, *path: str | int) -> FieldError:
        """The error with its location in the body."""
        return FieldError(field_path(*path), self.message, self.type)


def read_items(given: Any, *, path: tuple[str, ...], max_items: int, strict: bool) -> list[Item]:
    """Parse the input of a request, one item or a list. Raises `InvalidFieldsError` that lists all invalid items.

    `path` is the location of the input in the body, such as `("jina-clip-v2", "input")`.
    """
    alone = isinstance(given, (str, Mapping))
    raw = [given] if alone else given
    if (problem := _list_error(raw, max_items)) is not None:
        raise InvalidFieldsError([problem.at(*path)])
    # All invalid items are listed, so that a client need not find them one request at a time.
    results = [_read_or_error(item, strict=strict) for item in raw]
    errors = [
        result.at(*path, *(() if alone else (index,)))
        for index, result in enumerate(results)
        if isinstance(result, _ItemError)
    ]
    if errors:
        raise InvalidFieldsError(errors[:MAX_LISTED_ERRORS])
    return [result for result in results if not isinstance(result, _ItemError)]


def _list_error(raw: Any, max_items: int) -> _ItemError | None:
    """Why this is no list of items, in pydantic's words."""
    if not isinstance(raw, list):
        return _ItemError("Input should be a text, an object or a list of them", "list_type")
    if not raw:
        return _ItemError("List should have at least 1 item", "too_short")
    if all(_is_token_ids(item) for item in raw):  # one error instead of one for every token
        return _ItemError(IDS_REFUSED, "model_type")
    if len(raw) > max_items:
        return _ItemError(f"List should have at most {max_items} items, not {len(raw)}", "too_long")
    return None


def _is_token_ids(item: Any) -> bool:
    """Whether this is a token, or a list of nothing else, as clients with a tokenizer of their own send."""
    if isinstance(item, list):
        return bool(item) and all(isinstance(token, int) for token in item)
    return isinstance(item, int)


def _read_or_error(item: Any, *, strict: bool) -> Item | _ItemError:
    try:
        return _read(item, strict=strict)
    except _ItemError as error:
        return error


def _read(item: Any, *, strict: bool) -> Item:
    if isinstance(item, str):
        return _read_string(item, strict=strict)
    if not isinstance(item, dict):
        hint = f" ({IDS_REFUSED})" if _is_token_ids(item) else ""
        raise _ItemError(f'Input should be a text, {{"text": ...}} or {{"image": ...}}{hint}', "model_type")
    if strict and (extra := sorted(set(item) - STRICT_KEYS)):
        raise _ItemError(f"Extra inputs are not permitted ({len(extra)} unknown keys)", "extra_forbidden")
    if item.get("pdf") is not None:
        raise _ItemError("PDFs are not supported", "value_error")
    if item.get("content") is not None:
        raise _ItemError("Several parts in one vector are not supported; make them items of their own", "value_error")
    found = [entry for entry in (_text(item), _image(item)) if entry is not None]
    if len(found) != 1:
        what = "both a text and an image" if found else "neither a text nor an image"
        raise _ItemError(
            f"An item is a text or an image; this one has {what}", "missing" if not found else "value_error"
        )
    return found[0]


def _read_string(value: str, *, strict: bool) -> Text | InlineImage:
    """A plain string: a text, or an image in the one form that no text has, which embedding it as a text would hide."""
    if _IMAGE_AS_STRING.match(value[:HEAD_CHARACTERS]) is None:
        return Text(value)
    if strict:
        raise _ItemError(
            'an image is written {"image": ...}; a text that begins like this, {"text": ...}', "model_type"
        )
    return InlineImage(value)


def _text(item: Mapping[str, Any]) -> Text | None:
    value = item.get("text")
    if value is None:
        return None
    if not isinstance(value, str):
        raise _ItemError("text should be a valid string", "string_type")
    return Text(value)


def _image(item: Mapping[str, Any]) -> ImageUrl | InlineImage | None:
    """The image of an item in one of Jina's spellings, today's or an older one, or as an OpenAI-style part."""
    given = [(name, item[name]) for name in _IMAGE_KEYS if item.get(name) is not None]
    if item.get("type") == "image" and item.get("format") == "base64" and item.get("value") is not None:
        given.append(("value", item["value"]))
    if not given:
        return None
    if len(given) > 1:
        raise _ItemError("An item has one image, not several", "value_error")
    name, value = given[0]
    if name == "image_url" and isinstance(value, Mapping):
        value = value.get("url")
    if not isinstance(value, str) or not value:
        raise _ItemError(f"{name} should be a string that is not empty", "string_type")
    return _classify_image(name, value)


_IMAGE_KEYS = ("image", "url", "bytes", "image_url", "image_base64", "base64")
_URL_KEYS = ("url", "image_url")
_ANY_IMAGE_KEY = "image"
"""The key that takes all three: a URL, a data URI and base64."""


def _classify_image(name: str, value: str) -> ImageUrl | InlineImage:
    """Where an image is, by the start of its string: a URL, a data URI, or else base64, which has no mark."""
    start = value[:8].lower()
    if start.startswith("data:"):
        return InlineImage(value)
    is_link = start.startswith(("http://", "https://"))
    if is_link and name in (_ANY_IMAGE_KEY, *_URL_KEYS):
        if len(value) > MAX_URL_CHARACTERS:
            raise _ItemError(f"a URL should have at most {MAX_URL_CHARACTERS} characters", "string_too_long")
        # Refused here, as a field: an HTTP client would strip or encode them, and fetch another address.
        if not value.isprintable() or " " in value:
            raise _ItemError("a URL should have neither spaces nor control characters", "url_parsing")
        return ImageUrl(value)
    if name in _URL_KEYS:
        raise _ItemError(f"{name} should start with http://, https:// or data:", "url_parsing")
    return InlineImage(value)
