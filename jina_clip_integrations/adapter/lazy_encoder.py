"""The encoder of an adapter: built on first use, built anew when an option has changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from pydantic import SecretStr

from ..backends.base import EmbeddingBackend, Usage
from ..backends.registry import create_backend
from ..concurrency.locks import ForkSafeLock
from ..encoder import JinaClipEncoder
from ..encoder.settings import EncoderSettings

ENCODER_ARGUMENTS = tuple(f.name for f in fields(EncoderSettings) if f.name not in ("model", "backend"))
"""What the encoder keeps for itself; the other arguments make the backend."""


class LazyEncoder:
    """Holds one encoder and its backend. Equal to any other and pickled empty: it has no settings of its own.

    When only an option of the encoder changes, the backend stays, with the loaded model and the connections.
    """

    def __init__(self) -> None:
        self.current: JinaClipEncoder | None = None
        """The encoder, unless an option was assigned since: read without a lock or a comparison at every call."""
        self.version = 0
        """Grows with every assignment of an option."""
        self.agreed: list[Mapping[str, Any]] = []
        """Fingerprints of stored vectors that its own were found to be comparable with."""
        self._version_lock = ForkSafeLock()  # not `_lock`: an assignment does not wait for a model to load
        self._lock = ForkSafeLock()
        self._encoder: JinaClipEncoder | None = None
        self._made_from: dict[str, Any] = {}
        self._backend: EmbeddingBackend | None = None
        self._backend_made_from: dict[str, Any] = {}
        self._earlier = Usage()

    def expire(self) -> None:
        """Compare all options before the encoder is used again, because one was assigned."""
        with self._version_lock:
            self.version += 1
            self.current = None

    def encoder(self, arguments: Mapping[str, Any], *, version: int, check: Callable[[], None]) -> JinaClipEncoder:
        """The encoder for these arguments, those of `version`. `check` may refuse them before one is built."""
        with self._lock:  # two first calls at once must not load two models
            encoder = self._encoder
            if encoder is None or self._made_from != arguments:
                check()
                encoder = self._build(arguments)
                self._earlier, self._encoder, self._made_from = self.usage, encoder, _snapshot(arguments)
            # An option that was assigned since `version` is not in `arguments`, so the next call compares again.
            with self._version_lock:
                self.current = encoder if version == self.version else None
            return encoder

    def _build(self, arguments: Mapping[str, Any]) -> JinaClipEncoder:
        own = {name: value for name, value in arguments.items() if name in ENCODER_ARGUMENTS}
        rest = {name: value for name, value in arguments.items() if name not in ENCODER_ARGUMENTS}
        if self._backend is None or self._backend_made_from != rest:
            self._backend, self._backend_made_from = _open_backend(**rest), _snapshot(rest)
        return JinaClipEncoder(arguments["model"], backend=self._backend, **own)

    @property
    def usage(self) -> Usage:
        """Usage so far, including that of earlier encoders."""
        return self._earlier if self._encoder is None else self._earlier + self._encoder.usage

    @property
    def last_errors(self) -> dict[int, Exception]:
        """Errors of the last call of this thread or task, by index."""
        return {} if self._encoder is None else dict(self._encoder.last_errors)

    def fork(self) -> LazyEncoder:
        """One for a copy: the same model and connections, with its own usage."""
        copied = LazyEncoder()
        with self._lock:
            copied._backend, copied._backend_made_from = self._backend, self._backend_made_from
        return copied

    def close(self) -> None:
        """Close the encoder, and the backend if it was made here. The next use opens both again."""
        for opened in self._detach():
            opened.close()

    async def aclose(self) -> None:
        """`close` for async code."""
        for opened in self._detach():
            await opened.aclose()

    def _detach(self) -> list[Any]:
        with self._lock:
            made_here = isinstance(self._backend_made_from.get("backend"), str)  # not an object of the user's
            opened = [self._encoder, self._backend if made_here else None]
            self._earlier, self._encoder, self._backend, self.current = self.usage, None, None, None
        return [thing for thing in opened if thing is not None]

    # pydantic compares private attributes too, and two objects with the same options are to be equal.

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LazyEncoder)

    __hash__ = None  # type: ignore[assignment]  # mutable

    def __deepcopy__(self, memo: dict[int, Any]) -> LazyEncoder:
        return self.fork()

    def __reduce__(self) -> tuple[type[LazyEncoder], tuple[()]]:
        return LazyEncoder, ()


def _open_backend(model: str, backend: str | EmbeddingBackend, **options: Any) -> EmbeddingBackend:
    if not isinstance(backend, str):
        return backend
    # Secrets are unsealed at the last moment, so that no dump, repr or traceback of the options holds one in the open.
    return create_backend(backend, model, {name: _unseal(value) for name, value in options.items()})


def _unseal(value: Any) -> Any:
    return value.get_secret_value() if isinstance(value, SecretStr) else value


def _snapshot(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments, safe from later changes inside a list or a dict."""
    return {name: value.copy() if isinstance(value, dict | list) else value for name, value in arguments.items()}
