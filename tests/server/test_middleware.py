"""The middleware: the access log, and errors that no handler caught."""

from __future__ import annotations

import logging
import re

from tests.server.bodies import MARKER, ask, check_nested, read_log


async def test_a_mistake_of_ours_is_a_500_too(client_of, backend, monkeypatch, caplog) -> None:
    async with client_of(backend) as client:
        monkeypatch.setattr(client.app.state.service, "embed", None)
        response = await client.post("/v1/embeddings", json=ask(MARKER))
    assert response.status_code == 500
    check_nested(response.json(), "INTERNAL_ERROR")
    assert "TypeError" in caplog.text
    assert MARKER not in caplog.text


async def test_of_the_access_log(client_of, backend, caplog) -> None:
    caplog.set_level(logging.INFO)
    async with client_of(backend, api_keys=(MARKER,), headers={"Authorization": f"Bearer {MARKER}"}) as client:
        response = await client.post("/v1/embeddings", json=ask(MARKER), params={"q": MARKER})
        await client.get(f"/{MARKER}")
    lines = [record.getMessage() for record in caplog.records if record.name.endswith("server.access")]
    assert re.fullmatch(rf"POST /v1/embeddings 200 [\d.]+ ms {response.headers['x-request-id']} -", lines[0])
    assert re.fullmatch(r"GET other 404 [\d.]+ ms [0-9a-f]{32} RESOURCE_NOT_FOUND", lines[1])
    assert MARKER not in read_log(caplog)
