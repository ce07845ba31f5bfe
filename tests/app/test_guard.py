"""Who may ask: host names, pages elsewhere, the token; and what the browser is told."""

from __future__ import annotations

from typing import Any

import pytest

from jina_clip_integrations.app import AppSettings, create_app
from jina_clip_integrations.app.guard import host_name
from jina_clip_integrations.collections.folder import FolderCollection
from tests.app.clients import client_for, detail

TOKEN = "a-token-of-some-length"
ELSEWHERE: dict[str, Any] = {"token": TOKEN, "loopback_only": False, "index": False}


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("localhost", "localhost"),
        ("LOCALHOST:8790", "localhost"),
        ("127.0.0.1:1", "127.0.0.1"),
        ("[::1]:8790", "::1"),
        ("[::1]", "::1"),
        ("[::1", ""),
        ("[evil.example]", ""),
        ("[::1]evil.example", ""),
        ("127.0.0.1:80@evil.example", ""),
        ("127.0.0.1:", ""),
        ("a:b", ""),
        ("", ""),
    ],
)
def test_the_name_in_a_host_header(host: str, name: str) -> None:
    assert host_name(host) == name


@pytest.mark.parametrize("host", ["127.0.0.1:8790", "localhost:8790", "[::1]:8790", "photos.localhost"])
async def test_names_of_this_machine_are_answered(collection: FolderCollection, host: str) -> None:
    async with client_for(create_app(collection, AppSettings(index=False)), host=host) as client:
        assert (await client.get("/api/status")).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example", "192.168.1.5:8790", "localhost.evil.example", "[::1", "127.0.0.1:x"],
)
@pytest.mark.parametrize("path", ["/", "/api/search?q=red", "/api/thumbnail?name=apple.png"])
async def test_a_name_that_was_made_to_lead_here_is_refused(collection: FolderCollection, host: str, path: str) -> None:
    async with client_for(create_app(collection, AppSettings(index=False))) as client:
        refused = await client.get(path, headers={"Host": host})
    assert detail(refused)[:2] == (421, "HOST_NOT_ALLOWED")
    assert host not in refused.text


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Origin": "http://127.0.0.1:8790"}, 200),
        ({"Origin": "http://127.0.0.1:8790", "Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1:9999"}, 403),  # another program of this machine
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
    ],
)
async def test_only_the_app_s_own_page_may_ask(client: Any, headers: dict[str, str], status: int) -> None:
    async with client:
        answers = [
            await client.get("/api/search?q=red", headers=headers),
            await client.post("/api/index", headers=headers),
            await client.get("/api/thumbnail?name=apple.png", headers=headers),
        ]
    assert [answer.status_code for answer in answers] == [status] * 3


async def test_a_link_elsewhere_may_open_the_page_but_nothing_else(client: Any) -> None:
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    async with client:
        assert (await client.get("/", headers=headers)).status_code == 200
        assert (await client.get("/api/search?q=red", headers=headers)).status_code == 403
        assert (await client.get("/", headers={**headers, "Sec-Fetch-Mode": "no-cors"})).status_code == 403


@pytest.mark.parametrize("path", ["/", "/assets/main.js", "/api/status", "/api/thumbnail?name=apple.png", "/nothing"])
async def test_every_response_binds_the_browser(client: Any, path: str) -> None:
    async with client:
        answer = await client.get(path)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy  # nothing from elsewhere
    assert "frame-ancestors 'none'" in policy
    assert "require-trusted-types-for 'script'" in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert "cache-control" in answer.headers
    assert "access-control-allow-origin" not in answer.headers


async def test_elsewhere_nothing_is_shown_without_the_token(collection: FolderCollection) -> None:
    async with client_for(create_app(collection, AppSettings(**ELSEWHERE)), host="192.168.1.5:8790") as client:
        assert (await client.get("/")).status_code == 200  # the page alone, which asks for the token
        for path in (
            "/api/status",
            "/api/search?q=red",
            "/api/thumbnail?name=apple.png",
            "/api/original?name=apple.png",
        ):
            assert detail(await client.get(path))[:2] == (401, "TOKEN_REQUIRED")
        for wrong in ("Bearer wrong", "Basic abc", f"Bearer {TOKEN[:-1]}"):
            refused = await client.post("/api/session", headers={"Authorization": wrong})
            assert refused.status_code == 401
            assert TOKEN not in refused.text
        assert (await client.post("/api/session")).status_code == 401
        assert (await client.get("/api/status", headers={"Cookie": "jina-clip-x=1; =; bad"})).status_code == 401


async def test_the_token_becomes_a_cookie_that_scripts_cannot_read(collection: FolderCollection) -> None:
    async with client_for(create_app(collection, AppSettings(**ELSEWHERE)), host="192.168.1.5:8790") as client:
        opened = await client.post("/api/session", headers={"Authorization": f"Bearer {TOKEN}"})
        cookie = opened.headers["set-cookie"]
        assert opened.status_code == 204
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert TOKEN not in cookie
        assert (await client.get("/api/search?q=red")).status_code == 200  # the client keeps the cookie
    async with client_for(create_app(collection, AppSettings(**ELSEWHERE)), host="192.168.1.5:8790") as another:
        other_run = await another.get("/api/status", headers={"Cookie": cookie.partition(";")[0]})
        assert other_run.status_code == 401
        scripted = await another.get("/api/status", headers={"Authorization": f"Bearer {TOKEN}"})
        assert scripted.status_code == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("192.168.1.5:8790", 401),
        ("[2001:db8::1]:8790", 401),
        ("localhost", 401),
        ("photos.home", 401),
        ("evil.example", 421),
    ],
)
async def test_elsewhere_addresses_and_named_hosts_are_answered(
    collection: FolderCollection, host: str, status: int
) -> None:
    settings = AppSettings(**ELSEWHERE, host_names=("Photos.home",))
    async with client_for(create_app(collection, settings)) as client:
        assert (await client.get("/api/status", headers={"Host": host})).status_code == status
