"""Bodies of successful responses, byte for byte as the Jina API writes them."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..types import Vectors
from ..vectors import BINARY_OFFSET, pack_bits


@dataclass(frozen=True)
class TokenUsage:
    """Tokens of one request, by input. Images are counted by tiles."""

    per_input: Sequence[int]
    image_tokens: int = 0

    @property
    def total(self) -> int:
        """Tokens of all inputs."""
        return sum(self.per_input)

    def to_json(self) -> dict[str, int]:
        """The `usage` object of a response."""
        usage = {"total_tokens": self.total, "prompt_tokens": self.total}
        return usage | ({"image_tokens": self.image_tokens} if self.image_tokens else {})


def embeddings_body(rows: Vectors, *, model: str, embedding_type: str, usage: TokenUsage) -> bytes:
    """The response of `POST /v1/embeddings` for rows `(n, d)` that are truncated and normalised already."""
    # Rows are encoded one by one, so the object around them is put together as text.
    head = json.dumps({"model": model, "object": "list", "usage": usage.to_json()}, separators=(",", ":"))
    data = ",".join(
        f'{{"object":"embedding","index":{index},"embedding":{encoded}}}'
        for index, encoded in enumerate(encode_rows(rows, embedding_type))
    )
    return f'{head[:-1]},"data":[{data}]}}'.encode()


def invocations_body(rows: Vectors, *, ids: Sequence[str], usage: TokenUsage, parameters: Mapping[str, Any]) -> bytes:
    """The response of `POST /invocations`: always floats, with an id and the usage of every row."""
    data = ",".join(
        f'{{"id":{json.dumps(name)},"embedding":{encoded},"usage":{{"id":{json.dumps(name)},"total_tokens":{tokens}}}}}'
        for name, encoded, tokens in zip(ids, encode_rows(rows, "float"), usage.per_input, strict=True)
    )
    return f'{{"data":[{data}],"parameters":{json.dumps(dict(parameters))}}}'.encode()


def encode_rows(rows: Vectors, embedding_type: str) -> list[str]:
    """JSON of each row: `float`, `base64` (little-endian float32), or `binary` / `ubinary` (packed bits)."""
    if embedding_type == "base64":
        return [f'"{base64.b64encode(row.tobytes()).decode("ascii")}"' for row in rows.astype("<f4")]
    if embedding_type == "float":
        return [json.dumps(row.tolist(), separators=(",", ":"), allow_nan=False) for row in rows]
    packed = pack_bits(rows).astype(float)  # the service prints whole numbers as floats
    shift = BINARY_OFFSET if embedding_type == "binary" else 0
    return [json.dumps((row - shift).tolist(), separators=(",", ":")) for row in packed]


def new_id() -> str:
    """32 hex digits, as the service names requests and rows."""
    return uuid.uuid4().hex
