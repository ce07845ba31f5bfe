"""Streamable HTTP on a real port: the official client, tokens, other hosts and pages, two clients at once."""

from __future__ import annotations

from typing import Any

import anyio
import httpx2
import pytest
import requests
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from jina_clip_integrations.errors import ConfigurationError
from jina_clip_integrations.mcp import create_http_app, create_server
from tests.mcp.conftest import message, names

TOKEN = "a-token-of-the-test"
ASK = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}},
}
HEADERS = {"Accept": "application/json, text/event-stream"}


def post(address: str, headers: dict[str, str]) -> requests.Response:
    return requests.post(address, json=ASK, headers=HEADERS | headers, timeout=30)


async def test_the_official_client(serve: Any) -> None:
    address = serve()
    async with Client(address) as first, Client(address) as second:
        found: list[list[str]] = []

        async def ask(client: Client) -> None:
            found.append(names(await client.call_tool("search_images", {"query": "red", "images": 1})))

        async with anyio.create_task_group() as group:
            group.start_soon(ask, first)
            group.start_soon(ask, second)
        assert [hits[0] for hits in found] == ["apple.png", "apple.png"]
        assert "no tool" in message(await first.call_tool("remove", {}))
        assert (await second.read_resource("jina-clip://full/apple.png")).contents[0].mime_type == "image/png"


async def test_the_token_is_asked_for(serve: Any) -> None:
    address = serve(TOKEN)
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {TOKEN}"}):
        answer = post(address, headers)
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert TOKEN not in answer.text
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    async with (
        httpx2.AsyncClient(headers=bearer) as http,
        Client(streamable_http_client(address, http_client=http)) as client,
    ):
        assert names(await client.call_tool("search_images", {"query": "red"}))


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 421),
        ({"Host": "evil.example:8791"}, 421),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Host": "nas.lan"}, 200),
        ({"Origin": "http://nas.lan:99"}, 200),
        ({"Origin": "http://localhost:3000"}, 200),
        ({}, 200),
    ],
    ids=str,
)
def test_other_hosts_and_pages(headers: dict[str, str], status: int, serve: Any) -> None:
    address = serve(allow_hosts=["nas.lan"])
    assert post(address, headers).status_code == status


def test_a_body_that_is_too_large(serve: Any) -> None:
    body = b'{"x": "' + b"a" * 5_000_000 + b'"}'
    kind = {"Content-Type": "application/json"}
    assert requests.post(serve(), data=body, headers=HEADERS | kind, timeout=10).status_code == 413


def test_elsewhere_a_token_is_a_must(make_source: Any) -> None:
    source = make_source()
    with pytest.raises(ConfigurationError, match="needs a token"):
        create_http_app(create_server(source), host="0.0.0.0")
    create_http_app(create_server(source, token=TOKEN), host="0.0.0.0")
    server = create_server(source, token=TOKEN)
    assert TOKEN not in repr(vars(server)) + repr(vars(server._token_verifier))
