"""What a server says reaches messages, logs and terminals as text and nothing else; and where an answer came from."""

from __future__ import annotations

import json
import logging
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jina_clip_integrations import ApiBackend, errors
from jina_clip_integrations.backends.remote.error_mapping import MESSAGE_LENGTH, read_error_response
from jina_clip_integrations.backends.remote.messages import clean_text, describe_address
from jina_clip_integrations.backends.remote.responses import Response
from tests.backends.remote.faces import FACES, stream, texts
from tests.faulty_server import KEY, FaultyServer, Refuse

HOSTILE = (
    "a\x1b[2J\x1b[31mred\x1b[0m \x1b]0;title\x07b\x1b]8;;https://evil.example\x1b\\link\x1b]52;c;Zm9v\x07 \x9b1m"
    "\x1bP1$r\x1b\\ c\rd\be\x00f\x7f \u202egnp.exe\u202c \u2066x\u2069 \u200bz\ufeff \ud800 \u2028line\n two"
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("  two\n\tlines\r\n", "two lines"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07after", "after"),
        ("\x1b]8;;https://a\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x9b2Jx\x1bcy", "xy"),
        ("\x1b", ""),
        ("a\x00b\x08c\x7f", "abc"),
        ("\u202eabc\u202c\u200b\ufeff", "abc"),
        ("half \ud800", "half"),
        ("模型不存在: café", "模型不存在: café"),
        ("x" * 99, "x" * 19 + "…"),
    ],
    ids=ascii,
)
def test_clean_text(text: str, shown: str) -> None:
    assert clean_text(text, 20) == shown


@given(st.text() | st.text(alphabet="\x1b[]PX;:0mJ\x07\\\x9b\u202e a\n"), st.integers(1, 50))
def test_clean_text_is_one_line_that_can_be_printed(text: str, length: int) -> None:
    shown = clean_text(text, length)
    assert shown.isprintable()
    assert len(shown) <= length
    assert clean_text(shown, length) == shown
    shown.encode()


BODIES: list[Any] = [
    {"detail": HOSTILE, "code": HOSTILE, "request_id": HOSTILE},
    {"detail": {"message": HOSTILE, "code": HOSTILE, "request_id": HOSTILE}},
    {"errors": [{"field": f"body -> {HOSTILE}", "message": HOSTILE, "type": HOSTILE}]},
    {"detail": [{"loc": ["body", HOSTILE], "msg": HOSTILE}, {"loc": ["body", "input", 0], "msg": HOSTILE}]},
    {"error": {"message": HOSTILE, "type": HOSTILE}},
    {"message": HOSTILE * 1000},
    f"<html><title>{HOSTILE}</title>".encode("utf-8", "replace"),
    HOSTILE.encode("utf-8", "replace"),
    HOSTILE,
]


@pytest.mark.parametrize("status", [200, 302, 400, 401, 403, 404, 422, 429, 500, 503])
@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("isolate", [False, True])
def test_nothing_of_a_server_acts_on_a_terminal(
    status: int, body: Any, face: str, isolate: bool, make: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = [(b"x-request-id", b"\x1b[31mred"), (b"retry-after", b"\x1b[2J"), (b"location", b"\x1b[2J")]
    transport = httpx.MockTransport(lambda _: httpx.Response(status, content=raw, headers=headers))
    clients = {"http_client": httpx.Client(transport=transport)} if face == "sync" else {
        "async_http_client": httpx.AsyncClient(transport=transport)
    }  # fmt: skip
    results, error = stream(face, make(max_retries=1, **clients), texts("a", isolate_errors=isolate))
    found = [*([error] if error else []), *(each for result in results for each in result.errors.values())]
    assert found
    shown = [record.getMessage() for record in caplog.records if record.name.startswith("jina_clip")]
    for each in found:
        shown += [str(each), *(str(getattr(each, name, "")) for name in ("code", "request_id", "body", "message"))]
        shown.append(str(each.__cause__ or ""))
    for text in shown:
        assert text.isprintable(), text
        assert len(text) < 3 * MESSAGE_LENGTH


def test_a_key_between_invisible_characters_is_hidden_too() -> None:
    said = json.dumps({"detail": "no: " + "\u200b".join(KEY), "code": "\x00".join(KEY)}).encode()
    refused = read_error_response(Response(401, {}, said), secrets=[KEY])
    assert refused.message == "no: [key]"
    assert refused.code == "[key]"


@pytest.mark.parametrize("part", ["1", "1,", "max ", "at most ", " ", "<title>", "9 / "])
def test_long_messages_are_not_searched_for_long(part: str) -> None:
    """Quadratic, these would take hours."""
    said = json.dumps({"detail": part * (4_000_000 // len(part))}).encode()
    assert len(read_error_response(Response(429, {}, said), items=9, secrets=[KEY]).message) <= MESSAGE_LENGTH


# Where an answer came from


@pytest.mark.parametrize(
    ("path", "asked", "advice"),
    [
        ("/v1/v1", "/v1/v1/embeddings", "/v1 stands in it twice"),
        ("", "/embeddings", "that of most servers ends in /v1"),
        ("/", "/embeddings", "that of most servers ends in /v1"),
        ("/api", "/api/embeddings", "check base_url and dialect"),
        ("/v1/rerank", "/v1/rerank/embeddings", "check base_url and dialect"),
        ("/v1/embeddings/", "/v1/embeddings", "check base_url and dialect"),
        ("/v1?code=hidden-code", "/v1/embeddings", "check base_url and dialect"),
    ],
)
@pytest.mark.parametrize("status", [301, 404, 405, 410, 415, 200])
@pytest.mark.parametrize("face", FACES)
def test_a_wrong_address_is_named_with_its_path(
    path: str, asked: str, advice: str, status: int, face: str, make: Any, server: FaultyServer
) -> None:
    server.faults.extend([Refuse(status, b"<html><title>Not Found</title></html>")] * 2)
    host = server.url.removesuffix("/v1")
    _, error = stream(face, make(base_url=host + path, max_retries=1), texts("a"))
    assert isinstance(error, errors.ApiError)
    assert f"{host}{asked}: " in str(error)
    assert advice in str(error)
    assert "hidden-code" not in str(error)


def test_a_model_that_is_not_there_is_no_wrong_address() -> None:
    said = b'{"detail": "no such model", "code": "INPUT_MODEL_NOT_FOUND"}'
    error = read_error_response(Response(404, {}, said)).error("host", address="https://host/v1/embeddings")
    assert str(error).endswith("check the model's name for this server")


def test_an_address_in_a_message_is_bounded_and_hides_the_key() -> None:
    assert len(describe_address("https://host/" + "a" * 9999)) < 300
    assert describe_address("https://host/\u202ea/b").isprintable()
    client = httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(404)))
    backend = ApiBackend("jina-clip-v2", base_url=f"https://gateway.example/{KEY}/v1", api_key=KEY, http_client=client)
    with pytest.raises(errors.InvalidRequestError, match=r"https://gateway.example/\[key\]/v1/embeddings") as caught:
        backend.embed(texts("a"))
    assert KEY not in str(caught.value)
