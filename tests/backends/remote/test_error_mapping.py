"""Every status, code and body shape in the wild becomes one of our errors, and none of them quotes its input."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jina_clip_integrations import errors
from jina_clip_integrations.backends.remote.error_mapping import RUN, ErrorResponse, read_error_response, redact
from jina_clip_integrations.backends.remote.responses import Response
from tests.faulty_server import KEY, REQUEST_ID


def refusal_of(status: int, body: Any, *, items: int = 600, **how: Any) -> ErrorResponse:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return read_error_response(Response(status, how.pop("headers", {}), raw), items=items, **how)


CODES = [
    (400, "INPUT_MODEL_NOT_FOUND", errors.InvalidRequestError, False),
    (400, "INPUT_TOKEN_LIMIT_EXCEEDED", errors.InvalidRequestError, False),
    (400, "INPUT_INVALID_LABELS", errors.InvalidRequestError, False),
    (400, "INPUT_SOMETHING_NEW", errors.InvalidRequestError, False),
    (401, "AUTH_MISSING_API_KEY", errors.AuthenticationError, False),
    (401, "AUTH_INVALID_API_KEY", errors.AuthenticationError, False),
    (401, "AUTH_INVALID_FORMAT", errors.AuthenticationError, False),
    (402, None, errors.InsufficientBalanceError, False),
    (403, None, errors.AuthenticationError, False),
    (403, "AUTHZ_INSUFFICIENT_BALANCE", errors.InsufficientBalanceError, False),
    (403, "AUTHZ_RESOURCE_LIMIT_EXCEEDED", errors.ApiError, False),
    (403, "AUTHZ_NEW", errors.AuthenticationError, False),
    (404, "RESOURCE_NOT_FOUND", errors.InvalidRequestError, False),
    (404, None, errors.InvalidRequestError, False),
    (405, None, errors.InvalidRequestError, False),
    (408, None, errors.ApiTimeoutError, True),
    (409, "CONFLICT_RESOURCE_BUSY", errors.ApiError, True),
    (413, None, errors.InvalidRequestError, False),
    (415, None, errors.InvalidRequestError, False),
    (418, None, errors.ApiError, False),
    (422, None, errors.InvalidRequestError, False),
    (429, None, errors.RateLimitError, True),
    (429, "RATE_REQUEST_LIMIT_EXCEEDED", errors.RateLimitError, True),
    (429, "RATE_TOKEN_LIMIT_EXCEEDED", errors.RateLimitError, True),
    (429, "RATE_CONCURRENCY_LIMIT_EXCEEDED", errors.RateLimitError, True),
    (429, "RATE_IP_LIMIT_EXCEEDED", errors.RateLimitError, True),
    (403, "RATE_CONCURRENCY_LIMIT_EXCEEDED", errors.RateLimitError, True),  # the code counts, not the status
    (500, "INTERNAL_ERROR", errors.ServerError, True),
    (200, "INTERNAL_ERROR", errors.ServerError, True),
    (200, None, errors.InvalidResponseError, False),
    (500, None, errors.ServerError, True),
    (501, None, errors.ServerError, False),
    (502, None, errors.ServerError, True),
    (503, "SERVICE_UNAVAILABLE", errors.ServerError, True),
    (504, "SERVICE_TIMEOUT", errors.ServerError, True),
    (504, None, errors.ServerError, True),
    (520, None, errors.ServerError, True),
    (527, None, errors.ServerError, True),
    (529, None, errors.ServerError, True),
    (302, None, errors.ApiError, False),
]
SHAPES = {
    "flat": lambda code: {"detail": "said so", "code": code, "request_id": REQUEST_ID},
    "nested": lambda code: {"detail": {"message": "said so", "request_id": REQUEST_ID, "code": code}},
    "openai": lambda code: {"error": {"message": "said so", "type": None, "param": None, "code": code}},
}


@pytest.mark.obligation("10", "11")
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("status", "code", "cls", "retried"), CODES)
def test_code_and_status(shape: str, status: int, code: str | None, cls: type[errors.ApiError], retried: bool) -> None:
    error_response = refusal_of(status, SHAPES[shape](code))
    error = error_response.error("example.org", 3.0)
    assert type(error) is cls
    assert error_response.passes is retried
    assert (error.status_code, error.code) == (status, code)
    assert error.request_id == (None if shape == "openai" else REQUEST_ID)
    assert "example.org" in str(error)
    assert "said so" in str(error)
    assert error.body == "said so"
    if isinstance(error, errors.RateLimitError):
        assert error.retry_after_s == 3.0


@pytest.mark.obligation("10")
@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"detail": "plain text"}, "plain text"),
        ({"error": "plain text"}, "plain text"),
        ({"message": "plain text"}, "plain text"),
        ({"Message": "plain text"}, "plain text"),
        ("plain text", "plain text"),
        (b"plain   text\n", "plain text"),
        (b"", "an empty body"),
        (b" \n", "an empty body"),
        (b"<html><title> 502\nBad Gateway </title>", "a web page titled '502 Bad Gateway'"),
        (b"<!doctype html><p>secret", "a web page"),
        (b'{"detail": "cut of', "broken JSON"),
        ([1, 2], "JSON that says nothing"),
        ({"detail": None}, ""),
        ({"detail": {"code": "X"}}, ""),
        ({}, ""),
        (
            {"detail": [{"loc": ["body", "input", 2, "text"], "msg": "field required", "type": "missing"}]},
            "text: field required",
        ),
        (
            {
                "detail": f"[{REQUEST_ID}] 1 error",
                "errors": [{"field": "body -> jina-clip-v2 -> dimensions", "message": "Too large", "input": "SECRET"}],
            },
            "dimensions: Too large",
        ),
        ({"detail": "x", "errors": ["odd", 3, {"field": 5}, {"loc": {"a": 1}, "msg": 7}]}, "invalid; 7"),
    ],
)
def test_messages(body: Any, message: str) -> None:
    assert refusal_of(422, body).message == message


@pytest.mark.parametrize(
    ("where", "items", "names_setting"),
    [
        ("body -> jina-clip-v2 -> input -> 3 -> text", (3,), False),
        (["body", "input", 3, "image"], (3,), False),
        (["body", "jina-clip-v2", "input", "list[Doc]", 3, "Doc", "text"], (3,), False),
        (["body", "data", 0], (0,), False),
        ("body -> input", (), False),
        (["body", "input", 999], (), False),
        ("body -> jina-clip-v2 -> dimensions", (), True),
        ("body -> jina-clip-v2 -> embedding_type -> 0", (), True),
        ("body", (), False),
        (["body", "input", "²"], (), False),
    ],
)
@pytest.mark.parametrize("key", ["field", "loc"])
def test_items_and_settings_at_fault(where: Any, items: tuple[int, ...], names_setting: bool, key: str) -> None:
    error_response = refusal_of(422, {"detail": "x", "errors": [{key: where, "message": "bad"}]}, items=5)
    assert error_response.items == items
    assert error_response.names_setting is names_setting
    assert error_response.about_items is not names_setting


@pytest.mark.obligation("31")
@pytest.mark.parametrize(
    ("status", "body", "about"),
    [
        (422, {"detail": [{"loc": ["body", "jina-clip-v2", "embedding_type"], "msg": "bad"}]}, True),
        (422, {"detail": [{"loc": ["body", "embedding_type", "literal['float']"], "msg": "bad"}]}, True),
        (400, {"error": {"message": "embedding_type: base64 is not known here"}}, True),
        (422, {"detail": [{"loc": ["body", "dimensions"], "msg": "bad"}]}, False),
        (422, {"detail": [{"loc": ["body", "input", 0], "msg": "bad base64"}]}, False),
        (401, {"detail": "no embedding_type without a key"}, False),
        (500, {"detail": "embedding_type"}, False),
    ],
)
def test_a_refusal_of_one_field(status: int, body: Any, about: bool) -> None:
    assert refusal_of(status, body).is_about("embedding_type") is about


@pytest.mark.parametrize(
    ("message", "cap"),
    [
        ("Validation error: 'input' List should have at most 512 items after validation, not 600", 512),
        ("inputs larger than 1,00 items", 100),
        ("expected an array with maximum length 128", 128),
        ("max batch size of 32 exceeded", 32),
        ("at most 2048 items", None),  # we did not send so many: it is about something else
        ("at most 0 items", None),
        ("String should have at most 5 characters", None),
        ("at most many items", None),
        ("at most 99999999999999999999 items", None),
    ],
)
def test_item_cap(message: str, cap: int | None) -> None:
    assert refusal_of(422, {"detail": message}).item_cap == cap


@pytest.mark.obligation("28")
@pytest.mark.parametrize(
    ("code", "message", "kind", "quota"),
    [
        ("RATE_CONCURRENCY_LIMIT_EXCEEDED", "exceeded: 6/1,000 concurrent requests", "concurrency", 1000),
        (None, "Concurrency limit exceeded: 6/2 concurrent requests", "concurrency", 2),
        ("RATE_REQUEST_LIMIT_EXCEEDED", "exceeded: 101/100 requests per minute", "requests", 100),
        ("RATE_TOKEN_LIMIT_EXCEEDED", "exceeded: 1,000,500 / 1,000,000 tokens per minute", "tokens", 1_000_000),
        ("RATE_TOKEN_LIMIT_EXCEEDED", "exceeded: 5/4 requests per minute", "tokens", None),
        ("RATE_REQUEST_LIMIT_EXCEEDED", "exceeded: 5/0 requests per minute", "requests", None),
        ("RATE_IP_LIMIT_EXCEEDED", "IP rate limit exceeded", "requests", None),
        ("INTERNAL_ERROR", "6/2 tokens", "server", None),
    ],
)
def test_the_limit_is_read_from_the_message(code: str | None, message: str, kind: str, quota: int | None) -> None:
    error_response = refusal_of(429, {"detail": message, "code": code})
    assert (error_response.kind, error_response.quota) == (kind, quota)


@pytest.mark.obligation("11")
def test_balance_without_a_code() -> None:
    assert refusal_of(403, {"detail": "Insufficient account balance"}).kind == "balance"


def test_redirects_are_named() -> None:
    assert "base_url" in refusal_of(307, b"").message


@pytest.mark.obligation("10")
def test_request_id_from_the_header() -> None:
    assert refusal_of(500, b"", headers={"x-request-id": "abc"}).request_id == "abc"


TEXT = "The quick brown fox jumps over the lazy dog, every morning."


@pytest.mark.obligation("10", "21")
@pytest.mark.parametrize(
    "message",
    [
        f"cannot embed {TEXT!r}",
        f"cannot embed {TEXT[:30]}…",
        f"cannot embed …{TEXT[20:45]}…",
        f"cannot embed {KEY}",
        f"Bearer {KEY[3:40]} is unknown",
        TEXT * 200,
    ],
)
def test_nothing_that_was_sent_is_repeated(message: str) -> None:
    shown = refusal_of(400, {"detail": message}, sent=[TEXT, "A" * 10**6], secrets=[KEY]).message
    assert not any(shown[at : at + RUN] in TEXT + KEY for at in range(len(shown) - RUN + 1))
    assert len(shown) <= 300


@pytest.mark.obligation("21")
def test_short_texts_are_hidden_whole() -> None:
    assert redact("cannot embed 'secret'", ["secret", "an"]) == "cannot embed '[input]'"


def test_ordinary_words_stay() -> None:
    said = "Model 'x' not found, available: jina-clip-v1"
    assert redact(said, ["A" * 100_000, "the weather today"], [KEY]) == said


@pytest.mark.obligation("10")
@settings(max_examples=30, deadline=None)
@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text() | st.integers(), lambda inner: (
    st.lists(inner) | st.dictionaries(
        st.sampled_from(["detail", "error", "errors", "message", "code", "loc", "field", "msg", "request_id", "data"]),
        inner,
    )
)))  # fmt: skip
def test_no_body_raises(document: Any) -> None:
    for status in (200, 403, 422, 429, 500):
        refusal_of(status, document, sent=["abc"]).error("example.org")


@pytest.mark.obligation("10")
@settings(max_examples=30, deadline=None)
@given(st.binary(max_size=300))
def test_no_bytes_raise(body: bytes) -> None:
    refusal_of(500, body).error("example.org")
