"""Answers that a service should not give: rows, refusals, headers and compression, damaged in every way.

Whatever comes, the result is an error of this package or rows that are the right ones. The first answer is damaged and
later ones are right, so that a retry shows too.
"""

from __future__ import annotations

import asyncio
import base64
import json
import random
import struct
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import given, settings, target
from hypothesis import strategies as st
from numpy.typing import NDArray

from jina_clip_integrations import ApiBackend
from jina_clip_integrations.backends.base import Batch, BatchResult
from jina_clip_integrations.backends.remote.dialects import DIALECTS
from jina_clip_integrations.backends.remote.encodings import Expected
from jina_clip_integrations.backends.remote.error_mapping import read_error_response
from jina_clip_integrations.backends.remote.responses import Response, read_rows
from jina_clip_integrations.errors import BackendError, InputError, InvalidResponseError
from jina_clip_integrations.settings import RetryPolicy
from tests.faulty_server import KEY, encode, vector_of
from tests.fuzz.box import run_boxed
from tests.fuzz.json_mutations import mutate_json
from tests.fuzz.mutations import Seed, mutant

TEXTS = ("red", "green", "blue")
WIDTHS = {"xinference": 1024, "invocations": 1024}
"""Width that a dialect's server answers with; the others are asked for 32."""

NO_WAITS = RetryPolicy(
    first_wait_s=0.0, longest_wait_s=0.0, request_limit_wait_s=0.0, token_limit_wait_s=0.0, longest_server_wait_s=0.001
)
ODD_INDICES = (None, True, False, -1, 3, 0.5, 1e30, 10**400, float("nan"), float("inf"), "0", [0], {"0": 0})
STATUSES = (*(200, 201, 204, 206, 301, 307, 400, 401, 402, 403, 404, 405, 408, 409, 413, 415, 418, 422, 429, 451), *(
    500, 501, 502, 503, 504, 505, 520, 529, 599, 999
))  # fmt: skip

Change = Callable[[random.Random, bytes], bytes]


# Right answers, as each server writes them


def right_answer(request: httpx.Request, dialect: str) -> dict[str, Any]:
    """What a server of this dialect says to a request."""
    asked = json.loads(request.content)
    items = [item if isinstance(item, str) else item["text"] for item in asked[DIALECTS[dialect].items_field]]
    kind = asked.get("embedding_type") or asked.get("encoding_format") or "float"
    rows = [encode(vector_of(text, width=WIDTHS.get(dialect, 32)), kind) for text in items]
    data: list[dict[str, Any]] = [{"object": "embedding", "index": at, "embedding": row} for at, row in enumerate(rows)]
    if dialect == "invocations":
        return {"data": [{"embedding": row["embedding"]} for row in data], "usage": {"total_tokens": 9}}
    whole = {"object": "list", "model": "jina-clip-v2", "data": data, "usage": {"total_tokens": 9, "prompt_tokens": 9}}
    return whole | ({"id": "infinity-1", "created": 1700000000} if dialect == "infinity" else {})


REFUSALS: tuple[Any, ...] = (
    {"detail": "Insufficient account balance", "code": "AUTHZ_INSUFFICIENT_BALANCE", "request_id": "r1"},
    {"detail": {"message": "Cannot read input 1", "request_id": "r1", "code": "INPUT_UNREADABLE"}},
    {"detail": "[r1] Validation error", "request_id": "r1", "errors": [
        {"field": "body -> jina-clip-v2 -> input -> 1 -> text", "message": "too long", "type": "x", "input": "green"},
        {"field": "body -> jina-clip-v2 -> dimensions", "message": "at most 2 items", "type": "y"}]},
    {"detail": [{"loc": ["body", "input", 1, "text"], "msg": "bad", "type": "z", "input": "green"}]},
    {"error": {"message": "at most 2 items", "type": "invalid_request_error", "code": None, "param": "input"}},
    {"detail": "Concurrency limit exceeded: 3/2 concurrent requests", "code": "RATE_CONCURRENCY_LIMIT_EXCEEDED"},
    {"message": "Unauthorized"}, {"Message": "expired"}, "no", [], None,
)  # fmt: skip
"""Bodies of errors in the wild."""


# Damage


def move_rows(rng: random.Random, document: dict[str, Any], *, indexed: bool) -> bytes:
    """One change of the list of rows or of what stands around it. No vector and no right index changes."""
    data = document["data"]
    at = rng.randrange(len(data))
    match rng.randrange(9 if indexed else 7):
        case 0:
            del data[at]
        case 1:
            data.insert(rng.randrange(4), dict(data[at]))
        case 2:
            data.insert(at, rng.choice((None, {}, [], "x", {"index": 1}, {"embedding": [0.5] * 32})))
        case 3:
            data[at]["embedding"] = rng.choice((None, "", [], {}, 0, True, [[]], "====", "AAAA", [None] * 32))
        case 4:
            document[rng.choice(("usage", "model", "object"))] = rng.choice((None, "", {}, [1], -1, 10**400, "a" * 999))
        case 5:
            document["usage"] = {"total_tokens": rng.choice((-1, 1e30, 10**400, float("nan"), "9", True, [9], None))}
        case 6:
            document["data"] = rng.choice(({}, None, {"0": data[0]}, [data], "x", data * 20))
        case 7:
            rng.shuffle(data)
        case _:
            data[at]["index"] = rng.choice((*ODD_INDICES, (at + 1) % len(data)))
    return json.dumps(document).encode()


def damage(rng: random.Random, document: dict[str, Any], number: int) -> bytes:
    """Changes of any kind, of the structure more often than of the numbers of a vector."""
    raw = json.dumps(document).encode()
    match rng.randrange(6):
        case 0:
            return mutate_json(rng, document)
        case 1:
            return mutant([Seed(raw)], number)
        case 2:
            return raw[: rng.randrange(len(raw))]
        case _:
            # Short words in place of the vectors, which would take nearly every change.
            vectors = [row.get("embedding") for row in document["data"]]
            short = [row | {"embedding": f"<{at}>"} for at, row in enumerate(document["data"])]
            changed = mutate_json(rng, document | {"data": short})
            for at, vector in enumerate(vectors):
                changed = changed.replace(f'"<{at}>"'.encode(), json.dumps(vector).encode())
            return changed


def odd_headers(rng: random.Random) -> list[tuple[bytes, bytes]]:
    """Headers that mean something to a client, with values that mean nothing."""
    names = (
        *(b"retry-after", b"retry-after-ms", b"date", b"x-request-id", b"location"),
        *(b"content-type", b"set-cookie", b"server", b"content-length"),
    )
    numbers = (b"0", b"-1", b"1e30", b"1e999", b"9" * 5000, b"nan", b"inf", b"0x10", b"", b"1_0", b"\xd9\xa1")
    words = (
        *(
            b"Mon, 01 Jan 99999999999999999999 00:00:00 GMT",
            b"Mon, 01 Jan 0001 00:00:00 +2359",
            b"\x1b[2J",
            b"a" * 9999,
        ),
        *(b"http://[::1", b"//evil.example", b"http://a:99999999/", b"a=b; expires=never; domain=.\xff", b"\xff\xfe"),
        *(b"application/json; charset=nonsense", b"text/html; charset=utf-16"),
    )
    chosen = rng.sample(names, rng.randrange(1, 5))
    return [(name, rng.choice((*numbers, *words, mutant([Seed(rng.choice(words))], rng.randrange(10**6)).replace(
        b"\r", b"").replace(b"\n", b"")))) for name in chosen]  # fmt: skip


def pack(rng: random.Random, body: bytes, number: int) -> tuple[bytes, bytes]:
    """A compressed body, damaged, and the name of an encoding."""
    name = rng.choice((b"gzip", b"deflate", b"gzip, gzip", b"br", b"zstd", b"identity", b"GZIP", b"nonsense", b"\xff"))
    packer = zlib.compressobj(wbits=31 if rng.random() < 0.7 else 15)
    packed = packer.compress(body if rng.random() < 0.9 else b" " * 50_000_000) + packer.flush()
    return (mutant([Seed(packed)], number) if rng.random() < 0.8 else packed), name


# The targets of the boxes


def read_rows_of(number: int, dialect: str) -> str:
    """A list of rows, damaged."""
    rng = random.Random(f"{dialect} {number}")
    moved = number % 2 == 0

    def answer(request: httpx.Request) -> httpx.Response:
        right = right_answer(request, dialect)
        body = move_rows(rng, right, indexed=DIALECTS[dialect].indexed) if moved else damage(rng, right, number)
        return httpx.Response(200, content=body)

    kind = rng.choice(("base64", "float", "ubinary", "binary"))
    return ask(number, dialect, answer, kind, moved=moved)


def read_refusal(number: int, dialect: str) -> str:
    """An error's body, damaged, under any status."""
    rng = random.Random(f"{dialect} {number}")
    said = rng.choice(REFUSALS)
    body = mutate_json(rng, said) if number % 4 else mutant([Seed(json.dumps(said).encode())], number)
    status = rng.choice(STATUSES)
    return ask(
        number, dialect, lambda _: httpx.Response(status, headers=odd_headers(rng), stream=httpx.ByteStream(body))
    )


def read_envelope(number: int, dialect: str) -> str:
    """Right rows or a refusal, under odd headers and broken compression."""
    rng = random.Random(f"{dialect} {number}")

    def answer(request: httpx.Request) -> httpx.Response:
        body, status, headers = json.dumps(right_answer(request, dialect)).encode(), 200, odd_headers(rng)
        if rng.random() < 0.3:
            body, status = json.dumps(rng.choice(REFUSALS)).encode(), rng.choice(STATUSES)
        if rng.random() < 0.7:
            body, encoding = pack(rng, body, number)
            headers.append((b"content-encoding", encoding))
        return httpx.Response(status, headers=headers, stream=httpx.ByteStream(body))

    return ask(number, dialect, answer)


def ask(
    number: int,
    dialect: str,
    answer: Callable[[httpx.Request], httpx.Response],
    kind: str = "base64",
    *,
    moved: bool = True,
) -> str:
    """Embed three texts of which the first request is answered by `answer`; every row that comes has to be right.

    With `moved` by its content, else by what a second reader makes of the damaged answer.
    """
    bodies: list[bytes] = []

    def handle(request: httpx.Request) -> httpx.Response:
        response = httpx.Response(200, json=right_answer(request, dialect)) if bodies else answer(request)
        bodies.append(response.content if hasattr(response, "_content") else b"")
        return response

    async def ahandle(request: httpx.Request) -> httpx.Response:
        return handle(request)

    batch = Batch(
        modality="text",
        texts=TEXTS,
        dimensions=None if dialect in WIDTHS else 32,
        isolate_errors=number % 3 == 0,
    )
    is_async = number % 8 == 5
    clients: dict[str, Any] = (
        {"async_http_client": httpx.AsyncClient(transport=httpx.MockTransport(ahandle))}
        if is_async
        else {"http_client": httpx.Client(transport=httpx.MockTransport(handle))}
    )
    backend = ApiBackend(
        "jina-clip-v2",
        api_key=KEY,
        base_url="http://127.0.0.1:9/v1",
        dialect=dialect,
        embedding_type=kind,
        retry=NO_WAITS,
        max_retries=1,
        max_response_bytes=4_000_000,
        token_budget=100_000,
        **clients,
    )
    try:
        result = asyncio.run(backend.aembed(batch)) if is_async else backend.embed(batch)
    except (BackendError, InputError) as error:
        check_message(error)
        return type(error).__name__
    if not moved and len(bodies) == 1 and not result.errors:
        check_rows(result.vectors, read_again(bodies[0], kind, indexed=DIALECTS[dialect].indexed))
        return "read"
    check_content(result, kind, WIDTHS.get(dialect, 32))
    assert backend.tokens_spent <= 100_000
    return "isolated" if result.errors else "read" if len(bodies) == 1 else "asked again"


def check_message(error: Exception) -> None:
    """A message is one printable line of bounded length, without the key."""
    for text in (str(error), str(getattr(error, "code", None)), str(getattr(error, "request_id", None))):
        assert text.isprintable(), ascii(text)
        assert len(text) < 1500, len(text)
        assert KEY not in text


def check_content(result: BatchResult, kind: str, width: int) -> None:
    """Every row is that of its text, and every text has a row or an error."""
    assert result.positions is None
    assert len(result.vectors) == len(TEXTS)
    places = [place for place in range(len(TEXTS)) if place not in result.errors]
    for error in result.errors.values():
        check_message(error)
    rows = [vector_of(TEXTS[place], width=width) for place in places]
    check_rows(result.vectors[places], [np.packbits(row > 0) if kind in ("binary", "ubinary") else row for row in rows])


def check_rows(rows: NDArray[Any], right: Sequence[Any]) -> None:
    """The rows are these, of whatever length, and usable."""
    assert len(rows) == len(right)
    for row, other in zip(rows, right, strict=True):
        assert np.isfinite(row).all()
        if row.dtype == np.uint8:
            np.testing.assert_array_equal(row, other)
        else:
            np.testing.assert_allclose(unit(row), unit(other), atol=1e-6)


def unit(row: NDArray[Any]) -> NDArray[Any]:
    """The row with length 1, in float64."""
    row = row.astype(np.float64)
    return row / np.linalg.norm(row)


def read_again(body: bytes, kind: str, *, indexed: bool, items: int = len(TEXTS)) -> list[NDArray[Any]]:
    """The rows of an answer in the request's order, by a reader that shares nothing with the package's."""
    data = json.loads(body)["data"]
    assert len(data) == items
    if not indexed and all(row.get("index") is None for row in data):
        return [read_vector(row["embedding"], kind) for row in data]
    found = []
    for place in range(items):
        of_it = [row for row in data if type(row["index"]) in (int, float) and row["index"] == place]
        assert len(of_it) == 1
        found.append(read_vector(of_it[0]["embedding"], kind))
    return found


def read_vector(embedding: Any, kind: str) -> NDArray[Any]:
    """One embedding as float32, or as packed bits where they were asked for."""
    packed = kind in ("binary", "ubinary")
    if isinstance(embedding, str):
        raw = base64.b64decode(embedding, validate=True)
        row = np.array(struct.unpack(f"<{len(raw) // 4}f", raw), np.float32)
        return np.packbits(row > 0) if packed else row
    assert all(type(number) in (int, float) for number in embedding)
    if packed and len(embedding) in (4, 128):
        return np.array([number + (128 if kind == "binary" else 0) for number in embedding])
    row = np.array([np.float32(number) for number in embedding])
    return np.packbits(row > 0) if packed else row


# The tests


@pytest.mark.parametrize("dialect", DIALECTS)
def test_damaged_rows(dialect: str, effort: int) -> None:
    result = run_boxed("tests.fuzz.test_answers:read_rows_of", dialect, count=500 * effort)
    assert not result.failures, result
    assert {"read", "asked again"} <= result.outcomes.keys()
    assert result.outcomes["asked again"] > result.tried // 3


@pytest.mark.parametrize("dialect", ["jina", "invocations"])
def test_damaged_refusals(dialect: str, effort: int) -> None:
    result = run_boxed("tests.fuzz.test_answers:read_refusal", dialect, count=1000 * effort)
    assert not result.failures, result
    expected = {
        "asked again",
        "AuthenticationError",
        "InvalidRequestError",
        "InsufficientBalanceError",
        "RateLimitError",
    }
    assert expected <= result.outcomes.keys()


@pytest.mark.parametrize("dialect", ["jina", "openai"])
def test_odd_headers_and_broken_compression(dialect: str, effort: int) -> None:
    result = run_boxed("tests.fuzz.test_answers:read_envelope", dialect, count=400 * effort)
    assert not result.failures, result
    assert {"read", "asked again", "InvalidResponseError"} <= result.outcomes.keys()


NUMBERS = st.floats(width=32) | st.floats() | st.integers() | st.booleans() | st.none()
VECTORS = (
    st.lists(NUMBERS, max_size=5)
    | st.lists(st.floats(-1, 1, width=32), min_size=4, max_size=4)
    | st.lists(st.floats(-1, 1, width=32), min_size=4, max_size=4).map(
        lambda row: base64.b64encode(struct.pack("<4f", *row)).decode()
    )
    | st.binary(max_size=20).map(lambda data: base64.b64encode(data).decode())
    | st.text(max_size=8)
)
ROWS = st.fixed_dictionaries(
    {"embedding": VECTORS},
    optional={"index": st.integers(-1, 3) | st.sampled_from((0.0, 1.0, 2.0, True, None, "0", 0.5))},
)


@settings(max_examples=500, deadline=None)
@given(
    st.lists(ROWS, max_size=4) | st.permutations([0, 1, 2]).flatmap(
        lambda order: st.tuples(*(VECTORS.map(lambda row, at=at: {"index": at, "embedding": row}) for at in order))
    ),
    st.sampled_from(("base64", "float", "ubinary", "binary")),
    st.booleans(),
    st.sampled_from((4, None)),
)  # fmt: skip
def test_any_rows(rows: Sequence[Any], kind: str, indexed: bool, full: int | None) -> None:
    body = json.dumps({"data": list(rows)}).encode()
    expected = Expected(items=3, full=full, embedding_type=kind, indexed=indexed)
    try:
        found = read_rows(Response(200, {}, body), expected).vectors
    except InvalidResponseError as error:
        placed = {row.get("index") for row in rows if isinstance(row.get("index"), (int, float))}
        target(float(len(placed & {0, 1, 2})) + 2.0 * bool(error.positions), label="how far the reader gets")
        return
    target(10.0, label="how far the reader gets")
    assert len(found) == 3
    if full is not None and kind in ("base64", "float"):
        check_rows(found, read_again(body, kind, indexed=indexed))
        assert found.any(axis=1).all()


@settings(max_examples=300, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.sampled_from(
                    ("detail", "error", "errors", "message", "code", "request_id", "field", "loc", "msg", "type")
                )
                | st.text(max_size=5),
                inner,
                max_size=5,
            )
        ),
        max_leaves=20,
    ),
    st.sampled_from(STATUSES),
)
def test_any_refusal(document: Any, status: int) -> None:
    refused = read_error_response(
        Response(status, {}, json.dumps(document).encode()), items=3, sent=TEXTS, secrets=[KEY]
    )
    target(
        float(len(refused.message) > 0) + len(refused.items) + 2.0 * (refused.code is not None), label="what was found"
    )
    check_message(refused.error("example.org", address="https://example.org/v1/embeddings"))
    assert all(0 <= place < 3 for place in refused.items)
