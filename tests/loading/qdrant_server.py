"""The part of Qdrant's HTTP interface that a load needs, in front of an in-memory collection of its own client.

It is a thread of the test, which can therefore look at the collection and at the requests.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from qdrant_client import QdrantClient, models


class QdrantServer:
    """`requests` are method, path below the collection, and body; `failing` are the puts that fail, from 1."""

    def __init__(self) -> None:
        self.client = QdrantClient(":memory:")
        self.requests: list[tuple[str, str, Any]] = []
        self.threshold: int | None = None
        self.puts = 0
        self.failing: set[int] = set()
        self.url = ""
        self._lock = threading.Lock()

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        with self._lock:
            _, _, name, *rest = path.split("?")[0].split("/")
            what = "/".join(rest)
            self.requests.append((method, what, body))
            return self._result(method, name, what, body)

    def _result(self, method: str, name: str, what: str, body: Any) -> tuple[int, Any]:
        if (method, what) == ("GET", "exists"):
            return 200, {"exists": self.client.collection_exists(name)}
        if (method, what) == ("PUT", ""):
            self.threshold = body["optimizers_config"]["indexing_threshold"]
            vectors = models.VectorParams(**body["vectors"])
            self.client.create_collection(name, vectors, metadata=body["metadata"])
            return 200, True
        if (method, what) == ("GET", ""):
            info = json.loads(self.client.get_collection(name).model_dump_json())
            info["config"]["optimizer_config"]["indexing_threshold"] = self.threshold
            return 200, info
        if (method, what) == ("PATCH", ""):
            self.threshold = body["optimizers_config"]["indexing_threshold"]
            return 200, True
        if (method, what) == ("PUT", "index"):
            return 200, {"operation_id": 1, "status": "completed"}
        return self._points(method, name, what, body)

    def _points(self, method: str, name: str, what: str, body: Any) -> tuple[int, Any]:
        if (method, what) == ("PUT", "points"):
            self.puts += 1
            if self.puts in self.failing:
                return 500, None
            points = body.get("points") or [
                {"id": id, "vector": vector, "payload": payload}
                for id, vector, payload in zip(
                    *(body["batch"][key] for key in ("ids", "vectors", "payloads")), strict=True
                )
            ]
            self.client.upsert(name, [models.PointStruct(**point) for point in points])
            return 200, {"operation_id": 1, "status": "completed"}
        if (method, what) == ("POST", "points"):
            found = self.client.retrieve(name, body["ids"], with_payload=body["with_payload"])
            return 200, [json.loads(point.model_dump_json()) for point in found]
        if (method, what) == ("POST", "points/scroll"):
            found, _ = self.client.scroll(name, limit=body["limit"], with_payload=body["with_payload"])
            return 200, {"points": [json.loads(point.model_dump_json()) for point in found], "next_page_offset": None}
        if (method, what) == ("POST", "points/count"):
            return 200, {"count": self.client.count(name).count}
        return 404, None


@contextmanager
def serve_qdrant() -> Iterator[QdrantServer]:
    """A server on a free port of this machine."""
    server = QdrantServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, result = server.answer(self.command, self.path, json.loads(body) if body else None)
            message = {"result": result, "status": "ok", "time": 0.0} if status == 200 else {"status": {"error": "no"}}
            content = json.dumps(message).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_PUT = do_POST = do_PATCH = handle_any  # noqa: N815

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        server.url = f"http://127.0.0.1:{http.server_port}"
        thread = threading.Thread(target=http.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            http.shutdown()
            thread.join()
            server.client.close()
