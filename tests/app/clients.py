"""A client of an app in this process, and how its answers read."""

from __future__ import annotations

from typing import Any

import httpx

HOST = "127.0.0.1:8790"


def client_for(app: Any, *, host: str = HOST, headers: dict[str, str] | None = None) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url=f"http://{host}", headers=headers)


def names(response: httpx.Response) -> list[str]:
    assert response.status_code == 200, response.text
    return [hit["name"] for hit in response.json()["hits"]]


def detail(response: httpx.Response) -> tuple[int, str, str]:
    """Status, code and sentence of an error response."""
    body = response.json()
    told = body["detail"]
    return response.status_code, body.get("code") or told["code"], told if isinstance(told, str) else told["message"]
