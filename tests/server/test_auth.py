"""Bearer keys."""

from __future__ import annotations

import pytest

from jina_clip_integrations.server import ServerSettings
from jina_clip_integrations.server.auth import BearerAuth
from jina_clip_integrations.server.errors import RequestError
from tests.server.bodies import ask, check_flat


@pytest.mark.parametrize(
    ("header", "code"),
    [
        (None, "AUTH_MISSING_API_KEY"),
        ("", "AUTH_MISSING_API_KEY"),
        ("Basic abc", "AUTH_INVALID_FORMAT"),
        ("key-one", "AUTH_INVALID_FORMAT"),
        ("Bearer ", "AUTH_INVALID_FORMAT"),
        ("Bearer wrong", "AUTH_INVALID_API_KEY"),
        ("Bearer key-on", "AUTH_INVALID_API_KEY"),
        ("Bearer key-one-more", "AUTH_INVALID_API_KEY"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/embeddings", "/invocations", "/v1/models"])
async def test_without_a_good_key(client_of, backend, header, code, path) -> None:
    headers = {} if header is None else {"Authorization": header}
    async with client_of(backend, api_keys=("key-one", "key-two")) as client:
        method = "GET" if path == "/v1/models" else "POST"
        response = await client.request(method, path, headers=headers, json=ask() if method == "POST" else None)
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"
    check_flat(response.json(), code)
    assert backend.calls == []


@pytest.mark.parametrize("header", ["Bearer key-one", "Bearer key-two", "bearer  key-two "])
async def test_with_a_good_key(client_of, backend, header) -> None:
    async with client_of(backend, api_keys=("key-one", "key-two"), headers={"Authorization": header}) as client:
        assert (await client.post("/v1/embeddings", json=ask())).status_code == 200
        assert (await client.get("/v1/models")).status_code == 200


@pytest.mark.parametrize("path", ["/health", "/live", "/ready", "/ping", "/metrics"])
async def test_probes_need_none(client_of, backend, path) -> None:
    async with client_of(backend, api_keys=("key-one",)) as client:
        assert (await client.get(path)).status_code == 200


@pytest.mark.parametrize(
    "given", ['"key-one"', "Bearer key-one", "'key-one'\n", "\u200bkey-one", "\u201ckey-one\u201d"]
)
def test_a_key_pasted_with_what_stood_around_it_lets_in(given: str) -> None:
    auth = BearerAuth(ServerSettings(api_keys=(given,)).api_keys)
    auth.check("Bearer key-one")
    with pytest.raises(RequestError):
        auth.check(f"Bearer {given}")
