"""Reading responses: JSON to rows of vectors, with nothing taken for granted."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NoReturn

import orjson
from numpy.typing import NDArray

from ...errors import InvalidResponseError
from .encodings import Expected, decode

MOST_TOKENS_PER_ITEM = 1_000_000
"""More than any service counts for one text or image (a hundred tiles of an image are 400,000), so not believed."""

NOT_JSON = object()
"""What `Response.document` is for a body that is not JSON."""


@dataclass(frozen=True)
class Response:
    """A response as it came. Header names are in lower case."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @cached_property
    def document(self) -> Any:
        """The body as JSON, parsed once, or `NOT_JSON`."""
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError:
            return _parse_leniently(self.body)

    @property
    def has_rows(self) -> bool:
        """Whether this claims to be a list of embeddings."""
        return isinstance(self.document, dict) and isinstance(self.document.get("data"), list)


def _parse_leniently(body: bytes) -> Any:
    """JSON as the standard library reads it, which lets NaN through: the row that holds it can then be named."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return NOT_JSON


@dataclass(frozen=True)
class Rows:
    """The checked vectors of one response, in the request's order."""

    vectors: NDArray[Any]
    """`(items, width)`, float32; or uint8 `(items, ceil(width / 8))` for packed bits."""
    total_tokens: int = 0
    model: str | None = None


def read_rows(response: Response, expected: Expected) -> Rows:
    """The vectors of a successful response, each placed by its index and checked: width, finite, not all zero.

    Raises `InvalidResponseError` with `positions` naming the item of the request, where one is at fault.
    """
    if not response.has_rows:
        _reject("the answer is not a list of embeddings")
    vectors = decode(_place(response.document["data"], expected), expected)
    model = response.document.get("model")
    tokens = read_tokens(response, most=expected.items * MOST_TOKENS_PER_ITEM)
    return Rows(vectors, tokens, model if isinstance(model, str) else None)


def read_tokens(response: Response, *, most: int) -> int:
    """Tokens that the service counted, for the whole response or summed over its rows.

    0 where it does not say, or says what cannot be: more than `most`, less than nothing, no whole number.
    """
    if not isinstance(response.document, dict):
        return 0
    whole = _tokens(response.document, most)
    if whole or not response.has_rows:
        return whole
    counted = sum(_tokens(row, most) for row in response.document["data"] if isinstance(row, dict))
    return counted if counted <= most else 0


def _tokens(holder: Mapping[str, Any], most: int) -> int:
    usage = holder.get("usage")
    if not isinstance(usage, dict):
        return 0
    # For these models the hosted API gives both, and they are equal; other servers may give one only.
    for name in ("total_tokens", "prompt_tokens"):
        count = _as_integer(usage.get(name))
        if count is not None and 0 < count <= most:
            return count
    return 0


def _place(data: Sequence[Any], expected: Expected) -> list[Any]:
    """The embeddings in the request's order; every item exactly once."""
    if len(data) != expected.items:
        _reject(f"{len(data)} rows for {expected.items} items")
    if not all(isinstance(row, dict) for row in data):
        _reject("a row is not an object")
    indices = [row.get("index") for row in data]
    if not expected.indexed and all(index is None for index in indices):
        indices = list(range(len(data)))
    embeddings = [row.get("embedding") for row in data]
    # The usual case at a fraction of the cost. Nothing promises this order, and shuffled rows are the worst fault of
    # all, since no vector looks wrong; so the indices decide, never the order.
    if all(type(index) is int and index == place for place, index in enumerate(indices)):
        return embeddings
    placed: dict[int, Any] = {}
    for index, embedding in zip(indices, embeddings, strict=True):
        place = _as_integer(index)
        if place is None or not 0 <= place < expected.items:
            _reject("a row's index is missing or not an item of the request")
        if place in placed:
            _reject("two rows for the same item", place)
        placed[place] = embedding
    return [placed[place] for place in range(expected.items)]


def _as_integer(value: Any) -> int | None:
    """A number as an integer: some servers print integers as floats, and `True` would be item 1."""
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _reject(what: str, place: int | None = None) -> NoReturn:
    error = InvalidResponseError(what)
    error.positions = () if place is None else (place,)
    raise error
