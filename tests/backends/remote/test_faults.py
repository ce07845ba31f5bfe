"""`ApiBackend` against a server that misbehaves in every known way, both faces alike."""

from __future__ import annotations

import json
import math
import time
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jina_clip_integrations import ApiBackend, errors
from jina_clip_integrations.vectors import pack_bits
from tests.backends.remote.faces import (
    FACES,
    FAST,
    embed,
    images,
    numbered,
    photo,
    positions,
    stream,
    texts,
)
from tests.faulty_server import (
    BODY_FAULTS,
    HARMLESS,
    KEY,
    ROW_FAULTS,
    FaultyServer,
    Refuse,
    flat,
    spoil,
    vectors_of,
)

pytestmark = pytest.mark.parametrize("face", FACES)


# Faults


@pytest.mark.obligation("5", "7", "24", "31", "36")
@pytest.mark.parametrize("fault", [*ROW_FAULTS, *BODY_FAULTS, *HARMLESS, "close", "close after"])
def test_one_fault_never_costs_a_row(face: str, server: FaultyServer, make: Any, fault: str) -> None:
    server.faults.extend([None, fault])
    result = embed(face, make(), numbered(12))
    np.testing.assert_array_equal(result.vectors, vectors_of(numbered(12).texts))


@pytest.mark.obligation("34")
def test_a_kept_connection_that_turns_out_closed_costs_no_attempt(face: str, server: FaultyServer, make: Any) -> None:
    server.faults.extend([None, "close"])
    result = embed(face, make(max_retries=0, batch_size=1, max_concurrency=1), texts("a", "b"))
    np.testing.assert_array_equal(result.vectors, vectors_of("ab"))
    server.faults.append("close")
    _, error = stream(face, make(max_retries=0), texts("a"))  # a new connection is no stale one
    assert type(error) is errors.ApiConnectionError


@pytest.mark.obligation("5", "6")
@pytest.mark.parametrize("fault", ROW_FAULTS)
def test_a_fault_that_stays_is_an_error(face: str, server: FaultyServer, make: Any, fault: str) -> None:
    server.faults.extend([fault] * 9)
    _, error = stream(face, make(max_retries=2), numbered(3))
    assert type(error) is errors.InvalidResponseError
    assert len(server.received) == 3


@pytest.mark.obligation("31")
@pytest.mark.parametrize("says", ["field", "words"])
@pytest.mark.parametrize("embedding_type", ["base64", "binary"])
def test_a_server_that_knows_no_encoding_is_asked_for_floats(
    face: str, server: FaultyServer, make: Any, says: str, embedding_type: str
) -> None:
    server.encodings = says
    backend = make(embedding_type=embedding_type, max_retries=0, batch_size=2, max_concurrency=1)
    wanted = vectors_of(numbered(9).texts)
    wanted = pack_bits(wanted) if embedding_type == "binary" else wanted
    for _ in range(2):
        np.testing.assert_array_equal(embed(face, backend, numbered(9)).vectors, wanted)
    assert ["embedding_type" in body for body in server.requests] == [True] + [False] * 10


@pytest.mark.obligation("16")
@pytest.mark.parametrize("fault", ["stall", "drip"])
def test_timeout_covers_the_whole_attempt(face: str, server: FaultyServer, make: Any, fault: str) -> None:
    server.faults.append(fault)
    began = time.monotonic()
    _, error = stream(face, make(timeout=0.4, max_retries=0), numbered(3))
    assert type(error) is errors.ApiTimeoutError
    assert isinstance(error, TimeoutError)
    assert time.monotonic() - began < 2.0


@pytest.mark.obligation("16")
def test_an_httpx_timeout_is_accepted(face: str, server: FaultyServer, make: Any) -> None:
    server.faults.append("stall")
    _, error = stream(face, make(timeout=httpx.Timeout(5.0, read=0.2), max_retries=0), numbered(3))
    assert type(error) is errors.ApiTimeoutError


def test_nobody_listens(face: str, make: Any) -> None:
    _, error = stream(face, make(base_url="http://127.0.0.1:9/v1", max_retries=1), numbered(3))
    assert type(error) is errors.ApiConnectionError
    assert "after 2 attempts" in str(error)
    assert isinstance(error.__cause__, ConnectionError)


@pytest.mark.obligation("36")
def test_an_answer_that_never_ends_is_not_read_to_its_end(face: str, server: FaultyServer, make: Any) -> None:
    _, error = stream(face, make(max_response_bytes=2000), numbered(3))
    assert type(error) is errors.InvalidResponseError
    assert "max_response_bytes" in str(error)
    assert len(server.received) == 1


TRANSIENT = [
    Refuse(408), Refuse(429, {"detail": "slow down"}), Refuse(500, b"<html>"), Refuse(502, b""), Refuse(504),
    Refuse(503, {"detail": {"message": "later", "code": "SERVICE_UNAVAILABLE"}}, {"Retry-After": "0"}),
    flat(429, "RATE_TOKEN_LIMIT_EXCEEDED", "Token rate limit exceeded: 1,000/2,000 tokens per minute"),
    flat(429, "RATE_CONCURRENCY_LIMIT_EXCEEDED", "Concurrency limit exceeded: 3/2 concurrent requests"),
    Refuse(422, {"detail": "Validation error: at most 3 items"}), Refuse(413, b"too large"), "lost",
]  # fmt: skip


@pytest.mark.obligation("13", "23")
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_any_faults_that_finally_clear_give_exactly_the_right_rows(face: str, data: st.DataObject) -> None:
    count = data.draw(st.integers(2, 14))
    faults = data.draw(st.lists(st.sampled_from([*TRANSIENT, *ROW_FAULTS, *HARMLESS, None]), max_size=12))
    state = FaultyServer()
    with fake_backend(state, faults, max_retries=12, batch_size=data.draw(st.integers(2, 6))) as backend:
        result = embed(face, backend, numbered(count))
    np.testing.assert_array_equal(result.vectors, vectors_of(numbered(count).texts))


def fake_backend(state: FaultyServer, faults: list[Any], **options: Any) -> ApiBackend:
    """A backend whose requests are answered in this process."""
    state.faults.extend(faults)

    def handle(request: httpx.Request) -> httpx.Response:
        fault = state.next_fault()
        if fault == "lost":
            raise httpx.ReadError("gone", request=request)
        few = request.content.count(b'{"text"') <= 3
        if isinstance(fault, Refuse) and not (few and fault.status in (413, 422)):
            answer = fault
        else:
            answer = state.answer(request.headers, request.content)
            if isinstance(fault, str) and answer.status == 200:
                answer = Refuse(200, spoil(answer.body, fault))
        body = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        return httpx.Response(answer.status, content=body, headers=answer.headers)

    transport = httpx.MockTransport(handle)
    return ApiBackend(
        "jina-clip-v2",
        api_key=KEY,
        retry=FAST,
        http_client=httpx.Client(transport=transport),
        async_http_client=httpx.AsyncClient(transport=transport),
        **options,
    )


SOCKET_FAULTS = ("stall", "reset", "close", "close after", "truncated", "broken json", "html", "empty", "error in 200")


@pytest.mark.obligation("13")
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_any_faults_on_real_connections_that_finally_clear_give_exactly_the_right_rows(
    face: str, data: st.DataObject
) -> None:
    """Every fault that the server knows, in any order, as many as may fall on one request and still be survived."""
    passing = [each for each in TRANSIENT if isinstance(each, Refuse) and each.status not in (413, 422)]
    faults = data.draw(st.lists(st.sampled_from([*ROW_FAULTS, *SOCKET_FAULTS, *HARMLESS, *passing, None]), max_size=10))
    count, batch_size = data.draw(st.integers(2, 14)), data.draw(st.integers(2, 6))
    ceilings = {
        "item_cap": data.draw(st.none() | st.integers(1, 6)),
        "overwhelmed": data.draw(st.none() | st.tuples(st.sampled_from([413, 504]), st.integers(1, 6))),
        "max_concurrency": data.draw(st.none() | st.integers(1, 3)),
        "encodings": data.draw(st.none() | st.sampled_from(["field", "words"])),
    }
    with FaultyServer(**ceilings) as server:
        server.faults.extend(faults)
        options = {"api_key": KEY, "base_url": server.url, "retry": FAST, "timeout": 0.25, "max_retries": 20}
        with ApiBackend("jina-clip-v2", batch_size=batch_size, **options) as backend:
            result = embed(face, backend, numbered(count))
    np.testing.assert_array_equal(result.vectors, vectors_of(numbered(count).texts))


# Too much at a time


@pytest.mark.obligation("29")
@pytest.mark.parametrize("status", [413, 504])
@pytest.mark.parametrize("most", [1, 3])
def test_a_request_that_is_too_much_is_halved(
    face: str, server: FaultyServer, make: Any, status: int, most: int
) -> None:
    server.overwhelmed = (status, most)
    result = embed(face, make(batch_size=16), numbered(16))
    np.testing.assert_array_equal(result.vectors, vectors_of(numbered(16).texts))
    sizes = [len(body["input"]) for body in server.requests]
    assert sizes.count(16) == (2 if status == 504 else 1)  # a gateway timeout is tried once more as it is
    assert set(sizes) <= {16, 8, 4, 2, 1}


@pytest.mark.obligation("29")
@pytest.mark.parametrize("isolate", [False, True])
def test_one_item_that_is_too_much_is_named(face: str, server: FaultyServer, make: Any, isolate: bool) -> None:
    server.overwhelmed = (413, 0)
    results, error = stream(face, make(max_concurrency=1), numbered(4, isolate_errors=isolate))
    if isolate:
        assert error is None
        assert sorted(place for result in results for place in result.errors) == [0, 1, 2, 3]
    else:
        assert type(error) is errors.InputError
        assert error.index == 0
        assert isinstance(error.__cause__, errors.InvalidRequestError)


# The end of a job


@pytest.mark.obligation("15")
def test_the_first_refusal_of_the_account_ends_the_job(face: str, server: FaultyServer, make: Any) -> None:
    server.balance = 40  # enough for two requests of four texts of five tokens
    backend = make(max_concurrency=1)
    results, error = stream(face, backend, numbered(40))
    assert type(error) is errors.InsufficientBalanceError
    assert sorted(positions(results)) == list(range(8))
    assert len(server.received) == 3


@pytest.mark.obligation("15")
def test_embed_keeps_what_was_finished(face: str, server: FaultyServer, make: Any) -> None:
    server.balance = 20
    with pytest.raises(errors.InsufficientBalanceError) as caught:
        embed(face, make(max_concurrency=1), numbered(12))
    partial = caught.value.partial
    assert partial is not None
    np.testing.assert_array_equal(partial[:4], vectors_of(numbered(4).texts))
    assert np.isnan(partial[4:]).all()


@pytest.mark.obligation("12")
@pytest.mark.parametrize("key", ["jina_" + "x" * 60, "short"])
def test_a_wrong_key_is_not_tried_twice(face: str, server: FaultyServer, make: Any, key: str) -> None:
    _, error = stream(face, make(api_key=key), numbered(40))
    assert type(error) is errors.AuthenticationError
    assert error.request_id is not None
    assert len(server.received) <= 2  # what was on the wire already


@pytest.mark.obligation("26")
@pytest.mark.parametrize("counts", [1, 3])
@pytest.mark.parametrize("max_concurrency", [1, 8])
def test_the_budget_ends_the_job_before_it_is_overspent(
    face: str, server: FaultyServer, make: Any, counts: int, max_concurrency: int
) -> None:
    """Whether the service counts as estimated, or more: a text may have a token for every letter."""
    server.tokens_factor = counts
    backend = make(token_budget=400, batch_size=4, max_concurrency=max_concurrency)
    with pytest.raises(errors.BudgetExceededError) as caught:
        embed(face, backend, numbered(100))
    assert 300 < server.tokens_counted == backend.tokens_spent <= 400
    finished = ~np.isnan(caught.value.partial).any(axis=1)
    assert finished.sum() * 5 * counts == server.tokens_counted
    np.testing.assert_array_equal(caught.value.partial[finished], vectors_of(numbered(100).texts)[finished])


@pytest.mark.obligation("26")
@pytest.mark.parametrize("max_concurrency", [1, 8])
def test_the_first_requests_do_not_overspend_either(
    face: str, server: FaultyServer, make: Any, max_concurrency: int
) -> None:
    """Nothing is known yet of how the service counts: by estimate two whole requests would fit, and cost 240."""
    server.tokens_factor = 3
    backend = make(token_budget=100, batch_size=8, max_concurrency=max_concurrency)
    with pytest.raises(errors.BudgetExceededError):
        embed(face, backend, numbered(100))
    assert 60 < server.tokens_counted == backend.tokens_spent <= 100


@pytest.mark.obligation("26")
def test_a_budget_that_is_too_small_for_the_first_request_sends_nothing(
    face: str, server: FaultyServer, make: Any
) -> None:
    with pytest.raises(errors.BudgetExceededError, match="Nothing more was sent"):
        embed(face, make(token_budget=3999), images(photo(9, 9), photo(8, 9)))
    assert server.received == []


@pytest.mark.obligation("26")
def test_a_budget_knows_the_price_of_images_that_the_service_fetches(
    face: str, server: FaultyServer, make: Any
) -> None:
    linked = [photo(600, 600, seed, url=f"https://example.org/{seed}.png") for seed in range(3)]  # 4 tiles each
    backend = make(token_budget=40_000, resize_images=False, batch_size=1, max_concurrency=1)
    results, error = stream(face, backend, images(*linked))
    assert type(error) is errors.BudgetExceededError
    assert positions(results) == [0, 1]
    assert [body["input"] for body in server.requests] == [[{"image": image.url}] for image in linked[:2]]


@pytest.mark.obligation("12")
def test_at_most_n_items_is_learnt_for_the_rest_of_the_job(face: str, server: FaultyServer, make: Any) -> None:
    server.item_cap = 3
    backend = make(batch_size=10, max_concurrency=1)
    result = embed(face, backend, numbered(35))
    np.testing.assert_array_equal(result.vectors, vectors_of(numbered(35).texts))
    assert sum(len(body["input"]) > 3 for body in server.requests) == 1


@pytest.mark.obligation("30")
@pytest.mark.parametrize("shape", ["nested", "flat", "legacy"])
def test_bad_items_are_isolated(face: str, server: FaultyServer, make: Any, shape: str) -> None:
    server.poison = lambda item: item.get("text") in ("text number 3", "text number 17")
    server.errors = shape
    results, error = stream(face, make(batch_size=8), numbered(20, isolate_errors=True))
    assert error is None
    found = {place: each for result in results for place, each in result.errors.items()}
    assert sorted(found) == [3, 17]
    assert all(isinstance(each, errors.InputError) and each.index == place for place, each in found.items())
    assert sorted(positions(results)) == [place for place in range(20) if place not in (3, 17)]


def test_without_isolation_the_range_is_named(face: str, server: FaultyServer, make: Any) -> None:
    server.poison = lambda item: item.get("text") == "text number 5"
    results, error = stream(face, make(max_concurrency=1), numbered(12))
    assert type(error) is errors.InvalidRequestError
    assert error.positions == (4, 5, 6, 7)
    assert "inputs 4 to 7" in str(error)
    assert positions(results) == [0, 1, 2, 3]


@pytest.mark.obligation("4")
def test_an_unpaired_surrogate_is_refused_here(face: str, server: FaultyServer, make: Any) -> None:
    _, error = stream(face, make(), texts("fine", "\ud800"))
    assert type(error) is errors.InputError
    assert error.index == 1
    assert server.received == []


def test_a_model_that_is_not_there(face: str, server: FaultyServer, make: Any) -> None:
    _, error = stream(face, make("jina-clip-v9"), texts("a"))
    assert type(error) is errors.InvalidRequestError
    assert error.code == "INPUT_MODEL_NOT_FOUND"
    assert "name" in str(error)


@pytest.mark.obligation("26")
@pytest.mark.parametrize("factor", [1e30, 10**40, -3, -1e300, float("nan"), float("inf"), 1.01])
def test_a_count_that_cannot_be_is_replaced_by_the_estimate(
    face: str, server: FaultyServer, make: Any, factor: float
) -> None:
    server.balance, server.tokens_factor = math.inf, factor
    backend = make(token_budget=2000, tokens_per_minute=100_000, batch_size=4)
    result = embed(face, backend, numbered(20))
    np.testing.assert_array_equal(result.vectors, vectors_of(numbered(20).texts))
    assert len(server.requests) == 5
    assert 100 <= backend.tokens_spent < 2000  # by estimate
    assert result.usage.total_tokens == 0  # the service counted none
