"""One request, from its first attempt to its rows, written once for sync and async.

`request_flow` is a flow (see `concurrency.flow`) of two kinds of step: `Send` a body, and `Wait` for seconds or for a
ticket. Retries, splitting, error mapping and parsing all live inside it, and it touches neither a client nor a clock of
its own.
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any, NoReturn, TypeAlias

import orjson

from ...concurrency import retry
from ...concurrency.waits import Stopped, StopSignal, Wait
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
from ..base import BatchResult, Usage
from .error_mapping import STOPPING, ErrorKind, ErrorResponse, read_error_response, redact
from .limits import Reservation, Ticket
from .messages import clean_text
from .requests import RequestBatch
from .responses import MOST_TOKENS_PER_ITEM, Response, read_rows, read_tokens
from .service import CallRecord, Service
from .transport import Reply, Send, TransportFailure

logger = logging.getLogger("jina_clip_integrations")

Steps: TypeAlias = Generator["Send | Wait", Any, "Outcome"]


@dataclass(frozen=True)
class Outcome:
    """What became of a request: rows or isolated errors, and smaller batches that are to be sent instead."""

    result: BatchResult | None = None
    batches: tuple[RequestBatch, ...] = ()


def request_flow(batch: RequestBatch, service: Service, stop_signal: StopSignal | None = None) -> Steps:
    """Send a batch until it succeeds, is refused for good, or has to be split. `stop_signal` ends its waits.

    Raises:
        ApiError: the service refused, failed or did not respond, after the attempts that the kind of failure allows.
        InputError: the same where one input is at fault; `index` is its position in the caller's batch.
        BudgetExceededError: the token budget does not allow the request; it was not sent.
        Stopped: `stop_signal` was given while no exchange was under way.
    """
    return _Request(batch, service, stop_signal).steps()


class _Request:
    """The state of one batch from its first attempt to its outcome."""

    def __init__(self, batch: RequestBatch, service: Service, stop_signal: StopSignal | None) -> None:
        # Another request may have learnt since the batch was made that this server knows no encoding.
        self.batch = replace(batch, template=batch.template.without_encoding) if service.floats_only else batch
        self.service = service
        self.clock = service.clock
        self.stop_signal = stop_signal
        self.tokens = sum(item.tokens for item in batch.items)
        self.costs = batch.costs
        self.max_tokens = sum(self.costs)
        """Upper bound of what one attempt may cost."""
        self.attempts = 0
        self.spent_tokens = batch.prior.total_tokens
        self.spent_requests = batch.prior.requests
        self.first_sent_at: float | None = None
        self.gateway_timeouts = 0
        self.was_stale = False

    def steps(self) -> Steps:
        """Attempts until one gives an outcome, with waits in between."""
        while True:
            result = yield from self.attempt()
            if isinstance(result, Outcome):
                return result
            if result > 0:
                yield self.wait(result)
            elif self.stop_signal is not None and self.stop_signal.stopped:
                raise Stopped  # the connection did not go stale, it was closed from here

    def attempt(self) -> Generator[Send | Wait, Any, Outcome | float]:
        """One exchange within the limits: an outcome, or the seconds to wait before the next."""
        # The ticket first: a start time or a share of the budget that is reserved while queueing would keep others
        # waiting for nothing, and the time might have passed.
        limits, ticket = self.service.limits, self.service.limits.concurrency.acquire()
        reservation: Reservation | Outcome | None = None
        at_risk, sent = 0, False
        try:
            if not ticket.done():
                yield Wait(ticket, None, self.stop_signal)
            reservation = yield from self.reserve()
            if isinstance(reservation, Outcome):
                return reservation
            # Again after each wait: a refusal of another request may have put off the start meanwhile.
            while (wait_s := max(reservation.starts_at, limits.held_until()) - self.clock.now()) > 0:
                yield self.wait(wait_s)
            sent_at = self.clock.now()
            # `longest_total_s` counts from here: how long a request queues says nothing about the service.
            self.first_sent_at = sent_at if self.first_sent_at is None else self.first_sent_at
            self.attempts += 1
            at_risk, sent = self.max_tokens, True  # a request that is cancelled now may be billed all the same
            reply = yield Send(self.batch.body, self.service.max_response_bytes, self.service.transport)
            self.account(reply, reservation, self.clock.now() - sent_at)  # settles; the second time below does nothing
            return self.interpret(reply, ticket)
        finally:
            limits.concurrency.release(ticket)
            if isinstance(reservation, Reservation):
                limits.settle(reservation, spent=at_risk) if sent else limits.cancel(reservation)

    def wait(self, seconds: float) -> Wait:
        return Wait(Future(), seconds, self.stop_signal)

    def reserve(self) -> Generator[Wait, Any, Reservation | Outcome]:
        """Reserve a share of the limits; or split the batch, where the budget has room for some of its items only."""
        limits = self.service.limits
        while True:
            try:
                reservation = yield from self.take_turn()
            except BudgetExceededError:
                if not (count := limits.affordable(self.costs)):
                    raise
                return self.send_instead(self.batch.split(count))
            if reservation is not None:
                return reservation

    def take_turn(self) -> Generator[Wait, Any, Reservation | None]:
        """A reservation, or None after a wait for something to be settled. Raises why there is none."""
        limits = self.service.limits
        answer = limits.reserve(self.clock.now(), self.tokens, self.max_tokens)
        if isinstance(answer, Reservation):
            return answer
        taken = False
        try:
            yield Wait(answer, None, self.stop_signal)
            turn = answer.result() if answer.done() and not answer.cancelled() else None
            if isinstance(turn, JinaClipError):
                raise turn
            taken = True
            return turn
        finally:
            # Interrupted: a turn that nobody takes would keep others waiting, one that has come or is still to come.
            if not taken and not answer.cancel() and not answer.cancelled():
                turn = answer.result()
                if isinstance(turn, Reservation):
                    limits.cancel(turn)

    def account(self, reply: Reply, reservation: Reservation, seconds: float) -> None:
        """Count what the exchange cost and report it."""
        counted, spent = 0, 0
        if isinstance(reply, Response):
            self.service.limits.learn(self.clock.now(), reply.headers)  # refusals carry these headers too
            if 200 <= reply.status < 300:  # failed requests are not billed
                counted = read_tokens(reply, most=max(self.max_tokens, len(self.costs) * MOST_TOKENS_PER_ITEM))
                spent = counted or (self.tokens if reply.has_rows else 0)  # some servers count nothing, or nonsense
        elif reply is not None and reply.sent:
            spent = self.max_tokens  # the response was lost, but it may have been computed and billed
        self.service.limits.settle(reservation, spent=spent)
        self.spent_tokens += counted
        self.spent_requests += 1
        if self.service.on_request is not None or logger.isEnabledFor(logging.DEBUG):
            self.report(reply, seconds, counted)

    def report(self, reply: Reply, seconds: float, tokens: int) -> None:
        """Hand the figures of an attempt to the log and to `on_request`."""
        response = reply if isinstance(reply, Response) else None
        record = CallRecord(
            service=self.service.name,
            modality=self.batch.template.modality,
            items=len(self.batch.items),
            attempt=self.attempts,
            status=response.status if response else None,
            error=None
            if response
            else type(reply.error).__name__
            if isinstance(reply, TransportFailure)
            else "Abandoned",
            seconds=seconds,
            bytes_received=len(response.body) if response else 0,
            total_tokens=tokens,
        )
        logger.debug(
            "%s: %d %s item(s), attempt %d: %s after %.3f s",
            record.service, record.items, record.modality, record.attempt, record.status or record.error, seconds,
        )  # fmt: skip
        if self.service.on_request is not None:
            try:
                self.service.on_request(record)
            except Exception:  # a failing hook must not cost the vectors
                logger.exception("on_request failed")

    # What a reply means: an outcome, or the seconds to wait before the next attempt. What is final is raised.

    def interpret(self, reply: Reply, ticket: Ticket) -> Outcome | float:
        """Tell rows, error responses and lost exchanges apart, and let the limits learn from a refusal."""
        if not isinstance(reply, Response):
            return self.handle_failure(reply)
        if 200 <= reply.status < 300 and reply.has_rows:
            return self.handle_rows(reply)
        sent = [_longest_string(item.json) for item in self.batch.items]  # servers quote it, and it must not show
        error_response = read_error_response(
            reply, items=len(self.batch.items), sent=sent, secrets=self.service.secrets()
        )
        if error_response.kind == "concurrency":
            self.service.limits.concurrency.lower_limit(ticket, error_response.quota)
        elif error_response.quota is not None:
            self.service.limits.slow_down(**{f"{error_response.kind}_per_minute": error_response.quota})
        return self.handle_error(error_response, retry.read_retry_after(reply.headers, self.clock.wall()))

    def handle_failure(self, failure: TransportFailure | None) -> float:
        """No response: sent again at no cost if only a kept connection was stale, else retried like any failure."""
        if failure is None:
            raise ApiConnectionError(f"{self.service.name}: the exchange was abandoned")
        # An impossible address, a closed client or a certificate that nobody knows stays so.
        if failure.lasting or not isinstance(failure.error, ApiConnectionError):
            self.fail(failure.error, name_inputs=False)
        if (
            failure.stale and not self.was_stale
        ):  # once only, or a server that closes every connection is asked for ever
            self.was_stale = True
            self.attempts -= 1
            return 0.0
        return self.retry(failure.error, "timeout" if isinstance(failure.error, ApiTimeoutError) else "server", None)

    def handle_rows(self, response: Response) -> Outcome | float:
        """A list of embeddings: check and place it."""
        template = self.batch.template
        try:
            rows = read_rows(response, replace(template.expected, items=len(self.batch.items)))
        except InvalidResponseError as flaw:
            return self.handle_flaw(response.status, flaw)
        self.service.limits.concurrency.raise_limit()  # only now: what was no good vector is no success
        if self.service.on_rows is not None:
            self.service.on_rows(rows)
        usage = Usage(total_tokens=self.spent_tokens, requests=self.spent_requests, items=len(self.batch.items))
        vectors = template.truncate_packed(rows.vectors) if template.dimensions else rows.vectors
        positions = tuple(item.position for item in self.batch.items)
        request_id = clean_text(response.headers.get("x-request-id", ""), 80) or None
        return Outcome(BatchResult(vectors, positions, {}, usage, rows.model, request_id))

    def handle_flaw(self, status: int, flaw: InvalidResponseError) -> Outcome | float:
        """A response that is not one good vector per item: asked for again, then isolated or raised."""
        batch, places = self.batch, flaw.positions
        error = InvalidResponseError(f"{self.service.name}: {flaw.message}", status_code=status)
        error.positions = tuple(batch.positions[place] for place in places) or batch.positions
        if batch.template.isolate_errors and places and len(batch.items) > 1:
            # A flaw may pass, so a named item gets all its attempts alone before it counts as bad.
            return self.send_instead(batch.without(places) + batch.alone(places))
        if batch.template.isolate_errors and len(batch.items) == 1 and self.attempts > self.service.max_retries:
            return self.report_items({batch.positions[0]: error})
        return self.retry(error, "response", None)

    def handle_error(self, refused: ErrorResponse, retry_after_s: float | None) -> Outcome | float:
        """An error response: retry, split, isolate or raise."""
        batch = self.batch
        service = self.service
        address = redact(service.address, (), service.secrets())
        error = refused.error(service.name, retry_after_s, hint=service.hints.get(refused.kind), address=address)
        # First what passes by itself, then what is wrong with the request as a whole, then what is wrong with an item.
        if refused.passes:
            self.gateway_timeouts += refused.kind == "gateway timeout"
            # The first may have been a cold start; the second suggests that it is too much for one request.
            if self.gateway_timeouts >= 2 and len(batch.items) > 1:
                return self.send_instead(batch.halves())
            return self.retry(error, refused.kind, retry_after_s)
        encoding = batch.template.encoding_field
        if encoding and encoding in batch.template.head and refused.is_about(encoding):
            return self.give_up_encoding()
        # Not a second time: a server that goes on to name smaller numbers would have everything cut to single items.
        if refused.item_cap and not batch.capped and refused.kind in ("request", "input", "too large"):
            self.service.limits.cap_items(refused.item_cap)
            return self.send_instead(batch.chunks(refused.item_cap, capped=True))
        if refused.kind == "too large" and len(batch.items) > 1:
            return self.send_instead(batch.halves())
        if refused.kind == "response":
            flaw = f"status {refused.status}, but no list of embeddings: {refused.message}"
            if hint := refused.address_hint(address):
                flaw += f"; {hint}"
            return self.handle_flaw(refused.status, InvalidResponseError(flaw))
        if batch.template.isolate_errors and refused.about_items:
            return self.isolate(refused, error)
        self.blame(refused, error)

    def give_up_encoding(self) -> float:
        """Send it again without asking for an encoding, at once: a refused request costs nothing."""
        template = self.batch.template
        logger.info("%s knows no %s; plain floats from now on", self.service.name, template.encoding_field)
        self.service.floats_only = True
        self.batch = replace(self.batch, template=template.without_encoding)
        return 0.0

    def isolate(self, refused: ErrorResponse, error: ApiError) -> Outcome:
        """Find the bad item: the one the service names, else by halves. The others are sent again without it."""
        named = refused.items or ((0,) if len(self.batch.items) == 1 else ())
        if not named:
            return self.send_instead(self.batch.halves())
        errors = {self.batch.positions[place]: self.item_error(refused, error, place) for place in named}
        return self.report_items(errors, self.batch.without(named))

    def blame(self, refused: ErrorResponse, error: ApiError) -> NoReturn:
        """Raise the error, as that of one input where it is known."""
        items = self.batch.items
        place = refused.items[0] if refused.items else None
        # A lone item is blamed for what is about inputs only: a 400 or 422 may be about anything in the request.
        if place is None and refused.about_items:
            if len(items) == 1 and refused.kind in ("input", "too large"):
                place = 0
            else:  # some servers refuse empty texts without saying which
                place = next((at for at, item in enumerate(items) if item.blank), None)
        if place is None or refused.kind in STOPPING:
            self.fail(error, name_inputs=refused.kind not in STOPPING)
        raise self.item_error(refused, error, place) from error

    def item_error(self, refused: ErrorResponse, error: ApiError, place: int) -> InputError:
        """The error of one input, under its position in the caller's batch; `error` is its cause."""
        cls = ImageError if self.batch.template.modality == "image" else InputError
        said = refused.message or f"status {refused.status}"
        blank = "an empty text: " if self.batch.items[place].blank else ""
        found = cls(f"{blank}refused by {self.service.name}: {said}", index=self.batch.positions[place])
        found.__cause__ = error
        return found

    # What to do next

    def retry(self, error: ApiError, kind: ErrorKind, retry_after_s: float | None) -> float:
        """Seconds until the next attempt. Raises `error` if there is none."""
        if self.attempts > self.service.max_retries:
            self.give_up(error)
        policy = self.service.retry
        if retry_after_s is not None and retry_after_s > policy.longest_server_wait_s:
            allowed = f"{policy.longest_server_wait_s:g} s allowed (retry.longest_server_wait_s)"
            error.message += f"; it asks to wait {retry_after_s:.0f} s, longer than the {allowed}"
            self.fail(error)
        wait_s = retry.retry_wait(policy, kind, self.attempts, retry_after_s, self.clock.chance())
        now = self.clock.now()
        if self.first_sent_at is not None and now + wait_s - self.first_sent_at > policy.longest_total_s:
            self.give_up(error)
        # A limit of the key, so it concerns every request. Too many at once is not: the lower limit sees to that.
        if kind in ("requests", "tokens"):
            self.service.limits.hold(now + wait_s)
        logger.info("%s: %s; trying again in %.1f s", self.service.name, type(error).__name__, wait_s)
        return wait_s

    def give_up(self, error: ApiError) -> NoReturn:
        error.message += f" (given up after {self.attempts} attempt{'s' * (self.attempts != 1)})"
        self.fail(error)

    def fail(self, error: ApiError, *, name_inputs: bool = True) -> NoReturn:
        """Raise `error`; with `name_inputs` it names the batch's inputs, unless it names some already."""
        if name_inputs and not error.positions:
            error.positions = self.batch.positions
        raise error

    def send_instead(self, batches: tuple[RequestBatch, ...]) -> Outcome:
        """An outcome of batches to send instead; the first carries what was spent so far, so that it counts once."""
        return Outcome(None, (replace(batches[0], prior=self.usage()), *batches[1:]))

    def report_items(self, errors: Mapping[int, JinaClipError], rest: tuple[RequestBatch, ...] = ()) -> Outcome:
        return Outcome(BatchResult(self.batch.template.no_rows(), (), errors, self.usage()), rest)

    def usage(self) -> Usage:
        return Usage(total_tokens=self.spent_tokens, requests=self.spent_requests)


def _longest_string(item: bytes) -> str:
    """The longest string in an item's JSON, as it was before quoting: the input, not the form's constant words."""
    value = orjson.loads(item)
    texts = value.values() if isinstance(value, dict) else [value]
    return max((text for text in texts if isinstance(text, str)), key=len, default="")
