"""The hosted service in this process: answers from content, keeps what it was sent."""

from __future__ import annotations

import base64
import json
from typing import Any

import httpx
import numpy as np

from tests.fakes import content_vector

WIDTH = 1024


class Service:
    """Requests as (headers, body) in `seen`; one client for each face."""

    def __init__(self) -> None:
        self.seen: list[tuple[httpx.Headers, dict[str, Any]]] = []
        self.client = httpx.Client(transport=httpx.MockTransport(self.answer))
        self.async_client = httpx.AsyncClient(transport=httpx.MockTransport(self.answer))

    @property
    def clients(self) -> dict[str, Any]:
        """The options that make a backend talk to this service."""
        return {"http_client": self.client, "async_http_client": self.async_client}

    def answer(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        self.seen.append((request.headers, body))
        width = body.get("dimensions") or WIDTH
        data = [
            {"object": "embedding", "index": n, "embedding": self._encoded(item, body.get("task"), width)}
            for n, item in enumerate(body["input"])
        ]
        usage = {"total_tokens": 5 * len(data)}
        return httpx.Response(200, json={"model": body["model"], "object": "list", "usage": usage, "data": data})

    def _encoded(self, item: Any, task: str | None, width: int) -> str:
        row = content_vector(json.dumps([item, task], sort_keys=True).encode(), WIDTH)[:width]
        return base64.b64encode((row / np.linalg.norm(row)).astype("<f4").tobytes()).decode()
