"""Request bodies: limits, JSON, media types, and clients that disconnect."""

from __future__ import annotations

import json
import socket

import pytest
import requests

from tests.server.bodies import ask, check_fields, check_flat, check_nested
from tests.serving import send_request


class TestSize:
    async def test_a_declared_body_that_is_too_large(self, client_of, backend) -> None:
        async with client_of(backend, max_body_bytes=1000) as client:
            response = await client.post("/v1/embeddings", json=ask("x" * 1000))
        assert response.status_code == 413
        check_nested(response.json(), "REQUEST_TOO_LARGE")

    async def test_a_body_that_turns_out_too_large(self, client_of, backend) -> None:
        async def pieces():
            yield b'{"model": "'
            for _ in range(100):
                yield b"x" * 100

        async with client_of(backend, max_body_bytes=1000) as client:
            response = await client.post("/v1/embeddings", content=pieces())
            assert client.app.state.service.admission.bytes == 0
        assert response.status_code == 413


class TestContent:
    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"no json",
            b"[1]",
            b'"text"',
            b'{"model": NaN}',
            b"\xff\xfe",
            b"[" * 100_000,
            b'{"a":' * 100_000,
            b"9" * 9999,
        ],
        ids=["empty", "words", "list", "string", "nan", "bytes", "deep lists", "deep objects", "long number"],
    )
    async def test_a_body_that_is_no_json_object(self, client_of, backend, content) -> None:
        async with client_of(backend) as client:
            response = await client.post("/v1/embeddings", content=content)
        assert response.status_code == 422
        check_fields(response.json(), ("body", response.json()["errors"][0]["type"]))

    @pytest.mark.parametrize(
        ("headers", "code"),
        [
            ({"Content-Type": "text/plain"}, "UNSUPPORTED_MEDIA_TYPE"),
            ({"Content-Type": "application/x-www-form-urlencoded"}, "UNSUPPORTED_MEDIA_TYPE"),
            ({"Content-Encoding": "gzip", "Content-Type": "application/json"}, "UNSUPPORTED_CONTENT_ENCODING"),
        ],
        ids=["text", "form", "gzip"],
    )
    async def test_other_kinds_of_content(self, client_of, backend, headers, code) -> None:
        async with client_of(backend) as client:
            response = await client.post("/v1/embeddings", content=json.dumps(ask()), headers=headers)
        assert response.status_code == 415
        check_flat(response.json(), code)


async def test_the_body_may_begin_with_a_byte_order_mark(client_of, backend) -> None:
    async with client_of(backend) as client:
        content = b"\xef\xbb\xbf" + json.dumps(ask(["x"])).encode()
        assert (await client.post("/v1/embeddings", content=content)).status_code == 200


class TestDisconnect:
    def test_a_client_that_goes_away_frees_its_place(self, serve, backend, eventually) -> None:
        serving = serve(backend, max_batch=1)
        backend.held = True
        held = send_request(serving.port, ask(["held"]))
        eventually(lambda: len(backend.calls) == 2)  # the first was the warm-up
        leaving = send_request(serving.port, ask([f"never {n}" for n in range(50)]))
        eventually(lambda: serving.service.admission.inputs == 51)
        leaving.close()
        eventually(lambda: serving.service.admission.inputs == 1)
        eventually(lambda: serving.service.batcher.waiting == 0)
        backend.held = False
        assert b"200 OK" in held.recv(65536)
        held.close()
        eventually(lambda: serving.service.admission.inputs == 0)
        assert sum(len(call) for call in backend.calls) <= 1 + 1 + 2
        eventually(lambda: 'status="499"' in serving.metrics())

    def test_a_client_that_goes_away_while_sending(self, serve, backend, eventually) -> None:
        serving = serve(backend)
        with socket.create_connection(("127.0.0.1", serving.port)) as connection:
            connection.sendall(b"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
            eventually(lambda: serving.service.admission.requests == 1)
        eventually(lambda: serving.service.admission.requests == 0)
        assert requests.post(f"{serving.url}/v1/embeddings", json=ask("x"), timeout=10).status_code == 200

    def test_a_client_that_never_finishes_sending(self, serve, backend, eventually) -> None:
        serving = serve(backend, request_timeout_s=0.2)
        with socket.create_connection(("127.0.0.1", serving.port)) as connection:
            connection.sendall(b"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
            assert b"504" in connection.recv(65536)
        eventually(lambda: serving.service.admission.requests == 0)
