"""Reading answers: JSON to rows of vectors, trusting nothing but what was checked."""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from ..errors import InvalidResponseError
from ..vectors import pack_bits

OFFSET = 128
"""The service's `binary` is its `ubinary` minus this; it is no two's-complement view of the same byte."""

PACKED = ("binary", "ubinary")

NOT_JSON = object()
"""What `Answer.document` is for a body that is not JSON."""


@dataclass(frozen=True)
class Answer:
    """A response as it came over the wire. Header names are in lower case."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @cached_property
    def document(self) -> Any:
        """The body as JSON, parsed once, or `NOT_JSON`."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return NOT_JSON

    @property
    def has_rows(self) -> bool:
        """Whether this claims to be a list of embeddings."""
        return isinstance(self.document, dict) and isinstance(self.document.get("data"), list)


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What a request asked for, and so what its answer has to look like."""

    items: int
    """Rows, one per item."""
    dimensions: int | None = None
    """Width that was asked for; None = full."""
    full: int | None = None
    """Full width of the model; None where it is not known."""
    embedding_type: str = "base64"
    """`binary` and `ubinary` want packed bits, the others float32."""
    indexed: bool = True
    """Whether every row has to carry its index."""

    @property
    def widths(self) -> tuple[int, ...]:
        """Widths in dimensions that the answer may have: what was asked for, or everything. Empty: unknown model."""
        if self.full is None:
            return ()
        return (self.full,) if self.dimensions is None else (self.dimensions, self.full)


@dataclass(frozen=True)
class Rows:
    """The checked vectors of one answer, in the request's order."""

    vectors: NDArray[Any]
    """`(items, width)`, float32; or uint8 `(items, ceil(width / 8))` for packed bits."""
    total_tokens: int = 0
    model: str | None = None


def read_rows(answer: Answer, expected: Expected) -> Rows:
    """The vectors of a successful answer, each placed by its index and checked: width, finite, not all zero.

    Raises `InvalidResponseError` with `positions` naming the item of the request, where one is at fault.
    """
    if not answer.has_rows:
        _refuse("the answer is not a list of embeddings")
    rows = [_decode(row, place, expected) for place, row in enumerate(_placed(answer.document["data"], expected))]
    widths = {len(row) for row in rows}
    if len(widths) > 1:
        _refuse(f"the vectors have different widths: {', '.join(map(str, sorted(widths)))}")
    model = answer.document.get("model")
    return Rows(np.stack(rows), read_tokens(answer), model if isinstance(model, str) else None)


def read_tokens(answer: Answer) -> int:
    """Tokens that the service counted, for the whole answer or summed over its rows; 0 where it does not say."""
    if not isinstance(answer.document, dict):
        return 0
    whole = _tokens(answer.document)
    if whole or not answer.has_rows:
        return whole
    return sum(_tokens(row) for row in answer.document["data"] if isinstance(row, dict))


def bits_of(rows: NDArray[np.uint8], dimensions: int) -> NDArray[np.uint8]:
    """The first `dimensions` bits of packed rows: `(n, ceil(dimensions / 8))` uint8, unused low bits zero."""
    bits = np.unpackbits(rows, axis=1, count=min(dimensions, rows.shape[1] * 8))
    packed: NDArray[np.uint8] = np.packbits(bits, axis=1)
    return packed


def _tokens(holder: Mapping[str, Any]) -> int:
    usage = holder.get("usage")
    if not isinstance(usage, dict):
        return 0
    for name in ("total_tokens", "prompt_tokens"):
        count = usage.get(name)
        if isinstance(count, (int, float)) and math.isfinite(count) and count > 0:
            return int(count)
    return 0


def _placed(data: Sequence[Any], expected: Expected) -> list[Any]:
    """The embeddings in the request's order; every item exactly once."""
    if len(data) != expected.items:
        _refuse(f"{len(data)} rows for {expected.items} items")
    if not all(isinstance(row, dict) for row in data):
        _refuse("a row is not an object")
    indices = [row.get("index") for row in data]
    if not expected.indexed and all(index is None for index in indices):
        indices = list(range(len(data)))
    placed: dict[int, Any] = {}
    for index, row in zip(indices, data, strict=True):
        place = _as_place(index)
        if place is None or not 0 <= place < expected.items:
            _refuse("a row's index is missing or not an item of the request")
        if place in placed:
            _refuse("two rows for the same item", place)
        placed[place] = row.get("embedding")
    return [placed[place] for place in range(expected.items)]


def _as_place(index: Any) -> int | None:
    if isinstance(index, bool) or not isinstance(index, (int, float)) or not math.isfinite(index):
        return None
    return int(index) if index == int(index) else None


def _decode(embedding: Any, place: int, expected: Expected) -> NDArray[Any]:
    """One embedding in whatever encoding the server chose: float32 `(width,)`, or packed uint8 if that was asked."""
    if isinstance(embedding, str):
        values = _from_base64(embedding, place)
    elif isinstance(embedding, list):
        values = _from_numbers(embedding, place)
    else:
        _refuse("no embedding", place)
    if expected.embedding_type not in PACKED:
        return _checked_floats(values, place, expected)
    if isinstance(embedding, list) and _looks_packed(values, expected):
        return _checked_bits(values, place, expected.embedding_type)
    packed: NDArray[np.uint8] = pack_bits(_checked_floats(values, place, expected)[None])[0]
    return packed


def _from_base64(text: str, place: int) -> NDArray[np.float32]:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        _refuse("an embedding is not standard base64", place)
    if len(raw) % 4:
        _refuse(f"an embedding of {len(raw)} bytes is no row of float32", place)
    return np.frombuffer(raw, dtype="<f4").astype(np.float32)


def _from_numbers(numbers: list[Any], place: int) -> NDArray[Any]:
    try:
        values = np.array(numbers)
    except (ValueError, OverflowError):
        _refuse("an embedding is not a flat list of numbers", place)
    if values.ndim != 1 or values.dtype.kind not in "iuf":
        _refuse("an embedding is not a flat list of numbers", place)
    return values


def _checked_floats(values: NDArray[Any], place: int, expected: Expected) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):  # what does not fit float32 becomes infinite and is refused below
        row = values.astype(np.float32)
    if not len(row) or (expected.widths and len(row) not in expected.widths):
        wanted = " or ".join(map(str, dict.fromkeys(expected.widths))) or "at least 1"
        _refuse(f"a vector of {len(row)} dimensions instead of {wanted}", place)
    if expected.full is None and expected.dimensions is not None and len(row) < expected.dimensions:
        _refuse(f"a vector of {len(row)} dimensions instead of {expected.dimensions}", place)
    if not np.isfinite(row).all():
        _refuse("a vector with NaN or infinity in it", place)
    if not row.any():
        _refuse("a vector of zeros", place)
    return row


def _looks_packed(values: NDArray[Any], expected: Expected) -> bool:
    widths = expected.widths or ((expected.dimensions,) if expected.dimensions else ())
    if not widths:
        return bool(np.all(values == np.rint(values)))
    return len(values) in {math.ceil(width / 8) for width in widths} and len(values) not in widths


def _checked_bits(values: NDArray[Any], place: int, embedding_type: str) -> NDArray[np.uint8]:
    shifted = values.astype(np.float64) + (OFFSET if embedding_type == "binary" else 0)
    if not (np.isfinite(shifted).all() and np.all((shifted >= 0) & (shifted <= 255) & (shifted == np.rint(shifted)))):
        _refuse(f"packed bits that are no {embedding_type} bytes", place)
    return shifted.astype(np.uint8)


def _refuse(what: str, place: int | None = None) -> NoReturn:
    error = InvalidResponseError(what)
    error.positions = () if place is None else (place,)
    raise error
