"""What travels together: items as JSON, and the requests that they are cut into."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...types import Modality
from ...vectors import truncate_and_normalize
from ..base import Usage
from .encodings import PACKED, Expected, bits_of


class EncodedItem(NamedTuple):  # a tuple, since there is one for every text
    """An item as it travels."""

    position: int
    """Its position in the caller's batch."""
    json: bytes
    """The item as JSON."""
    tokens: int
    """What it is estimated to cost."""
    blank: bool = False
    """Whether it is a text of nothing but whitespace."""
    long: bool = False
    """Whether it is a text that the model, by estimate, reads only the beginning of."""
    most: int = 0
    """The most that it may cost, where that is more than the estimate."""


@dataclass(frozen=True, kw_only=True)
class RequestTemplate:
    """What all requests of one batch have in common."""

    modality: Modality
    head: Mapping[str, Any]
    """The request body without its items."""
    items_field: str
    expected: Expected
    """What the answers must look like; `items` is filled in per request."""
    dimensions: int | None = None
    """Width that is wanted in the end, whoever cuts. None = full."""
    normalize: bool = True
    """Whether unit vectors are wanted in the end."""
    isolate_errors: bool = False
    encoding_field: str | None = None
    """Name of the field that says how vectors shall travel."""

    @property
    def plain(self) -> RequestTemplate:
        """The same without a wish for an encoding, as which every server sends floats."""
        return replace(self, head={name: value for name, value in self.head.items() if name != self.encoding_field})

    def finish(self, vectors: NDArray[Any]) -> NDArray[Any]:
        """The rows of an answer as they are wanted: cut, and of unit length. Unit rows stay bit-identical."""
        if self.packed:
            return vectors if self.dimensions is None else bits_of(vectors, self.dimensions)
        return truncate_and_normalize(vectors, dimensions=self.dimensions, normalized=self.normalize)

    def no_rows(self) -> NDArray[Any]:
        """`(0, d)` of the right type."""
        width = self.dimensions or self.expected.full or 0
        return np.empty((0, -(-width // 8)), np.uint8) if self.packed else np.empty((0, width), np.float32)

    @property
    def packed(self) -> bool:
        """Whether rows are bits."""
        return self.expected.embedding_type in PACKED


@dataclass(frozen=True)
class RequestBatch:
    """The items of one request."""

    order: RequestTemplate
    parcels: tuple[EncodedItem, ...]
    recut: bool = False
    """Whether it was cut to a number of items that the service had named."""
    prior: Usage = field(default_factory=Usage)
    """What was spent in vain on a larger piece that this one came from."""

    @property
    def tokens(self) -> int:
        """What the request is estimated to cost."""
        return sum(parcel.tokens for parcel in self.parcels)

    @property
    def costs(self) -> list[int]:
        """The most that each item may cost."""
        return [max(parcel.tokens, parcel.most) for parcel in self.parcels]

    @property
    def positions(self) -> tuple[int, ...]:
        """Positions in the caller's batch."""
        return tuple(parcel.position for parcel in self.parcels)

    def body(self) -> bytes:
        """The request body: JSON, UTF-8."""
        head = json.dumps(self.order.head, ensure_ascii=False)[:-1].encode()
        field_name = json.dumps(self.order.items_field).encode()
        separator = b", " if self.order.head else b""
        return b"%b%b%b: [%b]}" % (head, separator, field_name, b", ".join(parcel.json for parcel in self.parcels))

    def cut(self, size: int, *, recut: bool = False) -> tuple[RequestBatch, ...]:
        """The same items in pieces of at most `size`."""
        parts = (self.parcels[at : at + size] for at in range(0, len(self.parcels), size))
        return tuple(RequestBatch(self.order, part, recut or self.recut) for part in parts)

    def split(self, size: int) -> tuple[RequestBatch, ...]:
        """The first `size` items, and the rest."""
        parts = (self.parcels[:size], self.parcels[size:])
        return tuple(RequestBatch(self.order, part, self.recut) for part in parts if part)

    def without(self, places: Sequence[int]) -> tuple[RequestBatch, ...]:
        """The piece without the items at these places of it; nothing if none is left."""
        kept = tuple(parcel for place, parcel in enumerate(self.parcels) if place not in places)
        return (replace(self, parcels=kept),) if kept else ()
