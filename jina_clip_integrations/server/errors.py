"""Error responses: the bodies that the Jina API sends for a request that cannot be served.

Three shapes are in use there. The layer in front of the handler (keys, limits, unknown routes) answers flat, the
handler nests, and a body that does not fit the schema lists its fields. Nothing that a client sent is repeated.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MAX_NAME_CHARACTERS = 80
"""Names of a client's own choosing (a model, an unknown field) are shown up to here."""


@dataclass(frozen=True)
class FieldError:
    """One field that does not fit: where it is, what is wrong, and pydantic's name for that."""

    field: str
    message: str
    type: str


class RequestError(Exception):
    """Ends a request with an error status. `nested` is the shape of handler errors; otherwise the body is flat."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        nested: bool = True,
        headers: Mapping[str, str] | None = None,
        index: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.nested = nested
        self.headers = dict(headers or {})
        self.index = index

    def body(self, request_id: str) -> dict[str, Any]:
        """The JSON body. One input at fault is also named the way a bad field is, so that a client finds it."""
        facts: dict[str, Any] = {"request_id": request_id, "code": self.code}
        body: dict[str, Any] = (
            {"detail": {"message": self.message, **facts}} if self.nested else {"detail": self.message}
        )
        if not self.nested:
            body |= facts
        if self.index is not None:
            found = FieldError(field_path("input", self.index), self.message, "value_error")
            body["errors"] = [vars(found)]
        return body


class BadFieldsError(RequestError):
    """422: the body does not fit the schema."""

    def __init__(self, errors: Sequence[FieldError]) -> None:
        if len(errors) == 1:
            name = errors[0].field.rpartition(" -> ")[2]
            summary = f'Validation error: "{name}" {errors[0].message}'
        else:
            summary = f"Validation error: {len(errors)} fields are wrong"
        super().__init__(422, "VALIDATION_ERROR", summary, nested=False)
        self.errors = tuple(errors)

    def body(self, request_id: str) -> dict[str, Any]:
        """The JSON body; the field's value, which the original repeats, is left out."""
        return {"detail": self.message, "request_id": request_id, "errors": [vars(error) for error in self.errors]}


def bad_field(*path: str | int, message: str, type: str) -> BadFieldsError:
    """A 422 about one field of the body."""
    return BadFieldsError([FieldError(field_path(*path), message, type)])


def field_path(*path: str | int) -> str:
    """`body -> jina-clip-v2 -> input -> 3`."""
    return " -> ".join(["body", *(printable_name(str(part)) for part in path)])


def bad_item(index: int, message: str, *, code: str, status: int = 400) -> RequestError:
    """One input that cannot be embedded."""
    return RequestError(status, code, f"input {index}: {message}", index=index)


def authentication_error(code: str, message: str) -> RequestError:
    """401, flat."""
    return RequestError(401, code, message, nested=False, headers={"WWW-Authenticate": "Bearer"})


def overload_error(message: str, *, retry_after_s: float) -> RequestError:
    """429, flat, with the wait."""
    headers = {"Retry-After": str(max(1, math.ceil(retry_after_s)))}
    return RequestError(429, "RATE_CONCURRENCY_LIMIT_EXCEEDED", message, nested=False, headers=headers)


def unavailable_error(message: str, *, retry_after_s: float = 1) -> RequestError:
    """503, nested, with a wait."""
    headers = {"Retry-After": str(max(1, math.ceil(retry_after_s)))}
    return RequestError(503, "SERVICE_UNAVAILABLE", message, headers=headers)


def internal_error() -> RequestError:
    """500. The reason is in the server's log only."""
    return RequestError(500, "INTERNAL_ERROR", "An unexpected error occurred")


def printable_name(name: str) -> str:
    """A name that a client chose, for a message: printable ASCII, not too long."""
    text = "".join(c if c.isascii() and c.isprintable() else "?" for c in name[: MAX_NAME_CHARACTERS + 1])
    return text if len(text) <= MAX_NAME_CHARACTERS else f"{text[: MAX_NAME_CHARACTERS - 1]}~"
