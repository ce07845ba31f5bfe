"""The hosted API on loopback, cheap enough to measure clients against it: latency, a ceiling, counters.

    python benchmarks/loopback_service.py [--latency 0.1] [--ceiling 50]

Answers `POST /v1/embeddings` as the hosted service does: strings, `{"text"}`, `{"image"}` and the older `{"bytes"}`
items, `embedding_type` and the older `encoding_type`, rows as floats or base64, status 429 above the ceiling. Every
request takes at least the latency. `GET /counts` tells what came and went since it was last asked. Rows are put
together from prepared parts that a checksum of the content chooses, so that order can be verified and a row costs next
to nothing. The address is printed when it is ready; it ends with its standard input.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import io
import json
import sys
import zlib
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

WIDTH = 1024
HEAD = 3
"""Values of a row that come from the larger of two pools: 12 bytes, which are 16 whole characters of base64."""

HEADS, TAILS = 2**14, 2**8
SIZE_BYTES = 2**18
"""Characters of an image that are looked at for its size: a header may stand behind a long profile."""


class RowPool:
    """Unit rows of `WIDTH` float32, one for each of `HEADS * TAILS` checksums, also as JSON."""

    def __init__(self) -> None:
        self._heads = _of_length(HEADS, HEAD)
        self._tails = _of_length(TAILS, WIDTH - HEAD)
        self._base64 = [[base64.b64encode(row.tobytes()) for row in part] for part in (self._heads, self._tails)]
        self._floats = [[_as_text(row) for row in part] for part in (self._heads, self._tails)]

    def vector(self, content: str) -> NDArray[np.float32]:
        """The row of a text, or of an image's base64: `(WIDTH,)`."""
        head, tail = _parts(content)
        return np.concatenate([self._heads[head], self._tails[tail]])

    def answer(self, contents: list[str], *, as_base64: bool, model: str, tokens: int) -> bytes:
        """The whole answer for these contents."""
        heads, tails = self._base64 if as_base64 else self._floats
        before, between, after = (b'"', b"", b'"}') if as_base64 else (b"[", b",", b"]}")
        start = json.dumps({"model": model, "object": "list", "usage": _usage(tokens)}, separators=(",", ":"))
        parts = [start[:-1].encode(), b',"data":[']
        for index, content in enumerate(contents):
            head, tail = _parts(content)
            opened = b'%b{"object":"embedding","index":%d,"embedding":' % (b"," if index else b"", index)
            parts += (opened, before, heads[head], between, tails[tail], after)
        return b"".join([*parts, b"]}"])


def _of_length(rows: int, width: int) -> NDArray[np.float32]:
    """Random rows whose squares sum to `width / WIDTH`."""
    values = np.random.default_rng(width).standard_normal((rows, width))
    return (values * np.sqrt(width / WIDTH) / np.linalg.norm(values, axis=1, keepdims=True)).astype("<f4")


def _as_text(row: NDArray[np.float32]) -> bytes:
    return ",".join(map(str, row)).encode()


def _parts(content: str) -> tuple[int, int]:
    checksum = zlib.crc32(content.encode())
    return checksum % HEADS, checksum // HEADS % TAILS


def _usage(tokens: int) -> dict[str, int]:
    return {"total_tokens": tokens, "prompt_tokens": tokens}


@dataclass
class Counts:
    """What came and went. Bytes are those of HTTP, heads included."""

    requests: int = 0
    refused: int = 0
    items: int = 0
    tokens: int = 0
    bytes_received: int = 0
    bytes_sent: int = 0
    most_in_flight: int = 0


class Service:
    """What all connections share."""

    def __init__(self, *, latency_s: float, ceiling: int) -> None:
        self.latency_s = latency_s
        self.ceiling = ceiling
        self.in_flight = 0
        self.rows = RowPool()
        self._begin()

    def _begin(self) -> None:
        self.counts = Counts()

    def read_counts(self) -> bytes:
        """The counters as JSON; they begin anew."""
        text = json.dumps(asdict(self.counts)).encode()
        self._begin()
        return text

    def answer(self, body: bytes) -> tuple[int, bytes]:
        """Status and body for a request."""
        request = json.loads(body)
        given = request["input"]
        items = given if isinstance(given, list) else [given]
        contents, tokens = zip(*(_read_item(item) for item in items), strict=True)
        self.counts.items += len(items)
        self.counts.tokens += sum(tokens)
        encoding = request.get("embedding_type") or request.get("encoding_type") or "float"
        model = str(request.get("model"))
        return 200, self.rows.answer(list(contents), as_base64=encoding == "base64", model=model, tokens=sum(tokens))


def _read_item(item: Any) -> tuple[str, int]:
    """Content and tokens of an item: two and a word each for a text, 4,000 a tile of 512 x 512 for an image."""
    if isinstance(item, str):
        return item, 2 + len(item.split())
    if "text" in item:
        return item["text"], 2 + len(item["text"].split())
    image = item["image"] if "image" in item else item["bytes"]
    return image, image_tokens(image)


def image_tokens(encoded: str) -> int:
    """Tokens that the service bills for an image, given as base64."""
    from PIL import Image

    with Image.open(io.BytesIO(base64.b64decode(encoded[:SIZE_BYTES]))) as image:
        width, height = image.size
    return 4000 * -(-width // 512) * -(-height // 512)


class Connection(asyncio.Protocol):
    """HTTP/1.1 with keep-alive, as much of it as clients need."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.buffer = bytearray()
        self.expected: int | None = None
        """Length of the body that is being received; None between requests."""
        self.refused = False
        self.to_counts = False

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if self.expected is None:
            end = self.buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            self.read_head(bytes(self.buffer[:end]))
            del self.buffer[: end + 4]
        if self.expected is not None and len(self.buffer) >= self.expected:
            body = bytes(self.buffer)
            self.buffer.clear()
            self.expected = None
            self.read_body(body)

    def read_head(self, head: bytes) -> None:
        request_line, *lines = head.split(b"\r\n")
        headers = dict(line.lower().split(b": ", 1) for line in lines)
        self.expected = int(headers.get(b"content-length", 0))
        self.to_counts = request_line.startswith(b"GET /counts ")
        if self.to_counts:
            return
        service, counts = self.service, self.service.counts
        service.in_flight += 1
        self.refused = service.in_flight > service.ceiling
        counts.requests += 1
        counts.refused += self.refused
        counts.most_in_flight = max(counts.most_in_flight, service.in_flight)
        counts.bytes_received += len(head) + 4 + self.expected

    def read_body(self, body: bytes) -> None:
        if self.to_counts:
            self.send(200, self.service.read_counts())
            return
        loop = asyncio.get_running_loop()
        due = loop.time() + self.service.latency_s
        if self.refused:
            said = f"Concurrency limit exceeded: {self.service.in_flight}/{self.service.ceiling} concurrent requests"
            refusal = {"detail": said, "code": "RATE_CONCURRENCY_LIMIT_EXCEEDED", "request_id": "0" * 32}
            self.finish(429, json.dumps(refusal).encode())
            return
        loop.call_at(due, self.finish, *self.service.answer(body))

    def finish(self, status: int, body: bytes) -> None:
        self.service.in_flight -= 1
        self.service.counts.bytes_sent += self.send(status, body)

    def send(self, status: int, body: bytes) -> int:
        """Bytes that were written."""
        reason = b"OK" if status == 200 else b"Too Many Requests"
        head = b"HTTP/1.1 %d %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        answer = head % (status, reason, len(body)) + body
        self.transport.write(answer)
        return len(answer)


async def serve(*, latency_s: float, ceiling: int) -> None:
    """Answer until standard input ends."""
    loop = asyncio.get_running_loop()
    service = Service(latency_s=latency_s, ceiling=ceiling)
    server = await loop.create_server(lambda: Connection(service), "127.0.0.1", 0, backlog=256)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await asyncio.to_thread(sys.stdin.read)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--latency", type=float, default=0.1, help="seconds that every request takes at least")
    parser.add_argument("--ceiling", type=int, default=50, help="most requests in flight")
    options = parser.parse_args()
    asyncio.run(serve(latency_s=options.latency, ceiling=options.ceiling))


if __name__ == "__main__":
    main()
