"""What goes wrong behind the page, as responses that the page can show: a status, a code, one sentence for people."""

from __future__ import annotations

from ..errors import BackendError, ConfigurationError, ImageError, InputError, JinaClipError
from ..server.errors import RequestError, strip_image_label


def to_request_error(error: JinaClipError) -> RequestError:
    """The response for an error of this package. Its messages name what to do and hold no secrets."""
    if isinstance(error, ImageError):
        return RequestError(422, "IMAGE_UNREADABLE", _sentence(strip_image_label(error.message)))
    if isinstance(error, InputError):
        return RequestError(400, "QUERY_INVALID", _sentence(error.message))
    if isinstance(error, BackendError):  # the model's server, or the store
        return RequestError(502, "BACKEND_FAILED", _sentence(str(error)))
    if isinstance(error, ConfigurationError):
        return RequestError(409, "NOT_POSSIBLE", _sentence(str(error)))
    return RequestError(500, "FAILED", _sentence(str(error)))


def invalid_parameter(name: str, message: str) -> RequestError:
    """400 for one parameter of an address, such as `since` or `near`."""
    return RequestError(400, "QUERY_INVALID", f"{name}: {message}")


def _sentence(message: str) -> str:
    text = " ".join(message.split())
    return text[:1].upper() + text[1:]
