"""Error responses: the status codes and bodies of the Jina API, and which failure becomes which of them.

The API has three shapes. Errors from before the handler (keys, limits, unknown routes) are flat, errors of the handler
are nested, and validation errors list the fields. Nothing that a client sent is repeated, in responses or in the log.
"""

from __future__ import annotations

import logging
import math
import re
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import ImageError, InputError, JinaClipError, RateLimitError
from ..images.encoded import UNREAD

logger = logging.getLogger("jina_clip_integrations.server")

BUSY_BACKEND_WAIT_S = 5.0
"""`Retry-After` where the backend cannot serve and does not say for how long, in seconds."""

_IMAGE_LABEL = re.compile(rf"(?:https?://\S*|{UNREAD}|[^:]* sha256:[0-9a-f]+): ")
"""What an image error begins with: the image's URL, or type, size and digest of its bytes."""

MAX_NAME_CHARACTERS = 80
"""Longest name of a client's own choosing (a model, an unknown field) in a message, in characters."""


@dataclass(frozen=True)
class FieldError:
    """One invalid field: its path in the body, what is wrong, and pydantic's name for that."""

    field: str
    message: str
    type: str


class RequestError(Exception):
    """Ends a request with an error response. `nested` is the shape of handler errors; otherwise the body is flat."""

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
        """The JSON body. An input at fault is also listed as a field, so that clients find it by program."""
        common = {"request_id": request_id, "code": self.code}
        body: dict[str, Any] = (
            {"detail": {"message": self.message, **common}} if self.nested else {"detail": self.message, **common}
        )
        if self.index is not None:
            field = FieldError(field_path("input", self.index), self.message, "value_error")
            body["errors"] = [vars(field)]
        return body


class InvalidFieldsError(RequestError):
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
        """The JSON body, without the offending values, which the hosted service repeats."""
        return {"detail": self.message, "request_id": request_id, "errors": [vars(error) for error in self.errors]}


def invalid_field(*path: str | int, message: str, type: str) -> InvalidFieldsError:
    """422 for one field of the body."""
    return InvalidFieldsError([FieldError(field_path(*path), message, type)])


def field_path(*path: str | int) -> str:
    """`body -> jina-clip-v2 -> input -> 3`."""
    return " -> ".join(["body", *(printable_name(str(part)) for part in path)])


def invalid_input(index: int, message: str, *, code: str, status: int = 400) -> RequestError:
    """400 or another status for one input that cannot be embedded, nested."""
    return RequestError(status, code, f"input {index}: {message}", index=index)


def authentication_error(code: str, message: str) -> RequestError:
    """401, flat."""
    return RequestError(401, code, message, nested=False, headers={"WWW-Authenticate": "Bearer"})


def overload_error(message: str, *, retry_after_s: float) -> RequestError:
    """429, flat, with `Retry-After`."""
    headers = {"Retry-After": str(max(1, math.ceil(retry_after_s)))}
    return RequestError(429, "RATE_CONCURRENCY_LIMIT_EXCEEDED", message, nested=False, headers=headers)


def unavailable_error(message: str, *, retry_after_s: float = 1) -> RequestError:
    """503, nested, with `Retry-After`."""
    headers = {"Retry-After": str(max(1, math.ceil(retry_after_s)))}
    return RequestError(503, "SERVICE_UNAVAILABLE", message, headers=headers)


def internal_error() -> RequestError:
    """500, nested. The reason is in the server's log only."""
    return RequestError(500, "INTERNAL_ERROR", "An unexpected error occurred")


def log_failure(error: BaseException | None) -> None:
    """Log a failure, unless the client caused it."""
    if not isinstance(error, InputError):
        logger.error("an embedding failed: %s", describe_for_log(error))


def to_request_error(error: BaseException | None, position: int | None = None) -> RequestError:
    """The error response for a failure of the backend, or of the input at `position` of the request."""
    if isinstance(error, InputError) and position is not None:
        code = "INPUT_INVALID_IMAGE" if isinstance(error, ImageError) else "INPUT_INVALID_TEXT"
        return invalid_input(position, strip_image_label(error.message), code=code)
    if isinstance(error, RateLimitError):
        return overload_error(
            "The backend of this server is busy", retry_after_s=error.retry_after_s or BUSY_BACKEND_WAIT_S
        )
    return internal_error()


def strip_image_label(message: str) -> str:
    """An image error without the label in front: the address, also one it was redirected to, or digest of the image."""
    label = _IMAGE_LABEL.match(message)
    return f"the image: {message[label.end() :]}" if label else message


def describe_for_log(error: BaseException | None) -> str:
    """An error for the log: one of this package with its message, any other with type and traceback only."""
    if isinstance(error, (JinaClipError, ImportError)):
        return f"{type(error).__name__}: {error}"
    if error is None:
        return "unknown"
    # Messages of other libraries may quote what a client sent.
    return f"{type(error).__name__}\n{''.join(traceback.format_tb(error.__traceback__))}"


def printable_name(name: str) -> str:
    """A name of a client's own choosing, for a message: printable ASCII, shortened."""
    # ASCII only: control characters and right-to-left marks could forge lines of a log or hide what stands there.
    text = "".join(c if c.isascii() and c.isprintable() else "?" for c in name[: MAX_NAME_CHARACTERS + 1])
    return text if len(text) <= MAX_NAME_CHARACTERS else f"{text[: MAX_NAME_CHARACTERS - 1]}~"
