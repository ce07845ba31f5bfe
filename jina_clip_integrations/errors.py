"""Everything this package raises on purpose.

JinaClipError
├── ConfigurationError (ValueError)       bad setting, unknown model, no key
├── InputError (ValueError)               .index of the offending input
│   └── ImageError                        cannot be read, decoded or fetched
├── BackendError
│   ├── ApiError                          .status_code .code .request_id, a short body
│   │   ├── InvalidRequestError           the service refused the request as malformed or too large
│   │   ├── AuthenticationError           the service refused the key, or wants one
│   │   ├── InsufficientBalanceError      the account cannot pay for the request
│   │   ├── RateLimitError                with the wait the server asked for
│   │   ├── ServerError                   the service failed
│   │   ├── ApiConnectionError            no response: refused, reset, no route
│   │   │   └── ApiTimeoutError (TimeoutError)
│   │   └── InvalidResponseError          a response, but not one finite vector per input
│   └── BudgetExceededError               stopped here, before anything was sent
└── CheckpointError                       weights missing, corrupt or misshapen, by tensor name

Every error survives pickling, since loaders and pipelines run in other processes. Keys, texts and image bytes never
appear in a message.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


class JinaClipError(Exception):
    """Base of all errors of this package.

    `partial` holds the rows that were finished before the error, `(n, d)` with NaN where nothing was computed, when
    the error ended an encode call; otherwise None.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
        self.partial: np.ndarray | None = None

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions are rebuilt from `args` by default, which loses keyword arguments and what was set later.
        return _rebuild, (type(self), self.__dict__.copy())


def _rebuild(cls: type[JinaClipError], state: dict[str, Any]) -> JinaClipError:
    error = cls.__new__(cls)
    Exception.__init__(error, state["message"])
    error.__dict__.update(state)
    return error


class ConfigurationError(JinaClipError, ValueError):
    """A setting that cannot work: an unknown model or option, bad dimensions, no key."""


class InputError(JinaClipError, ValueError):
    """An input that cannot be embedded. `index` is its position in the caller's sequence, None where it is alone."""

    def __init__(self, message: str, *, index: int | None = None) -> None:
        super().__init__(message)
        self.index = index

    def __str__(self) -> str:
        return self.message if self.index is None else f"input {self.index}: {self.message}"

    def at(self, index: int) -> InputError:
        """This error, naming the caller's position `index`; cause and traceback stay."""
        self.index = index
        return self


class ImageError(InputError):
    """An image that cannot be read, decoded or fetched, or that the source policy does not allow."""


class BackendError(JinaClipError):
    """The backend could not do what was asked."""


class ApiError(BackendError):
    """The remote service refused or failed.

    `status_code` is the HTTP status (None if there was no response), `code` the service's own error code, `request_id`
    what its support asks for, `body` a short excerpt of the response without anything the caller had sent. `positions`
    are the inputs of the request, or the one at fault where it is known; empty where neither is known.
    """

    def __init__(
        self,
        message: str,
        *,
        status_code: int | None = None,
        code: str | None = None,
        request_id: str | None = None,
        body: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status_code = status_code
        self.code = code
        self.request_id = request_id
        self.body = body
        self.positions: tuple[int, ...] = ()

    def __str__(self) -> str:
        if not self.positions:
            return self.message
        first, last = min(self.positions), max(self.positions)
        return f"{self.message} (input {first})" if first == last else f"{self.message} (inputs {first} to {last})"


class InvalidRequestError(ApiError):
    """The service refused the request as malformed or too large (400, 404, 405, 413, 415, 422)."""


class AuthenticationError(ApiError):
    """The service refused the key or wants one (401, an uncoded 403)."""


class InsufficientBalanceError(ApiError):
    """The account cannot pay for the request (402, a balance 403)."""


class RateLimitError(ApiError):
    """Too many requests, tokens or connections (429). `retry_after_s` is the wait the server asked for, in seconds."""

    def __init__(self, message: str, *, retry_after_s: float | None = None, **details: Any) -> None:
        super().__init__(message, **details)
        self.retry_after_s = retry_after_s


class ServerError(ApiError):
    """The service failed (5xx)."""


class ApiConnectionError(ApiError):
    """No response from the service: refused, reset, no route."""


class ApiTimeoutError(ApiConnectionError, TimeoutError):
    """No complete response from the service in time."""


class InvalidResponseError(ApiError):
    """The response of the service is not one finite vector of the right width per input."""


class BudgetExceededError(BackendError):
    """Stopped here, before anything was sent, because the token budget would be overspent."""


class CheckpointError(JinaClipError):
    """Weights missing, corrupt or misshapen. `tensors` names the tensors at fault, where there are any."""

    def __init__(self, message: str, *, tensors: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.tensors = tensors


def require_extra(module: str, *, extra: str, purpose: str) -> None:
    """Raise `ImportError` with the install line of `extra` unless `module` can be imported. Nothing is imported."""
    try:
        found = importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):  # no parent package; a module that something put into `sys.modules` by hand
        found = False
    if not found:
        raise ImportError(
            f"{purpose} needs the package {module.split('.')[0]!r}; "
            f'install it with: pip install "jina-clip-integrations[{extra}]"'
        )
