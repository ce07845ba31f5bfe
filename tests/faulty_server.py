"""A hosted API on loopback: checks requests as strictly as the real one, answers from content, and fails on demand.

Vectors are derived from the items, so that a swapped row, a lost task or a forgotten field shows. Faults are handed
out one per request, in the order of arrival; when none is left the server behaves.
"""

from __future__ import annotations

import base64
import hashlib
import json
import random
import select
import socket
import ssl
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
from numpy.typing import NDArray

KEY = "jina_" + "k" * 60
WIDTHS = {"jina-clip-v1": 768, "jina-clip-v2": 1024}
FIELDS = {
    "jina-clip-v1": {"model", "input", "embedding_type", "normalized", "truncate"},
    "jina-clip-v2": {"model", "input", "embedding_type", "normalized", "truncate", "dimensions", "task"},
}
REQUEST_ID = "0123456789abcdef0123456789abcdef"

ROW_FAULTS = ("duplicate", "gap", "extra", "nan", "infinity", "zeros", "narrow", "odd bytes", "no index", "words")
BODY_FAULTS = ("broken json", "html", "empty", "error in 200", "truncated", "reset")
HARMLESS = ("shuffled", "other encoding", "unknown keys")


@dataclass(frozen=True)
class Refuse:
    """Answer with this status and body instead."""

    status: int
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)


def vector_of(item: Any, *, task: str | None = None, width: int = 1024, dimensions: int | None = None) -> NDArray[Any]:
    """The unit vector of an item (`str` for a text, `bytes` for an image), `(dimensions,)` float32."""
    content = f"{task}|{item}".encode("utf-8", "surrogatepass") if isinstance(item, str) else b"image|" + bytes(item)
    seed = int.from_bytes(hashlib.sha256(content).digest()[:8], "big")
    row = np.random.default_rng(seed).standard_normal(width).astype(np.float32)[:dimensions]
    return (row / np.linalg.norm(row)).astype(np.float32)


def vectors_of(items: Iterable[Any], **how: Any) -> NDArray[Any]:
    """`(n, d)` of several items."""
    return np.stack([vector_of(item, **how) for item in items])


class FaultyServer:
    """`with FaultyServer() as server: ApiBackend(..., base_url=server.url, api_key=KEY)`."""

    def __init__(self, **modes: Any) -> None:
        """`modes` are the attributes below."""
        self.key: str | None = KEY
        self.strict = True
        self.errors = "nested"
        """Shape of handler errors: `nested` (E2), `flat` (E1) or `legacy` (E4, E5)."""
        self.encodings: str | None = None
        """How it refuses to be asked for an encoding: naming the `field`, or in `words`. None: it knows them all."""
        self.overwhelmed: tuple[int, int] | None = None
        """Status that it answers with, and how many items it takes at most without."""
        self.item_cap: int | None = None
        self.max_concurrency: int | None = None
        self.requests_per_minute: int | None = None
        self.balance: float = 10**12
        self.tokens_factor: float = 1
        """How many tokens it counts for what is one by the usual estimate."""
        self.tokens_counted: float = 0
        self.latency_s = 0.0
        self.tls: ssl.SSLContext | None = None
        self.headers: dict[str, str] = {}
        """Added to every answer, lies included."""
        self.poison: Callable[[Any], bool] = lambda item: False
        """Which items make the whole request fail."""
        self.faults: deque[Any] = deque()
        self.requests: list[dict[str, Any]] = []
        self.received: list[dict[str, str]] = []
        self.most_in_flight = 0
        self.in_flight = 0
        self.connections = 0
        """Open at this moment, kept ones included."""
        self.lock = threading.Lock()
        self.closing = threading.Event()
        for name, value in modes.items():
            assert hasattr(self, name), name
            setattr(self, name, value)

    def __enter__(self) -> FaultyServer:
        owner = self

        class Handler(_Handler):
            server_state = owner

            def setup(self) -> None:
                super().setup()
                owner.count_connection(1)

            def finish(self) -> None:
                owner.count_connection(-1)
                super().finish()

        self.http = _Server(("127.0.0.1", 0), Handler)
        if self.tls is not None:
            self.http.socket = self.tls.wrap_socket(self.http.socket, server_side=True)
        self._thread = threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self.closing.set()
        self.http.shutdown()
        self.http.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        return f"http{'s' if self.tls else ''}://127.0.0.1:{self.http.server_port}/v1"

    def count_connection(self, change: int) -> None:
        with self.lock:
            self.connections += change

    def next_fault(self) -> Any:
        with self.lock:
            return self.faults.popleft() if self.faults else None

    # What the service would say

    def answer(self, headers: Any, raw: bytes) -> Refuse:
        """Status, body and headers for a request that no fault meets, checks in the service's order."""
        refusal = self.check_key(headers.get("Authorization")) or self.check_rates()
        if refusal is not None:
            return refusal
        try:
            body = json.loads(raw)
            assert isinstance(body, dict)
        except (ValueError, AssertionError):
            return self.invalid("body", "Input should be a valid dictionary", "dict_type")
        with self.lock:
            self.requests.append(body)
        return self.check_body(body) or Refuse(200, self.embed(body))

    def check_key(self, given: str | None) -> Refuse | None:
        if self.key is None:
            return None
        if given is None:
            return flat(401, "AUTH_MISSING_API_KEY", "Authentication required")
        if not given.startswith("Bearer jina_") or len(given) != len("Bearer ") + 65:
            return flat(401, "AUTH_INVALID_FORMAT", "Invalid authorization format")
        if given != f"Bearer {self.key}":
            return flat(401, "AUTH_INVALID_API_KEY", f"Invalid API key {given}")
        return None

    def check_rates(self) -> Refuse | None:
        if self.balance <= 0:
            return flat(403, "AUTHZ_INSUFFICIENT_BALANCE", "Insufficient account balance")
        if self.max_concurrency is not None and self.in_flight > self.max_concurrency:
            said = f"Concurrency limit exceeded: {self.in_flight}/{self.max_concurrency} concurrent requests"
            return flat(429, "RATE_CONCURRENCY_LIMIT_EXCEEDED", said)
        if self.requests_per_minute is not None and len(self.requests) >= self.requests_per_minute:
            said = f"Request rate limit exceeded: {len(self.requests)}/{self.requests_per_minute} requests per minute"
            return flat(429, "RATE_REQUEST_LIMIT_EXCEEDED", said)
        return None

    def check_body(self, body: dict[str, Any]) -> Refuse | None:
        model = body.get("model")
        if model not in WIDTHS:
            return self.handler_error("INPUT_MODEL_NOT_FOUND", f"Model '{model}' not found")
        unknown = sorted(set(body) - FIELDS[model])
        if unknown and self.strict:
            return self.invalid(f"body -> {model} -> {unknown[0]}", "Extra inputs are not permitted", "extra_forbidden")
        dimensions = body.get("dimensions", 1)
        if not 0 < dimensions <= 1024:
            return self.invalid(f"body -> {model} -> dimensions", "Input should be in range", "less_than_equal")
        if isinstance(body.get("embedding_type"), list):
            return Refuse(500, {"detail": {"message": "An unexpected error occurred", "code": "INTERNAL_ERROR"}})
        if self.encodings is not None and "embedding_type" in body:
            if self.encodings == "words":
                return Refuse(400, {"error": {"message": "embedding_type is not supported by this model"}})
            return self.invalid(
                f"body -> {model} -> embedding_type", "Extra inputs are not permitted", "extra_forbidden"
            )
        items = body.get("input")
        if not isinstance(items, list) or not items:
            return self.invalid(f"body -> {model} -> input", "List should have at least 1 item", "too_short")
        if self.item_cap is not None and len(items) > self.item_cap:
            said = f"List should have at most {self.item_cap} items after validation, not {len(items)}"
            return self.invalid(f"body -> {model} -> input", said, "too_long")
        if self.overwhelmed is not None and len(items) > self.overwhelmed[1]:
            return Refuse(self.overwhelmed[0], b"<html><title>Too much</title></html>")
        for place, item in enumerate(items):
            if not isinstance(item, dict) or len(item) != 1 or not {"text", "image"} & set(item):
                return self.invalid(f"body -> {model} -> input -> {place}", "Field required", "missing", item)
            if self.poison(item):
                return self.handler_error("INPUT_UNREADABLE", "Cannot read an input")
        return None

    def invalid(self, where: str, message: str, kind: str, given: Any = "…") -> Refuse:
        if self.errors == "legacy":
            loc = [int(part) if part.isdigit() else part for part in where.split(" -> ")]
            return Refuse(422, {"detail": [{"loc": loc, "msg": message, "type": kind, "input": given}]})
        listed = [{"field": where, "message": message, "type": kind, "input": given}]
        return Refuse(422, {"detail": f"[{REQUEST_ID}] Validation error", "request_id": REQUEST_ID, "errors": listed})

    def handler_error(self, code: str, message: str) -> Refuse:
        if self.errors == "legacy":
            return Refuse(400, {"detail": message})
        if self.errors == "flat":
            return flat(400, code, message)
        return Refuse(400, {"detail": {"message": message, "request_id": REQUEST_ID, "code": code}})

    def embed(self, body: dict[str, Any]) -> dict[str, Any]:
        rows = [self.vector(item, body) for item in body["input"]]
        kind = body.get("embedding_type", "float")
        tokens = self.tokens_factor * sum(map(tokens_of, body["input"]))
        with self.lock:
            self.balance -= tokens
            self.tokens_counted += tokens
        data = [{"object": "embedding", "index": at, "embedding": encode(row, kind)} for at, row in enumerate(rows)]
        usage = {"total_tokens": tokens, "prompt_tokens": tokens}
        return {"model": body["model"], "object": "list", "usage": usage, "data": data}

    def vector(self, item: dict[str, str], body: dict[str, Any]) -> NDArray[Any]:
        content: Any = item["text"] if "text" in item else image_content(item["image"])
        row = vector_of(content, task=body.get("task"), width=WIDTHS[body["model"]], dimensions=body.get("dimensions"))
        return row if body.get("normalized", True) else row * np.float32(7.0)


def tokens_of(item: dict[str, str]) -> int:
    """What an item costs: a token for every word and two around them; four tiles for an image that is fetched."""
    if "text" in item:
        return len(item["text"].split()) + 2
    return 16_000 if item["image"].startswith("http") else 4000


def image_content(value: str) -> bytes:
    """What an image's vector depends on: the bytes, or the URL."""
    return value.encode() if value.startswith("http") else base64.b64decode(value, validate=True)


def flat(status: int, code: str, message: str) -> Refuse:
    """Body shape E1."""
    return Refuse(status, {"detail": message, "code": code, "request_id": REQUEST_ID})


def encode(row: NDArray[Any], kind: str) -> Any:
    """A row as `embedding_type` asks for."""
    if kind == "base64":
        return base64.b64encode(row.astype("<f4").tobytes()).decode()
    if kind == "float":
        return [float(value) for value in row]
    packed = np.packbits(row > 0).astype(float)
    return [float(value) - (128 if kind == "binary" else 0) for value in packed]


def spoil(document: dict[str, Any], fault: str) -> dict[str, Any]:
    """A good answer with one fault in its rows."""
    data = document["data"]
    first = data[0]
    if fault == "shuffled":
        random.Random(len(data)).shuffle(data)
        data.reverse()
    elif fault == "duplicate":
        data.append(dict(first)) if len(data) == 1 else data[-1].update(index=first["index"])
    elif fault == "gap":
        data.pop()
    elif fault == "extra":
        data.append({**first, "index": len(data)})
    elif fault == "no index":
        first.pop("index")
    elif fault == "unknown keys":
        document["news"] = first["news"] = {"more": [1, 2]}
    elif fault in ("nan", "infinity", "zeros"):
        first["embedding"] = [{"nan": float("nan"), "infinity": 1e300, "zeros": 0.0}[fault]] * 1024
    elif fault == "words":
        first["embedding"] = ["0.5"] * 1024
    elif fault == "narrow":
        first["embedding"] = encode(np.ones(7, np.float32), "base64")
    elif fault == "odd bytes":
        first["embedding"] = base64.b64encode(b"12345").decode()
    elif fault == "other encoding":
        for row in data:
            if isinstance(row["embedding"], str):
                row["embedding"] = np.frombuffer(base64.b64decode(row["embedding"]), "<f4").tolist()
            else:
                row["embedding"] = encode(np.array(row["embedding"]), "base64")
    return document


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away are part of the game."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server_state: FaultyServer
    counted = False
    """Whether the request in hand is among those in flight."""

    def do_POST(self) -> None:
        state = self.server_state
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        with state.lock:
            state.received.append({name.lower(): value for name, value in self.headers.items()})
            state.in_flight += 1
            state.most_in_flight = max(state.most_in_flight, state.in_flight)
            self.counted = True
        try:
            if state.latency_s:
                time.sleep(state.latency_s)
            self.reply(state, raw, state.next_fault())
        finally:
            self.leave()

    def leave(self) -> None:
        """Not in flight any more: before the client can know, whose next request would be one too many otherwise."""
        state = self.server_state
        with state.lock:
            state.in_flight -= self.counted
            self.counted = False

    def reply(self, state: FaultyServer, raw: bytes, fault: Any) -> None:
        if fault in ("reset", "close", "stall"):
            self.leave()
        if fault == "reset":
            self.hang_up(reset=True)
        elif fault == "close":
            self.hang_up(reset=False)
        elif fault == "stall":
            while not state.closing.wait(0.005) and not self.client_is_gone():
                pass
            self.hang_up(reset=True)
        elif isinstance(fault, Refuse):
            self.write(fault)
        else:
            self.write_spoilt(state.answer(self.headers, raw), fault)

    def write_spoilt(self, answer: Refuse, fault: Any) -> None:
        if answer.status != 200 or fault is None:
            self.write(answer)
        elif fault == "broken json":
            self.write(Refuse(200, json.dumps(answer.body)[:-9].encode()))
        elif fault == "html":
            self.write(Refuse(200, b"<html><head><title>Welcome</title></head></html>"))
        elif fault == "empty":
            self.write(Refuse(200, b""))
        elif fault == "error in 200":
            self.write(Refuse(200, {"detail": "something failed"}))
        elif fault == "truncated":
            self.write(Refuse(200, json.dumps(answer.body).encode()[:200]), claimed=100_000)
        elif fault == "drip":
            self.write(Refuse(200, json.dumps(answer.body).encode()), drip_s=0.05)
        elif fault == "close after":
            self.write(answer)
            self.hang_up(reset=False)
        else:
            self.write(Refuse(200, spoil(answer.body, fault)))

    def write(self, answer: Refuse, *, claimed: int | None = None, drip_s: float = 0.0) -> None:
        body = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        self.leave()
        self.send_response(answer.status)
        headers = {"Content-Type": "application/json", **self.server_state.headers, **answer.headers}
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(claimed or len(body)))
        self.end_headers()
        step = 64 if drip_s else len(body) or 1
        for at in range(0, len(body), step):
            self.wfile.write(body[at : at + step])
            if drip_s and self.server_state.closing.wait(drip_s):
                break
        self.wfile.flush()
        if claimed is not None:
            self.hang_up(reset=False)

    def client_is_gone(self) -> bool:
        readable, _, _ = select.select([self.connection], [], [], 0)
        try:
            return bool(readable) and not self.connection.recv(1, socket.MSG_PEEK)
        except ConnectionError:
            return True

    def hang_up(self, *, reset: bool) -> None:
        self.close_connection = True
        with suppress(OSError):
            if reset:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            else:
                self.connection.shutdown(socket.SHUT_RDWR)
            self.connection.close()

    def log_message(self, *message: Any) -> None:
        pass
