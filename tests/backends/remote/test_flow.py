"""The request flow alone: hand-made replies, a clock that only moves when told, no client and no event loop."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import httpx
import numpy as np
import pytest

from jina_clip_integrations import ApiBackend, errors
from jina_clip_integrations.backends.base import Batch, Usage
from jina_clip_integrations.backends.remote.encodings import Expected
from jina_clip_integrations.backends.remote.flow import Outcome, request_flow
from jina_clip_integrations.backends.remote.limits import REQUESTS_LEFT, Limits
from jina_clip_integrations.backends.remote.requests import (
    EncodedItem,
    RequestBatch,
    RequestBatcher,
    RequestCaps,
    RequestTemplate,
)
from jina_clip_integrations.backends.remote.responses import Response
from jina_clip_integrations.backends.remote.scheduler import Scheduler
from jina_clip_integrations.backends.remote.service import CallRecord, Clock, Service
from jina_clip_integrations.backends.remote.transport import Reply, Send, TransportFailure
from jina_clip_integrations.concurrency.waits import Wait
from jina_clip_integrations.settings import RetryPolicy
from tests.faulty_server import encode, flat, vector_of

WIDTH = 16


def batch(*texts: str, isolate: bool = False, modality: Any = "text", **how: Any) -> RequestBatch:
    template = RequestTemplate(
        modality=modality,
        head={"model": "m"},
        items_field="input",
        expected=Expected(items=0, full=WIDTH),
        isolate_errors=isolate,
        **how,
    )
    items = (
        EncodedItem(at + 10, json.dumps({"text": text}).encode(), tokens=5, blank=not text.strip())
        for at, text in enumerate(texts)
    )
    return RequestBatch(template, tuple(items))


class Stage:
    """Plays the other side of a flow."""

    def __init__(self, *, max_retries: int = 3, retry: RetryPolicy | None = None, **limits: Any) -> None:
        self.now = 100.0
        self.waits: list[float] = []
        self.bodies: list[dict[str, Any]] = []
        self.records: list[CallRecord] = []
        self.service = Service(
            name="example.org",
            limits=Limits(**({"max_concurrency": 4} | limits)),
            max_retries=max_retries,
            retry=retry or RetryPolicy(),
            clock=Clock(now=lambda: self.now, wall=lambda: 1_700_000_000.0, chance=lambda: 0.0),
            on_request=self.records.append,
        )

    def play(self, batch: RequestBatch, replies: Iterable[Any]) -> Outcome:
        """Run one piece against `replies`; "good" is a right answer to whatever was sent."""
        flow, waiting, reply = request_flow(batch, self.service), iter(replies), None
        while True:
            try:
                step = flow.send(reply)
            except StopIteration as done:
                return done.value
            if isinstance(step, Send):
                self.bodies.append(json.loads(step.body()))
                self.now += 0.25
                reply = self.reply(next(waiting))
            else:
                assert step.seconds is not None, "waits for a turn that nobody gives back"
                self.waits.append(step.seconds)
                self.now += step.seconds
                reply = None

    def reply(self, given: Any) -> Reply:
        if given == "good":
            return good(self.bodies[-1])
        if isinstance(given, int):
            return Response(given, {}, b"{}")
        return given

    def fails(self, batch: RequestBatch, replies: Iterable[Any]) -> Any:
        with pytest.raises(errors.JinaClipError) as caught:
            self.play(batch, replies)
        return caught.value


def good(body: dict[str, Any], **headers: str) -> Response:
    rows = [vector_of(item["text"], width=WIDTH) for item in body["input"]]
    data = [{"index": at, "embedding": encode(row, "base64")} for at, row in enumerate(rows)]
    return Response(200, headers, json.dumps({"data": data, "usage": {"total_tokens": 3 * len(rows)}}).encode())


def error_response(status: int, code: str | None = None, message: str = "no", **headers: str) -> Response:
    body = {"detail": message} | ({"code": code} if code else {})
    return Response(
        status, {name.replace("_", "-"): value for name, value in headers.items()}, json.dumps(body).encode()
    )


def spoilt(count: int, **changes: Any) -> Response:
    data = [{"index": at, "embedding": encode(vector_of("x", width=WIDTH), "base64")} for at in range(count)]
    data[0].update(changes)
    return Response(200, {}, json.dumps({"data": data, "usage": {"total_tokens": 7}}).encode())


def lost(**how: Any) -> TransportFailure:
    return TransportFailure(errors.ApiConnectionError("example.org: gone"), **how)


TIMED_OUT = TransportFailure(errors.ApiTimeoutError("example.org: too slow"))


def test_a_good_answer() -> None:
    stage = Stage()
    result = stage.play(batch("a", "b"), ["good"]).result
    assert result is not None
    np.testing.assert_array_equal(result.vectors, [vector_of(text, width=WIDTH) for text in "ab"])
    assert list(result.positions or ()) == [10, 11]
    assert (result.usage.total_tokens, result.usage.requests, result.usage.items) == (6, 1, 2)
    assert stage.bodies == [{"model": "m", "input": [{"text": "a"}, {"text": "b"}]}]
    assert stage.waits == []


@pytest.mark.obligation("13")
@pytest.mark.parametrize("failure", [408, 409, 429, 500, 502, 503, 504, 520, 527, 529, lost(), TIMED_OUT])
def test_what_passes_is_tried_again(failure: Any) -> None:
    stage = Stage()
    outcome = stage.play(batch("a"), [failure, failure, "good"])
    assert outcome.result is not None
    assert outcome.result.usage.requests == 3
    assert [record.attempt for record in stage.records] == [1, 2, 3]
    assert len(stage.waits) == 2
    assert stage.waits[0] < stage.waits[1]


@pytest.mark.obligation("12")
@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 405, 410, 413, 415, 418, 422, 501, 302])
def test_what_does_not_pass_is_not_tried_again(status: int) -> None:
    stage = Stage()
    error = stage.fails(batch("a"), [status])
    assert isinstance(error, (errors.ApiError, errors.InputError))
    assert len(stage.bodies) == 1
    assert stage.waits == []


@pytest.mark.obligation("13")
@pytest.mark.parametrize(
    ("failure", "cls"),
    [
        (408, errors.ApiTimeoutError),
        (429, errors.RateLimitError),
        (500, errors.ServerError),
        (504, errors.ServerError),
        (lost(), errors.ApiConnectionError),
        (TIMED_OUT, errors.ApiTimeoutError),
    ],
)
@pytest.mark.parametrize("max_retries", [0, 2])
def test_attempts_are_bounded(failure: Any, cls: type[Exception], max_retries: int) -> None:
    stage = Stage(max_retries=max_retries)
    error = stage.fails(batch("a"), [failure] * 9)
    assert type(error) is cls
    assert len(stage.bodies) == max_retries + 1
    assert f"after {max_retries + 1} attempt" in str(error)
    assert error.positions == (10,)


@pytest.mark.obligation("13")
def test_total_time_is_bounded() -> None:
    stage = Stage(max_retries=99, retry=RetryPolicy(longest_total_s=60))
    stage.fails(batch("a"), [503] * 99)
    assert stage.now - 100.0 <= 61


@pytest.mark.obligation("14")
def test_the_servers_wait_is_honoured() -> None:
    stage = Stage()
    stage.play(batch("a"), [error_response(503, retry_after="17"), "good"])
    assert stage.waits == [17.0]


@pytest.mark.obligation("14")
def test_a_huge_wait_fails_at_once() -> None:
    stage = Stage()
    error = stage.fails(batch("a"), [error_response(429, retry_after="86400")])
    assert isinstance(error, errors.RateLimitError)
    assert error.retry_after_s == 86400
    assert "86400 s" in str(error)
    assert stage.waits == []


@pytest.mark.obligation("28")
def test_a_rate_limit_holds_everybody_else_too() -> None:
    stage = Stage()
    stage.play(batch("a"), [error_response(429, "RATE_TOKEN_LIMIT_EXCEEDED"), "good"])
    assert stage.waits[0] == 10.0
    stage.now = 100.0
    stage.service.limits.hold(130.0)
    stage.play(batch("b"), ["good"])
    assert stage.waits[-1] == 30.0


@pytest.mark.obligation("28")
def test_too_many_at_once_lowers_the_limit() -> None:
    stage = Stage(max_concurrency=8)
    concurrency = stage.service.limits.concurrency
    concurrency.limit = 8
    stage.play(batch("a"), [error_response(429, "RATE_CONCURRENCY_LIMIT_EXCEEDED", "9/3 concurrent requests"), "good"])
    assert (concurrency.limit, concurrency.ceiling) == (3, 3)


def test_a_stale_connection_costs_no_attempt_but_only_once() -> None:
    stage = Stage(max_retries=0)
    assert stage.play(batch("a"), [lost(stale=True, sent=False), "good"]).result is not None
    assert stage.waits == []
    stage.fails(batch("a"), [lost(stale=True), lost(stale=True)])
    assert len(stage.bodies) == 4


def test_other_ways_of_not_sending_are_final() -> None:
    stage = Stage()
    stage.fails(batch("a"), [TransportFailure(errors.ApiError("no such scheme"))])
    assert len(stage.bodies) == 1


# Answers that are no rows


@pytest.mark.obligation("24")
@pytest.mark.parametrize(
    "answer",
    [spoilt(2, index=1), spoilt(2, embedding=[0.0] * WIDTH), spoilt(3), Response(200, {}, b"<html>"), Response(204)],
)
def test_a_bad_answer_is_asked_for_again_like_any_failure(answer: Response) -> None:
    stage = Stage()
    assert stage.play(batch("a", "b"), [answer, 503, answer, "good"]).result is not None
    error = stage.fails(batch("a", "b"), [answer] * 9)
    assert type(error) is errors.InvalidResponseError
    assert len(stage.bodies) == 8


@pytest.mark.obligation("6")
def test_a_bad_row_names_its_item() -> None:
    error = Stage().fails(batch("a", "b"), [spoilt(2, embedding=[0.0] * WIDTH)] * 4)
    assert error.positions == (10,)
    assert "(input 10)" in str(error)


def test_a_bad_row_is_isolated_when_asked() -> None:
    stage = Stage()
    outcome = stage.play(batch("a", "b", "c", isolate=True), [spoilt(3, embedding="?")])
    assert [part.positions for part in outcome.batches] == [(11, 12), (10,)]
    alone = stage.play(outcome.batches[1], [spoilt(1, embedding="?")] * 4)
    assert alone.result is not None
    assert isinstance(alone.result.errors[10], errors.InvalidResponseError)


@pytest.mark.obligation("11", "24")
def test_an_error_in_a_200_counts_by_its_code() -> None:
    stage = Stage()
    assert stage.play(batch("a"), [error_response(200, "INTERNAL_ERROR"), "good"]).result is not None
    assert type(stage.fails(batch("a"), [error_response(200, "AUTH_INVALID_API_KEY")])) is errors.AuthenticationError


# Cutting


@pytest.mark.obligation("29")
def test_too_large_is_halved_down_to_one() -> None:
    stage = Stage()
    outcome = stage.play(batch("a", "b", "c"), [413])
    assert [part.positions for part in outcome.batches] == [(10, 11), (12,)]
    assert outcome.batches[0].prior.requests == 1
    error = stage.fails(outcome.batches[1], [413])
    assert type(error) is errors.InputError
    assert error.index == 12
    assert isinstance(error.__cause__, errors.InvalidRequestError)


@pytest.mark.obligation("29")
def test_a_gateway_timeout_is_repeated_once_and_then_halved() -> None:
    outcome = Stage().play(batch("a", "b"), [504, error_response(504, "SERVICE_TIMEOUT")])
    assert [part.positions for part in outcome.batches] == [(10,), (11,)]


@pytest.mark.obligation("12")
def test_at_most_n_items_is_learnt() -> None:
    stage = Stage()
    outcome = stage.play(batch(*"abcde"), [error_response(422, None, "List should have at most 2 items")])
    assert [part.positions for part in outcome.batches] == [(10, 11), (12, 13), (14,)]
    assert stage.service.limits.item_cap == 2
    error = stage.fails(
        outcome.batches[0], [error_response(422, None, "at most 1 items")]
    )  # it does not know what it wants
    assert type(error) is errors.InvalidRequestError


# Whose fault


def field_error(where: str, message: str = "bad") -> Response:
    listed = [{"field": where, "message": message, "input": "…"}]
    return Response(422, {}, json.dumps({"detail": "x", "errors": listed}).encode())


def test_the_item_that_the_service_names_is_named() -> None:
    error = Stage().fails(batch("a", "b", modality="image"), [field_error("body -> m -> input -> 1 -> image")])
    assert type(error) is errors.ImageError
    assert error.index == 11
    assert isinstance(error.__cause__, errors.InvalidRequestError)
    assert error.__cause__.status_code == 422


def test_an_empty_text_is_suspected_first() -> None:
    error = Stage().fails(batch("a", " ", "c"), [400])
    assert type(error) is errors.InputError
    assert error.index == 11
    assert "empty text" in str(error)


@pytest.mark.parametrize(
    "answer",
    [400, 422, field_error("body -> m -> dimensions"), error_response(400, "INPUT_MODEL_NOT_FOUND"), 404, 415],
)
@pytest.mark.parametrize("texts", [("a",), ("a", "b"), ("", "b")])
def test_otherwise_the_range_is_named(answer: Any, texts: tuple[str, ...]) -> None:
    if "" in texts and answer in (400, 422):
        return
    error = Stage().fails(batch(*texts), [answer])
    assert type(error) is errors.InvalidRequestError
    assert error.positions == tuple(range(10, 10 + len(texts)))


def test_a_lone_item_that_is_called_too_long_is_named() -> None:
    error = Stage().fails(batch("a"), [error_response(400, "INPUT_TOKEN_LIMIT_EXCEEDED", "too long")])
    assert type(error) is errors.InputError
    assert error.index == 10


@pytest.mark.obligation("30")
def test_a_bad_item_is_found_by_halves() -> None:
    stage = Stage()
    queue = [batch(*"abcdefg", isolate=True)]
    found: dict[int, Any] = {}
    rows: set[int] = set()
    while queue:
        part = queue.pop()
        bad = any(item.json == b'{"text": "f"}' for item in part.items)
        outcome = stage.play(part, [error_response(400, "INPUT_WHATEVER") if bad else "good"])
        queue += outcome.batches
        if outcome.result is not None:
            found.update(outcome.result.errors)
            rows.update(outcome.result.positions or ())
    assert list(found) == [15]
    assert type(found[15]) is errors.InputError
    assert found[15].index == 15
    assert rows == {10, 11, 12, 13, 14, 16}
    assert len(stage.bodies) <= 7


@pytest.mark.parametrize(
    ("isolate", "reply"),
    [
        pytest.param(True, field_error("body -> m -> input -> 1"), id="named"),
        pytest.param(True, spoilt(4, embedding="?"), id="bad row"),
        pytest.param(False, 413, id="too large"),
        pytest.param(False, error_response(422, None, "at most 2 items"), id="too many"),
    ],
)
def test_what_was_spent_in_vain_counts_once(isolate: bool, reply: Any) -> None:
    part = replace(batch(*"abcd", isolate=isolate), prior=Usage(requests=5))
    outcome = Stage().play(part, [reply])
    usages = [part.prior for part in outcome.batches]
    usages += [] if outcome.result is None else [outcome.result.usage]
    assert sum(usage.requests for usage in usages) == 5 + 1


def test_it_counts_once_where_the_cap_is_learnt_from_another_request() -> None:
    limits, started = Limits(max_concurrency=9), []
    batcher = RequestBatcher(
        batch().template, 0, lambda _: pytest.fail("encoded"), RequestCaps(items=9, bytes=9, tokens=9), threads=False
    )
    scheduler = Scheduler(batcher, limits)
    scheduler.add([replace(batch(*"abcde"), prior=Usage(requests=5))])
    limits.cap_items(2)
    for _ in range(2):  # 2 are in flight to begin with
        scheduler.launch(lambda part: started.append(part) or len(started), lambda: pytest.fail("encoded"))
        scheduler.running.clear()
    assert [part.positions for part in started] == [(10, 11), (12, 13), (14,)]
    assert [part.prior.requests for part in started] == [5, 0, 0]


@pytest.mark.obligation("30")
def test_a_named_bad_item_is_left_out_at_once() -> None:
    outcome = Stage().play(batch(*"abcd", isolate=True), [field_error("body -> m -> input -> 2")])
    assert outcome.result is not None
    assert list(outcome.result.errors) == [12]
    assert [part.positions for part in outcome.batches] == [(10, 11, 13)]


@pytest.mark.parametrize(
    "answer", [401, 402, 404, field_error("body -> m -> task"), error_response(403, "AUTHZ_X"), 405]
)
def test_what_is_not_about_items_is_raised_even_when_isolating(answer: Any) -> None:
    stage = Stage()
    assert isinstance(stage.fails(batch("a", "b", isolate=True), [answer]), errors.ApiError)
    assert len(stage.bodies) == 1


# Limits and records


def test_budget_stops_before_sending() -> None:
    stage = Stage(token_budget=12)
    stage.play(batch("a", "b"), ["good"])
    assert stage.service.limits.tokens_spent == 6  # what the service counted, not the estimate of 10
    [first, rest] = stage.play(batch("a", "b"), []).batches  # there is room for one of them
    assert (first.positions, rest.positions) == ((10,), (11,))
    stage.play(first, ["good"])
    error = stage.fails(rest, ["good"])
    assert type(error) is errors.BudgetExceededError
    assert len(stage.bodies) == 2


def test_a_budget_waits_for_what_is_under_way() -> None:
    service = Stage(token_budget=12).service
    first, second = (request_flow(batch("a", "b"), service) for _ in range(2))
    sent = next(first)
    waiting = next(second)
    assert isinstance(sent, Send)
    assert isinstance(waiting, Wait)
    assert not waiting.until.done()
    with pytest.raises(StopIteration):
        first.send(good(json.loads(sent.body())))
    assert waiting.until.done()
    with pytest.raises(StopIteration) as split:  # 6 of 12 are spent and 10 may be needed
        second.send(None)
    assert [part.positions for part in split.value.value.batches] == [(10,), (11,)]


@pytest.mark.obligation("26")
@pytest.mark.parametrize(
    ("reply", "spent"),
    [(503, 0), (lost(sent=False), 0), (lost(), 5), (TIMED_OUT, 5), (spoilt(2), 7), ("good", 3)],
)
def test_what_counts_against_the_budget(reply: Any, spent: int) -> None:
    stage = Stage(max_retries=0, token_budget=100)
    with suppress(errors.ApiError):
        stage.play(batch("a"), [reply])
    assert stage.service.limits.tokens_spent == spent


@pytest.mark.obligation("27")
def test_pace_is_kept() -> None:
    stage = Stage(requests_per_minute=2)
    for _ in range(3):
        stage.play(batch("a"), ["good"])
    assert stage.waits == [pytest.approx(59.5)]


@pytest.mark.obligation("28")
def test_a_pace_that_the_service_names_is_kept() -> None:
    stage = Stage()
    slower = error_response(429, "RATE_REQUEST_LIMIT_EXCEEDED", "Request rate limit exceeded: 3/2 requests per minute")
    stage.play(batch("a"), [slower, "good"])
    stage.play(batch("a"), ["good"])
    stage.play(batch("a"), ["good"])
    assert stage.waits == [2.0, pytest.approx(59.5)]


@pytest.mark.obligation("27")
def test_remaining_headers_are_heeded() -> None:
    stage = Stage()
    stage.play(batch("a"), [good({"input": [{"text": "a"}]}, **{REQUESTS_LEFT: "0"})])
    stage.play(batch("a"), ["good"])
    assert stage.waits == [60.0]


@pytest.mark.obligation("22")
def test_turns_are_given_back_however_it_ends() -> None:
    stage = Stage(max_concurrency=1, max_retries=0)
    concurrency = stage.service.limits.concurrency
    for reply in (400, 503, lost(), "good", spoilt(1, embedding="?")):
        with suppress(errors.ApiError):
            stage.play(batch("a"), [reply])
    abandoned = request_flow(batch("a"), stage.service)
    assert isinstance(next(abandoned), Send)
    waiting = request_flow(batch("a"), stage.service)
    next(waiting)
    waiting.close()
    abandoned.close()
    assert concurrency.acquire().done()


@pytest.mark.obligation("26")
def test_what_is_abandoned_on_the_wire_counts_against_the_budget() -> None:
    stage = Stage(token_budget=100)
    flow = request_flow(batch("a", "b"), stage.service)
    assert isinstance(next(flow), Send)
    flow.close()
    assert stage.service.limits.tokens_spent == 10


@pytest.mark.obligation("21", "37")
def test_records_hold_figures_only() -> None:
    stage = Stage()
    stage.play(batch("private"), [lost(), error_response(500), "good"])
    assert [(record.status, record.error, record.total_tokens) for record in stage.records] == [
        (None, "ApiConnectionError", 0),
        (500, None, 0),
        (200, None, 3),
    ]
    assert all(record.seconds == 0.25 and record.items == 1 for record in stage.records)
    assert "private" not in repr(stage.records)


@pytest.mark.obligation("37")
def test_a_failing_hook_costs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage()

    def broken(record: CallRecord) -> None:
        raise RuntimeError("metrics are down")

    stage.service.on_request = broken
    assert stage.play(batch("a"), ["good"]).result is not None
    assert "on_request failed" in caplog.text


@pytest.mark.obligation("9")
def test_unit_length_and_cut_are_made_here_if_the_server_did_not() -> None:
    row = np.arange(1, WIDTH + 1, dtype=np.float32)
    raw = Response(200, {}, json.dumps({"data": [{"index": 0, "embedding": row.tolist()}]}).encode())
    client = httpx.Client(transport=httpx.MockTransport(lambda request: httpx.Response(200, content=raw.body)))
    backend = ApiBackend("mine", base_url="http://localhost", dialect="invocations", http_client=client)
    cut = backend.embed(Batch(modality="text", texts=["a"], dimensions=4))
    left = backend.embed(Batch(modality="text", texts=["a"], normalize=False))
    np.testing.assert_allclose(cut.vectors[0], row[:4] / np.linalg.norm(row[:4]), rtol=1e-6)
    np.testing.assert_array_equal(left.vectors[0], row)


@pytest.mark.obligation("9")
def test_unit_vectors_stay_bit_identical() -> None:
    result = Stage().play(batch("a"), ["good"]).result
    assert result is not None
    np.testing.assert_array_equal(result.vectors[0], vector_of("a", width=WIDTH))


@pytest.mark.obligation("11")
def test_the_hosted_bodies_are_understood() -> None:
    answer = flat(403, "AUTHZ_INSUFFICIENT_BALANCE", "Insufficient account balance")
    error = Stage().fails(batch("a"), [Response(answer.status, {}, json.dumps(answer.body).encode())])
    assert type(error) is errors.InsufficientBalanceError
    assert error.positions == ()
