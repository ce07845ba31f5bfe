"""What stands between us and the service: proxies, certificates, redirects, compression, hosts that are not there."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import ssl
import threading
import tracemalloc
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import httpx
import numpy as np
import orjson
import pytest
import trustme

from jina_clip_integrations import ApiBackend, errors
from tests.backends.remote.faces import FACES, FAST, embed, numbered, stream, texts
from tests.faulty_server import KEY, FaultyServer, Refuse, vectors_of

pytestmark = pytest.mark.parametrize("face", FACES)

AUTHORITY = trustme.CA()
PAGE = b"<html><head><title>Please log in</title></head><body>The proxy says hello.</body></html>"
PROXY_VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


# Proxies


@pytest.fixture
def proxy(server: FaultyServer, monkeypatch: pytest.MonkeyPatch) -> FaultyServer:
    """The server in the part of the proxy that the environment names, for whatever host."""
    for name in PROXY_VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name in ("HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, server.url.removesuffix("/v1"))
    server.key = None
    return server


def behind_the_proxy(**options: Any) -> ApiBackend:
    return ApiBackend("jina-clip-v2", **({"base_url": "http://embedder.internal/v1", "retry": FAST} | options))


@pytest.mark.obligation("34")
def test_a_proxy_of_the_environment_is_used(face: str, proxy: FaultyServer) -> None:
    with behind_the_proxy() as backend:
        np.testing.assert_array_equal(embed(face, backend, texts("a", "b")).vectors, vectors_of("ab"))
    assert proxy.received[0]["host"] == "embedder.internal"


@pytest.mark.obligation("24")
@pytest.mark.parametrize(
    ("status", "cls", "attempts"),
    [
        (200, errors.InvalidResponseError, 2),
        (302, errors.ApiError, 1),
        (403, errors.AuthenticationError, 1),
        (407, errors.ApiError, 1),
        (502, errors.ServerError, 2),
        (503, errors.ServerError, 2),
    ],
)
def test_a_proxy_that_answers_with_a_page(
    face: str, proxy: FaultyServer, status: int, cls: type[errors.ApiError], attempts: int
) -> None:
    proxy.faults.extend([Refuse(status, PAGE, {"Content-Type": "text/html"})] * 9)
    with behind_the_proxy(max_retries=1) as backend:
        _, error = stream(face, backend, texts("a"))
    assert type(error) is cls
    assert error.status_code == status
    assert "The proxy says hello" not in str(error)
    assert ("Please log in" in str(error)) is (status != 302)
    assert len(proxy.received) == attempts


def test_a_proxy_that_makes_no_tunnel(face: str, proxy: FaultyServer) -> None:
    """Nothing was sent to the service, so nothing may count against a budget."""
    with behind_the_proxy(base_url="https://api.jina.ai/v1", api_key=KEY, max_retries=1, token_budget=100) as backend:
        _, error = stream(face, backend, texts("a"))
        assert backend.tokens_spent == 0
    assert type(error) is errors.ApiConnectionError
    assert "proxy" in str(error)
    assert proxy.received == []


# Answers that take too long, or too much room


@pytest.mark.parametrize(
    ("part", "kept"),
    [
        *((part, False) for part in ("nothing", "status", "headers", "one header", "body", "chunks")),
        ("headers", True),  # on a connection that served another request before
        ("chunks", True),
    ],
)
def test_answers_that_never_end(face: str, part: str, kept: bool) -> None:
    first, again = {
        "nothing": (b"", b""),
        "status": (b"HTTP/1.1 2", b"0"),
        "headers": (b"HTTP/1.1 200 OK\r\n", b"x: y\r\n"),
        "one header": (b"HTTP/1.1 200 OK\r\nx: ", b"y"),
        "body": (b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n", b" "),
        "chunks": (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    }[part]
    whole = orjson.dumps({"data": [{"index": 0, "embedding": [1.0] * 1024}], "usage": {"total_tokens": 1}})
    done = threading.Event()

    def serve(listening: socket.socket) -> None:
        connection, _ = listening.accept()
        with connection, suppress(OSError):
            if kept:
                receive(connection)
                connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(whole) + whole)
            receive(connection)
            connection.sendall(first)
            while not done.wait(0.02):
                connection.sendall(again)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, args=(listening,))
        thread.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
        once = {
            "timeout": 1.0 if kept else 0.4,
            "max_retries": 0,
            "embedding_type": "float",
            "batch_size": 1,
            "max_concurrency": 1,
        }
        backend = ApiBackend("jina-clip-v2", base_url=url, **once)
        try:
            results, error = stream(face, backend, texts(*"ab"[: 1 + kept]))
        finally:
            done.set()
            thread.join()
            backend.close()
    assert len(results) == kept
    assert type(error) is errors.ApiTimeoutError


def receive(connection: socket.socket) -> None:
    """Read one request to the end."""
    received = b""
    while b"\r\n\r\n" not in received or not received.endswith(b"}"):
        received += connection.recv(65536)


@pytest.mark.parametrize("encoding", ["gzip, gzip", "gzip,gzip,gzip", "br", "zstd", "gzip;q=1"])
def test_answers_that_unpack_to_more_than_there_is_room_for(
    face: str, encoding: str, server: FaultyServer, make: Any
) -> None:
    bomb = gzip.compress(gzip.compress(bytes(50_000_000)))
    server.faults.append(Refuse(200, bomb, {"Content-Encoding": encoding}))
    tracemalloc.start()
    try:
        _, error = stream(face, make(max_retries=0), texts("a"))
        assert tracemalloc.get_traced_memory()[1] < 8 * 2**20
    finally:
        tracemalloc.stop()
    assert type(error) is errors.InvalidResponseError


def test_only_what_can_be_unpacked_safely_is_asked_for(face: str, server: FaultyServer, make: Any) -> None:
    embed(face, make(), texts("a"))
    assert server.received[0]["accept-encoding"] == "gzip, deflate"


# Certificates


@pytest.fixture
def tls_server() -> Iterator[FaultyServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert("127.0.0.1").configure_cert(context)
    with FaultyServer(tls=context) as running:
        yield running


def over_tls(server: FaultyServer, **options: Any) -> ApiBackend:
    return ApiBackend("jina-clip-v2", api_key=KEY, base_url=server.url, retry=FAST, max_retries=0, **options)


@pytest.mark.obligation("34")
def test_an_authority_that_a_supplied_client_knows(face: str, tls_server: FaultyServer) -> None:
    def ask(**clients: Any) -> Any:
        return over_tls(tls_server, **clients)

    rows = with_a_client(
        face, ask, verify=ssl.create_default_context(cadata=AUTHORITY.cert_pem.bytes().decode())
    ).vectors
    np.testing.assert_array_equal(rows, vectors_of("a"))


def with_a_client(face: str, make: Any, **options: Any) -> Any:
    """What a backend with a client of the caller's makes of one text."""
    if face == "sync":
        with httpx.Client(**options) as client:
            return make(http_client=client).embed(texts("a"))

    async def run() -> Any:
        async with httpx.AsyncClient(**options) as client:
            return await make(async_http_client=client).aembed(texts("a"))

    return asyncio.run(run())


# Hosts


@pytest.mark.parametrize("address", ["http://127.0.0.1:9/v1", "https://nowhere.invalid/v1"])
def test_hosts_that_are_not_there(face: str, address: str) -> None:
    with ApiBackend("jina-clip-v2", api_key=KEY, base_url=address, retry=FAST, max_retries=1) as backend:
        _, error = stream(face, backend, texts("a"))
        assert backend.tokens_spent == 0
    assert type(error) is errors.ApiConnectionError
    assert error.status_code is None
    assert "check the network, base_url and proxy settings (given up after 2 attempts)" in str(error)


def test_tls_with_a_server_that_speaks_none(face: str, server: FaultyServer, make: Any) -> None:
    _, error = stream(face, make(base_url=server.url.replace("http:", "https:"), max_retries=0), texts("a"))
    assert type(error) is errors.ApiConnectionError


@pytest.mark.obligation("19")
def test_no_credential_goes_to_another_host(face: str, server: FaultyServer, make: Any) -> None:
    with FaultyServer() as elsewhere:
        server.faults.append(Refuse(308, b"", {"Location": elsewhere.url + "/embeddings"}))
        make_with_token = partial(make, headers={"X-Gateway-Token": "secret"})
        with pytest.raises(errors.ApiError, match="redirect"):
            with_a_client(face, make_with_token, follow_redirects=True)
        assert elsewhere.received == []


# Bodies


def compressed(server: FaultyServer, raw: bytes) -> Refuse:
    body = json.dumps(server.answer({"Authorization": f"Bearer {KEY}"}, raw).body).encode()
    return Refuse(200, gzip.compress(body), {"Content-Encoding": "gzip"})


def test_compressed_answers_are_read(face: str, server: FaultyServer, make: Any) -> None:
    body = {"model": "jina-clip-v2", "embedding_type": "base64", "input": [{"text": "a"}, {"text": "b"}]}
    server.faults.append(compressed(server, json.dumps(body).encode()))
    np.testing.assert_array_equal(embed(face, make(), texts("a", "b")).vectors, vectors_of("ab"))


@pytest.mark.obligation("36")
def test_what_a_small_answer_unpacks_to_is_limited_too(face: str, server: FaultyServer, make: Any) -> None:
    server.faults.append(Refuse(200, gzip.compress(b" " * 5_000_000), {"Content-Encoding": "gzip"}))
    _, error = stream(face, make(max_response_bytes=1_000_000), texts("a"))
    assert type(error) is errors.InvalidResponseError
    assert "max_response_bytes" in str(error)


LIES: list[dict[str, str]] = [
    {"X-RateLimit-Remaining-Requests": "many", "X-RateLimit-Remaining-Tokens": "-3", "Retry-After": "never"},
    {"X-RateLimit-Remaining-Requests": "", "X-RateLimit-Remaining-Tokens": "1e9999"},
    {"X-RateLimit-Remaining-Tokens": "9" * 40, "Retry-After": "86400"},
    {"Content-Type": "text/html; charset=utf-16"},
    {"Content-Encoding": "identity"},
    {"X-Request-Id": "x" * 5000},
]


@pytest.mark.obligation("14")
@pytest.mark.parametrize("headers", LIES, ids=str)
def test_headers_that_lie(face: str, server: FaultyServer, make: Any, headers: dict[str, str]) -> None:
    """On good answers and on refusals: no row is lost and nothing waits for nonsense."""
    server.headers = headers
    refusals = [] if headers.get("Retry-After") == "86400" else [Refuse(503), Refuse(429), Refuse(500, PAGE)]
    server.faults.extend(refusals)
    np.testing.assert_array_equal(embed(face, make(), numbered(12)).vectors, vectors_of(numbered(12).texts))


def test_a_content_encoding_that_lies(face: str, server: FaultyServer, make: Any) -> None:
    server.faults.extend([Refuse(200, b"{}", {"Content-Encoding": "gzip"})] * 2)
    np.testing.assert_array_equal(embed(face, make(), texts("a")).vectors, vectors_of("a"))
    server.headers = {"Content-Encoding": "gzip"}
    _, error = stream(face, make(max_retries=1), texts("a"))
    assert type(error) is errors.InvalidResponseError
    assert "Content-Encoding" in str(error)


def test_a_cookie_that_no_header_can_carry_is_forgotten(face: str, make: Any, server: FaultyServer) -> None:
    server.headers = {"Set-Cookie": "caf\u00e9=\u00fc"}
    backend = make(batch_size=1, max_concurrency=1)
    np.testing.assert_array_equal(embed(face, backend, texts("a", "b", "c")).vectors, vectors_of("abc"))
