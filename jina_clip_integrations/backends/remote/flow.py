"""One request, from its first attempt to its rows, written once for both faces.

`request_flow` is a generator that yields two kinds of step, *send this* and *wait this long (or for your turn)*, and is
sent the answers; retries, splitting, status mapping and parsing all live inside it and it touches neither a client
nor a clock of its own. `drive.py` performs the steps, blocking or awaiting.
"""

from __future__ import annotations

import json
import logging
import random
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import NoReturn, TypeAlias

from ...errors import (
    ApiConnectionError,
    ApiError,
    ApiTimeoutError,
    BudgetExceededError,
    ImageError,
    InputError,
    InvalidResponseError,
    JinaClipError,
)
from ...settings import RetryPolicy
from ...types import Modality
from ..base import BatchResult, Usage
from . import retry as waits
from .error_mapping import STOPPING, ErrorResponse, Kind, read_error_response
from .limits import Limits, Reservation, Ticket
from .requests import RequestBatch
from .responses import Response, Rows, read_rows, read_tokens

logger = logging.getLogger("jina_clip_integrations")


@dataclass(frozen=True)
class Send:
    """A step: send this and answer with a `Reply`."""

    body: Callable[[], bytes]
    """Builds the body; may take a while for large ones."""
    limit: int
    """Largest answer to read, in bytes."""


@dataclass(frozen=True)
class Wait:
    """A step: wait until `until` is done, at most `seconds`."""

    until: Future[None]
    seconds: float | None = None


@dataclass(frozen=True)
class TransportFailure:
    """A reply: there was no complete answer."""

    error: ApiError
    sent: bool = True
    """Whether the service may have seen, and billed, the request."""
    stale: bool = False
    """Whether a kept-alive connection turned out closed before anything was answered."""


Reply: TypeAlias = Response | TransportFailure | None
Step: TypeAlias = Send | Wait


@dataclass(frozen=True)
class Outcome:
    """What became of a piece: rows or isolated errors, and smaller pieces that are to be sent instead."""

    result: BatchResult | None = None
    pieces: tuple[RequestBatch, ...] = ()


@dataclass(frozen=True, kw_only=True)
class CallRecord:
    """Figures of one attempt, for metrics; no payload and no key."""

    service: str
    modality: Modality
    items: int
    attempt: int
    status: int | None
    """HTTP status, None if there was no answer."""
    error: str | None
    """Class of what went wrong on the way, None if an answer came."""
    seconds: float
    bytes_received: int
    total_tokens: int
    """Tokens that the service counted."""


@dataclass(frozen=True)
class Clock:
    """Time and chance, replaceable in tests. Seconds."""

    now: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    chance: Callable[[], float] = random.random


@dataclass(kw_only=True)
class Service:
    """The other side, as far as a request has to know it."""

    name: str
    """Host or endpoint, for messages."""
    limits: Limits
    max_retries: int
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    max_response_bytes: int = 2**26
    clock: Clock = field(default_factory=Clock)
    secrets: Callable[[], Sequence[str]] = tuple
    """What must not show in a message even if the service repeats it."""
    on_request: Callable[[CallRecord], None] | None = None
    on_rows: Callable[[Rows], None] | None = None
    """Told of every good answer, to learn from."""
    hints: Mapping[Kind, str] = field(default_factory=dict)
    """What to do next, where that is not the same as everywhere."""
    floats_only: bool = False
    """Whether it turned out to know no encoding, so that none is asked for any more."""


def request_flow(piece: RequestBatch, service: Service) -> Generator[Step, Reply, Outcome]:
    """Send a piece until it is answered, refused for good, or has to be cut.

    Raises:
        ApiError: the service refused, failed or stayed silent, after the attempts that the kind of failure allows.
        InputError: the same where one input is at fault; `index` is its position in the batch.
        BudgetExceededError: the token budget does not allow the request; it was not sent.
    """
    return (yield from _Run(piece, service).steps())


class _Run:
    """The state of one piece on its way."""

    def __init__(self, piece: RequestBatch, service: Service) -> None:
        self.piece = replace(piece, order=piece.order.plain) if service.floats_only else piece
        self.service = service
        self.clock = service.clock
        self.attempts = 0
        self.usage = piece.prior
        self.began: float | None = None
        self.gateway_timeouts = 0
        self.stale = False

    def steps(self) -> Generator[Step, Reply, Outcome]:
        while True:
            verdict = yield from self.attempt()
            if isinstance(verdict, Outcome):
                return verdict
            if verdict > 0:
                yield Wait(Future(), verdict)

    def attempt(self) -> Generator[Step, Reply, Outcome | float]:
        """One exchange within the limits: an outcome, or the seconds to wait before the next."""
        limits, turn = self.service.limits, self.service.limits.gate.enter()
        booking: Reservation | Outcome | None = None
        at_risk = 0
        try:
            if not turn.done():
                yield Wait(turn)
            booking = yield from self.book()
            if isinstance(booking, Outcome):
                return booking
            while (wait_s := max(booking.starts_at, limits.held_until()) - self.clock.now()) > 0:
                yield Wait(Future(), wait_s)
            sent_at = self.clock.now()
            self.began = sent_at if self.began is None else self.began
            self.attempts += 1
            at_risk = sum(self.piece.costs)  # whoever stops listening now may have to pay all the same
            reply = yield Send(self.piece.body, self.service.max_response_bytes)
            self.account(reply, booking, self.clock.now() - sent_at)
            return self.judge(reply, turn)
        finally:
            limits.gate.leave(turn)
            if isinstance(booking, Reservation):
                limits.settle(booking, spent=at_risk)

    def book(self) -> Generator[Step, Reply, Reservation | Outcome]:
        """A share of the limits; or smaller pieces, where the budget has room for some of the items only."""
        limits, piece = self.service.limits, self.piece
        while True:
            try:
                booking = limits.book(self.clock.now(), piece.tokens, sum(piece.costs))
            except BudgetExceededError:
                if not (count := limits.affordable(piece.costs)):
                    raise
                return self.pieces(piece.split(count))
            if isinstance(booking, Reservation):
                return booking
            yield Wait(booking)

    def account(self, reply: Reply, booking: Reservation, seconds: float) -> None:
        """Count what the exchange cost and tell whoever listens."""
        counted, spent = 0, 0
        if isinstance(reply, Response):
            self.service.limits.learn(self.clock.now(), reply.headers)
            if 200 <= reply.status < 300:
                counted = read_tokens(reply)
                spent = counted or (self.piece.tokens if reply.has_rows else 0)
        elif reply is not None and reply.sent:
            spent = sum(self.piece.costs)  # the answer was lost, but it may have been computed
        self.service.limits.settle(booking, spent=spent)
        self.usage += Usage(total_tokens=counted, requests=1)
        record = _record(self.service.name, self.piece, reply, attempt=self.attempts, seconds=seconds, tokens=counted)
        logger.debug(
            "%s: %d %s item(s), attempt %d: %s after %.3f s",
            record.service, record.items, record.modality, record.attempt, record.status or record.error, seconds,
        )  # fmt: skip
        if self.service.on_request is not None:
            try:
                self.service.on_request(record)
            except Exception:  # somebody's metrics must not cost anybody's vectors
                logger.exception("on_request failed")

    def judge(self, reply: Reply, turn: Ticket) -> Outcome | float:
        """What a reply means: an outcome, or the seconds to wait before the next attempt. Raises what is final."""
        if not isinstance(reply, Response):
            return self.lost(reply)
        if 200 <= reply.status < 300 and reply.has_rows:
            return self.rows(reply)
        sent = [_plain(parcel.json) for parcel in self.piece.parcels]
        refusal = read_error_response(reply, items=len(self.piece.parcels), sent=sent, secrets=self.service.secrets())
        if refusal.kind == "concurrency":
            self.service.limits.gate.overloaded(turn, refusal.quota)
        elif refusal.quota is not None:
            self.service.limits.slow_down(**{f"{refusal.kind}_per_minute": refusal.quota})
        return self.refused(refusal, waits.read_retry_after(reply.headers, self.clock.wall()))

    def lost(self, reply: TransportFailure | None) -> float:
        """No answer: once at no cost if only a kept connection was stale, else like any failure that passes."""
        if reply is None:
            raise ApiConnectionError(f"{self.service.name}: the exchange was abandoned")
        if not isinstance(reply.error, ApiConnectionError):
            self.fail(reply.error, name_inputs=False)
        if reply.stale and not self.stale:
            self.stale = True
            self.attempts -= 1
            return 0.0
        return self.again(reply.error, "timeout" if isinstance(reply.error, ApiTimeoutError) else "server", None)

    def rows(self, answer: Response) -> Outcome | float:
        """A list of embeddings: checked, placed, cut."""
        expected = replace(self.piece.order.expected, items=len(self.piece.parcels))
        try:
            rows = read_rows(answer, expected)
        except InvalidResponseError as flaw:
            return self.flawed(answer, flaw)
        self.service.limits.gate.content()
        if self.service.on_rows is not None:
            self.service.on_rows(rows)
        usage = self.usage + Usage(items=len(self.piece.parcels))
        vectors = self.piece.order.finish(rows.vectors)
        request_id = answer.headers.get("x-request-id")
        return Outcome(BatchResult(vectors, self.piece.positions, {}, usage, rows.model, request_id))

    def flawed(self, answer: Response, flaw: InvalidResponseError) -> Outcome | float:
        """An answer that is not one good vector per item: asked for again, then isolated or raised."""
        places = flaw.positions
        at_fault = tuple(self.piece.positions[place] for place in places)
        error = InvalidResponseError(f"{self.service.name}: {flaw.message}", status_code=answer.status)
        error.positions = at_fault or self.piece.positions
        if self.piece.order.isolate_errors and places and len(self.piece.parcels) > 1:
            alone = tuple(replace(self.piece, parcels=(self.piece.parcels[place],)) for place in places)
            return self.pieces(self.piece.without(places) + alone)
        if (
            self.piece.order.isolate_errors
            and len(self.piece.parcels) == 1
            and self.attempts > self.service.max_retries
        ):
            return self.isolated({self.piece.positions[0]: error})
        return self.again(error, "answer", None)

    def refused(self, refusal: ErrorResponse, retry_after_s: float | None) -> Outcome | float:
        """A refusal: wait, cut, isolate, or raise."""
        piece = self.piece
        error = refusal.error(self.service.name, retry_after_s, hint=self.service.hints.get(refusal.kind))
        if refusal.passes:
            self.gateway_timeouts += refusal.kind == "gateway timeout"
            if self.gateway_timeouts >= 2 and len(piece.parcels) > 1:
                return self.pieces(piece.cut(-(-len(piece.parcels) // 2)))
            return self.again(error, refusal.kind, retry_after_s)
        if (encoding := piece.order.encoding_field) and encoding in piece.order.head and refusal.is_about(encoding):
            return self.without_encoding()
        if refusal.item_cap and not piece.recut and refusal.kind in ("request", "input", "too large"):
            self.service.limits.cap_items(refusal.item_cap)
            return self.pieces(piece.cut(refusal.item_cap, recut=True))
        if refusal.kind == "too large" and len(piece.parcels) > 1:
            return self.pieces(piece.cut(-(-len(piece.parcels) // 2)))
        if refusal.kind == "answer":
            return self.flawed(Response(refusal.status), InvalidResponseError(_not_rows(refusal)))
        if piece.order.isolate_errors and refusal.about_items:
            return self.isolate(refusal, error)
        self.blame(refusal, error)

    def without_encoding(self) -> float:
        """Ask again for plain floats, at once: a refused request costs nothing."""
        logger.info("%s knows no %s; plain floats from now on", self.service.name, self.piece.order.encoding_field)
        self.service.floats_only = True
        self.piece = replace(self.piece, order=self.piece.order.plain)
        return 0.0

    def isolate(self, refusal: ErrorResponse, error: ApiError) -> Outcome:
        """Find the bad item: the one the service names, else by halves. The others are sent again without it."""
        named = refusal.items or ((0,) if len(self.piece.parcels) == 1 else ())
        if not named:
            return self.pieces(self.piece.cut(-(-len(self.piece.parcels) // 2)))
        errors = {self.piece.positions[place]: self.item_error(refusal, error, place) for place in named}
        rest = self.piece.without(named)
        return self.isolated(errors, rest)

    def blame(self, refusal: ErrorResponse, error: ApiError) -> NoReturn:
        """Raise the refusal, as the error of one input where it is known."""
        parcels = self.piece.parcels
        place = refusal.items[0] if refusal.items else None
        if place is None and refusal.about_items:
            if len(parcels) == 1 and refusal.kind in ("input", "too large"):
                place = 0
            else:
                place = next((at for at, parcel in enumerate(parcels) if parcel.blank), None)
        if place is None or refusal.kind in STOPPING:
            self.fail(error, name_inputs=refusal.kind not in STOPPING)
        raise self.item_error(refusal, error, place) from error

    def item_error(self, refusal: ErrorResponse, error: ApiError, place: int) -> InputError:
        cls = ImageError if self.piece.order.modality == "image" else InputError
        said = refusal.message or f"status {refusal.status}"
        blank = "an empty text: " if self.piece.parcels[place].blank else ""
        found = cls(f"{blank}refused by {self.service.name}: {said}", index=self.piece.positions[place])
        found.__cause__ = error
        return found

    def again(self, error: ApiError, kind: Kind, retry_after_s: float | None) -> float:
        """Seconds until the next attempt. Raises `error` if there shall be none."""
        if self.attempts > self.service.max_retries:
            self.give_up(error)
        policy = self.service.retry
        if retry_after_s is not None and retry_after_s > policy.longest_server_wait_s:
            allowed = f"{policy.longest_server_wait_s:g} s allowed (retry.longest_server_wait_s)"
            error.message += f"; it asks to wait {retry_after_s:.0f} s, longer than the {allowed}"
            self.fail(error)
        wait_s = waits.wait_for(policy, kind, self.attempts, retry_after_s, self.clock.chance())
        now = self.clock.now()
        if self.began is not None and now + wait_s - self.began > policy.longest_total_s:
            self.give_up(error)
        if kind in ("requests", "tokens"):
            self.service.limits.hold(now + wait_s)
        logger.info("%s: %s; trying again in %.1f s", self.service.name, type(error).__name__, wait_s)
        return wait_s

    def give_up(self, error: ApiError) -> NoReturn:
        error.message += f" (given up after {self.attempts} attempt{'s' * (self.attempts != 1)})"
        self.fail(error)

    def fail(self, error: ApiError, *, name_inputs: bool = True) -> NoReturn:
        if name_inputs and not error.positions:
            error.positions = self.piece.positions
        raise error

    def pieces(self, pieces: tuple[RequestBatch, ...]) -> Outcome:
        """Send these instead; what was spent so far goes with the first."""
        return Outcome(None, (replace(pieces[0], prior=self.usage), *pieces[1:]))

    def isolated(self, errors: Mapping[int, JinaClipError], rest: tuple[RequestBatch, ...] = ()) -> Outcome:
        return Outcome(BatchResult(self.piece.order.no_rows(), (), errors, self.usage), rest)


def _not_rows(refusal: ErrorResponse) -> str:
    return f"status {refusal.status}, but no list of embeddings: {refusal.message}"


def _plain(parcel: bytes) -> str:
    """The longest string in an item's JSON, as it was before quoting."""
    value = json.loads(parcel)
    texts = value.values() if isinstance(value, dict) else [value]
    return max((text for text in texts if isinstance(text, str)), key=len, default="")


def _record(
    service: str, piece: RequestBatch, reply: Reply, *, attempt: int, seconds: float, tokens: int
) -> CallRecord:
    answer = reply if isinstance(reply, Response) else None
    return CallRecord(
        service=service,
        modality=piece.order.modality,
        items=len(piece.parcels),
        attempt=attempt,
        status=answer.status if answer else None,
        error=None if answer else type(reply.error).__name__ if isinstance(reply, TransportFailure) else "Abandoned",
        seconds=seconds,
        bytes_received=len(answer.body) if answer else 0,
        total_tokens=tokens,
    )
