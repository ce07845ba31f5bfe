"""Mapping error responses to our errors: whatever body a server, gateway or load balancer sends.

Decided by the service's own code first and by the status second, since the same code may come with several statuses.
Nothing that the caller had sent, and no key, gets into a message: servers like to quote their input.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from ...errors import (
    ApiError,
    ApiTimeoutError,
    AuthenticationError,
    InsufficientBalanceError,
    InvalidRequestError,
    InvalidResponseError,
    RateLimitError,
    ServerError,
)
from .messages import clean_text, describe_address
from .responses import NOT_JSON, Response

ErrorKind: TypeAlias = Literal[
    "auth", "balance", "resource", "requests", "tokens", "concurrency",
    "request", "input", "too large", "timeout", "gateway timeout", "server", "busy", "response", "other",
]  # fmt: skip
"""What an error response is about, which decides the error's class and whether to try again."""

CODES: dict[str, ErrorKind] = {
    "AUTHZ_INSUFFICIENT_BALANCE": "balance",
    "AUTHZ_RESOURCE_LIMIT_EXCEEDED": "resource",
    "CONFLICT_RESOURCE_BUSY": "busy",
    "INPUT_INVALID_LABELS": "request",
    "INPUT_LABEL_LIMIT_EXCEEDED": "request",
    "INPUT_MODEL_NOT_FOUND": "request",
    "INTERNAL_ERROR": "server",
    "RATE_CONCURRENCY_LIMIT_EXCEEDED": "concurrency",
    "RATE_TOKEN_LIMIT_EXCEEDED": "tokens",
    "RESOURCE_NOT_FOUND": "request",
    "SERVICE_TIMEOUT": "gateway timeout",
    "SERVICE_UNAVAILABLE": "server",
}
FAMILIES: dict[str, ErrorKind] = {"AUTH_": "auth", "AUTHZ_": "auth", "RATE_": "requests", "INPUT_": "input"}
STATUSES: dict[int, ErrorKind] = {
    400: "request", 401: "auth", 402: "balance", 403: "auth", 404: "request", 405: "request", 408: "timeout",
    409: "busy", 413: "too large", 415: "request", 422: "request", 429: "requests", 504: "gateway timeout",
}  # fmt: skip

CLASSES: dict[ErrorKind, type[ApiError]] = {
    "auth": AuthenticationError,
    "balance": InsufficientBalanceError,
    "requests": RateLimitError,
    "tokens": RateLimitError,
    "concurrency": RateLimitError,
    "request": InvalidRequestError,
    "input": InvalidRequestError,
    "too large": InvalidRequestError,
    "timeout": ApiTimeoutError,
    "gateway timeout": ServerError,
    "server": ServerError,
    "response": InvalidResponseError,
}

HINTS: dict[ErrorKind, str] = {
    "auth": "check api_key, or the environment variable that it was read from",
    "balance": "top up the account or use another key; the job was stopped here",
    "resource": "the plan of this key does not cover it; the job was stopped here",
    "requests": "set requests_per_minute to what the key allows",
    "tokens": "set tokens_per_minute to what the key allows",
    "concurrency": "lower max_concurrency",
    "too large": "lower batch_size or max_request_bytes, or send smaller items",
    "gateway timeout": "lower batch_size, or try again later",
    "server": "try again later",
    "timeout": "try again later, or raise timeout",
}
CODE_HINTS = {
    "INPUT_MODEL_NOT_FOUND": "check the model's name for this server",
    "INPUT_TOKEN_LIMIT_EXCEEDED": "shorten the text, or use a server that cuts it (the hosted API is asked to)",
}
ADDRESS_STATUSES = frozenset({*range(300, 309), 404, 405, 410, 415})
"""What answers where no embeddings are: the address may be wrong."""

RETRIED_STATUSES = frozenset({500, 502, 503, 504, *range(520, 530)})
"""Failures of the server, or of a gateway or CDN in front of it, that pass by themselves; 501 and 505 do not."""

STOPPING: frozenset[ErrorKind] = frozenset({"auth", "balance", "resource"})
"""Kinds that would meet every other request of the job too, so it stops at the first."""

MESSAGE_LENGTH = 300
MAX_READ = 1 << 16
"""Characters of a message that are looked at; what is searched or redacted takes time."""
MAX_SEARCHED = 1 << 12
"""Characters that are searched for the numbers of a limit."""
MAX_FIELDS = 1 << 12
"""Fields of a list of errors that are read."""
RUN = 12
"""From this many characters in a row on, a run that a message shares with what was sent is replaced."""
GRAM = 8
"""Characters that are compared at a time to find such runs."""

# "At most 512 items", but not "at most 8192 tokens": only a number of items says how to split a request.
_CAP = re.compile(
    r"(?:at most|larger than|more than|max(?:imum)?(?: \w+){0,4}(?: of| is|:)?)\s+([\d,]+)\b"
    r"(?!\s*(?:characters|tokens|bytes|dimensions|pixels|px|mb|kb))",
    re.IGNORECASE,
)
_QUOTA = re.compile(r"(?<![\d,])[\d,]+\s*/\s*([\d,]+)\s+(concurrent|requests|tokens)\b", re.IGNORECASE)
_ITEMS = ("input", "data", "inputs", "texts")


@dataclass(frozen=True, kw_only=True)
class ErrorResponse:
    """What an error response says."""

    kind: ErrorKind
    status: int
    code: str | None = None
    message: str = ""
    request_id: str | None = None
    items: tuple[int, ...] = ()
    """Positions in the request of the items that it names."""
    settings: tuple[str, ...] = ()
    """Names in the paths of fields that it names and that are not the items."""
    item_cap: int | None = None
    """N of "at most N items", where the request had more."""
    quota: int | None = None
    """N of "M/N concurrent requests", of "M/N requests per minute" or of "M/N tokens per minute", as `kind` says."""

    @property
    def names_setting(self) -> bool:
        """Whether it names a field that is not the items."""
        return bool(self.settings)

    def is_about(self, field: str) -> bool:
        """Whether the server refused this field of the request body, by its name or by its message."""
        refused = self.kind in ("request", "input") and self.status in (400, 422)
        return refused and (field in self.settings or field in self.message)

    @property
    def passes(self) -> bool:
        """Whether the same request may succeed later."""
        if self.kind in ("requests", "tokens", "concurrency", "timeout", "gateway timeout", "busy"):
            return True
        # A code may say "server" under any status, a success even; among the 5xx some are final.
        return self.kind == "server" and (self.status in RETRIED_STATUSES or self.status < 500)

    @property
    def about_items(self) -> bool:
        """Whether one bad item may be the reason, so that the others would succeed without it."""
        if self.names_setting and not self.items:  # every request of the job has that field
            return False
        if self.kind in ("input", "too large") or self.items:
            return True
        # An uncoded refusal may be about anything, so an item is only suspected.
        return self.kind == "request" and self.status in (400, 413, 422) and self.code not in CODES

    def error(
        self, service: str, retry_after_s: float | None = None, *, hint: str | None = None, address: str = ""
    ) -> ApiError:
        """The exception for it. Its message names `service` (the host), `hint` (what to do) and the `address`."""
        said = f": {self.message}" if self.message else ""
        code = f" {self.code}" if self.code else ""
        hint = hint or CODE_HINTS.get(self.code or "") or self.address_hint(address) or HINTS.get(self.kind)
        message = f"{service} answered {self.status}{code}{said}" + (f"; {hint}" if hint else "")
        details: dict[str, Any] = {
            "status_code": self.status,
            "code": self.code,
            "request_id": self.request_id,
            "body": self.message or None,
        }
        cls = CLASSES.get(self.kind, ApiError)
        if cls is RateLimitError:
            return RateLimitError(message, retry_after_s=retry_after_s, **details)
        return cls(message, **details)

    def address_hint(self, address: str) -> str | None:
        """What to say of the address, where this may have come from another than a service for embeddings."""
        if self.status not in ADDRESS_STATUSES and self.kind != "response":
            return None
        return describe_address(address) if address else "check base_url and dialect"


@dataclass(frozen=True)
class _ErrorBody:
    message: str = ""
    code: str | None = None
    request_id: str | None = None
    fields: tuple[tuple[str, ...], ...] = ()


def read_error_response(
    response: Response, *, items: int = 0, sent: Sequence[str] = (), secrets: Iterable[str] = ()
) -> ErrorResponse:
    """Read any response that is not a list of embeddings; never raises.

    `items` is the number of items in the request, `sent` what it carried and `secrets` what must not show either.
    """
    body = _read(response)
    named = [_item_index(path) for path in body.fields]
    cap = _first_number(_CAP, body.message[:MAX_SEARCHED])  # before it is redacted and shortened
    kind = _kind(response.status, body)
    request_id = body.request_id or response.headers.get("x-request-id") or None
    hidden = tuple(secrets)
    return ErrorResponse(
        kind=kind,
        status=response.status,
        code=(body.code and _showable(body.code, sent, hidden, 80)) or None,
        message=_showable(body.message, sent, hidden, MESSAGE_LENGTH),
        request_id=(request_id and _showable(request_id, sent, hidden, 80)) or None,
        items=tuple(sorted({place for place in named if isinstance(place, int) and 0 <= place < items})),
        settings=tuple(part for path, place in zip(body.fields, named, strict=True) if place is None for part in path),
        # Splitting helps only if the request had more items than that.
        item_cap=cap if cap is not None and 1 <= cap < items else None,
        quota=_quota(kind, body.message[:MAX_SEARCHED]),
    )


def _showable(text: str, sent: Sequence[str], secrets: Sequence[str], length: int) -> str:
    """Text of a server for a message: nothing that was sent, no secret, one line, nothing that acts on a terminal."""
    line = clean_text(redact(text, sent, secrets), 2 * MESSAGE_LENGTH)
    # Again, for what only invisible characters had kept apart.
    return clean_text(redact(line, sent, secrets), length)


def redact(message: str, sent: Sequence[str], secrets: Iterable[str] = ()) -> str:
    """`message` without secrets and without anything of `RUN` characters or more that was `sent`."""
    hidden = [secret for secret in secrets if secret]
    for secret in hidden:  # first and whole: what is cut off below may not begin in the middle of one
        message = message.replace(secret, "[key]")
    for text in sent:
        if 4 <= len(text) < RUN:  # shorter ones would tear ordinary words apart
            message = message.replace(text, "[input]")
    start = message[: 2 * MESSAGE_LENGTH]
    grams = {start[at : at + GRAM] for at in range(len(start) - GRAM + 1)}
    suspects = [text for text in (*sent, *hidden) if _may_share(text, grams)]
    parts: list[str] = []
    at = 0
    while at < len(start):
        end = _end_of_quote(start, at, suspects)
        parts.append("[input]" if end > at else start[at])
        at = max(end, at + 1)
    # The end of a shortened message may be the beginning of a quote, too short to be recognised.
    return "".join(parts if len(start) == len(message) else parts[:-RUN])


def _may_share(text: str, grams: set[str]) -> bool:
    """Whether `text` may share `RUN` characters with what `grams` were taken from. Fast: texts may be megabytes.

    A common run of `RUN` characters holds a whole gram at one of these steps, wherever it begins.
    """
    return any(text[at : at + GRAM] in grams for at in range(0, len(text) - GRAM + 1, RUN - GRAM + 1))


def _end_of_quote(message: str, at: int, sent: Sequence[str]) -> int:
    """Where the longest run from `at` on that was sent ends; `at` if there is none of `RUN` characters."""
    run = message[at : at + RUN]
    if len(run) < RUN:
        return at
    end = at
    for text in sent:
        if run in text:
            end = max(end, at + RUN)
            while end < len(message) and message[at : end + 1] in text:
                end += 1
    return end


def _kind(status: int, body: _ErrorBody) -> ErrorKind:
    code = (body.code or "").upper()
    if code in CODES:
        return CODES[code]
    for prefix, kind in FAMILIES.items():
        if code.startswith(prefix):
            return kind
    message = body.message.lower()
    # Older services and gateways send no code, and their 403 and 429 mean several things.
    if status == 403 and "balance" in message:
        return "balance"
    if status == 429 and "concurren" in message:
        return "concurrency"
    if status in STATUSES:
        return STATUSES[status]
    # A success without a list of embeddings is no error that the service meant to send: its response is broken.
    return "server" if status >= 500 else "response" if status < 300 else "other"


def _read(response: Response) -> _ErrorBody:
    document = response.document
    if isinstance(document, dict):
        return _read_object(document)
    if isinstance(document, str) and document.strip():
        return _ErrorBody(document[:MAX_READ])
    return _ErrorBody(_describe(response))


def _read_object(document: dict[str, Any]) -> _ErrorBody:
    """Bodies E1 to E6 of the wild: flat, nested, with a list of fields, pydantic's list, OpenAI's, gateways'."""
    detail = document.get("detail")
    error = document.get("error")
    inner = next((part for part in (detail, error) if isinstance(part, dict)), {})
    listed = document.get("errors") or detail
    fields, field_texts = _read_fields(listed if isinstance(listed, list) else [])
    texts = (inner.get("message"), detail, error, document.get("message"), document.get("Message"))
    summary = next((text for text in texts if isinstance(text, str) and text), "")
    return _ErrorBody(
        message=("; ".join(field_texts) or summary)[:MAX_READ],  # with several bad fields the summary only counts them
        code=_as_code(inner.get("code"), inner.get("type"), document.get("code")),
        request_id=next(
            (i for i in (inner.get("request_id"), document.get("request_id")) if isinstance(i, str) and i), None
        ),
        fields=fields,
    )


def _read_fields(errors: list[Any]) -> tuple[tuple[tuple[str, ...], ...], list[str]]:
    """Paths and messages of a list of field errors. Their `input` repeats what the caller sent, so it is not read."""
    paths: list[tuple[str, ...]] = []
    texts: list[str] = []
    for error in errors[:MAX_FIELDS]:
        if not isinstance(error, dict):
            continue
        where = error.get("field") or error.get("loc") or ()
        parts = where.split(" -> ") if isinstance(where, str) else where if isinstance(where, list) else []
        path = tuple(str(part) for part in parts if isinstance(part, (str, int)))
        texts_of_it = (error.get("message"), error.get("msg"), error.get("type"))
        # Words and numbers only: a deep nest of lists cannot even be printed.
        said = next((str(text) for text in texts_of_it if isinstance(text, (str, int, float)) and text), "invalid")
        paths.append(path)
        name = _setting_name(path)
        texts.append(f"{name}: {said}" if name else said)
    return tuple(paths), texts


def _as_code(*candidates: Any) -> str | None:
    for code in candidates:
        if isinstance(code, (str, int)) and not isinstance(code, bool) and str(code):
            return str(code)
    return None


def _setting_name(path: tuple[str, ...]) -> str:
    """The field that a path ends in, without the body and the union's branch in front."""
    named = [part for part in path if part not in ("body", "__root__") and not part.isdecimal()]
    return clean_text(named[-1], 60) if named else ""


def _item_index(path: tuple[str, ...]) -> int | Literal["items"] | None:
    """The item that a path leads to, "items" for the list as a whole or the body, None for a setting."""
    for at, part in enumerate(path):
        if part in _ITEMS:  # a union's branch may stand between: input -> list[...] -> 3 -> text
            number = next((later for later in path[at + 1 :] if later.isdecimal()), None)
            return "items" if number is None else _number(number)
    return "items" if path in ((), ("body",)) else None


def _describe(response: Response) -> str:
    """A few words about a body that is no JSON object."""
    if 300 <= response.status < 400:
        # Following it could take the key to another host.
        return "a redirect, which is not followed; set base_url to the address that answers"
    if not response.body.strip():
        return "an empty body"
    text = response.body[:4096].decode("utf-8", "replace")
    title = re.search(r"<title[^>]*>(.*?)</title>", text, re.IGNORECASE | re.DOTALL)
    if title and title.group(1).strip():
        return f"a web page titled {clean_text(title.group(1), 100)!r}"
    if text.lstrip().startswith("<"):
        return "a web page"
    if text.lstrip()[:1] in ("{", "["):
        return "broken JSON" if response.document is NOT_JSON else "JSON that says nothing"
    return text


def _quota(kind: ErrorKind, message: str) -> int | None:
    """The limit that a message about `kind` names."""
    found = _QUOTA.search(message)
    named = {"concurrent": "concurrency"}.get(found.group(2).lower(), found.group(2).lower()) if found else None
    limit = _number(found.group(1)) if found and named == kind else None
    return limit or None


def _first_number(pattern: re.Pattern[str], text: str) -> int | None:
    found = pattern.search(text)
    return _number(found.group(1)) if found else None


def _number(digits: str) -> int | None:
    plain = digits.replace(",", "")
    # `int` raises for strings of thousands of digits, and a message may hold anything.
    return int(plain) if plain.isdecimal() and len(plain) < 10 else None
