"""One server's working parts: what it knows of the model, who is in the house, and the way from request to rows."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from ..catalog import ModelSpec
from ..errors import ConfigurationError, ImageError, InputError, JinaClipError, RateLimitError
from ..types import Vectors
from ..vectors import truncate_and_normalize
from .admission import Places
from .auth import Doorkeeper
from .batching import Batcher, InputFailedError, Kind
from .embedder import Embedder
from .errors import RefusalError, bad_item, internal_error, overloaded, unavailable
from .metrics import Metrics
from .preprocess import Prepared, Preparer, in_order
from .responses import Spent
from .schema import Request, Schema
from .settings import ServerSettings

if TYPE_CHECKING:
    from ..backends.base import EmbeddingBackend
    from ..encoder import JinaClipEncoder

logger = logging.getLogger("jina_clip_integrations.server")

SERVICE_PREFIX = "jina-ai/"
"""What the service's model list puts in front of a name."""

BUSY_BACKEND_WAIT_S = 5.0
"""Wait that a client is told when the backend itself is turned away."""

State: TypeAlias = Literal["loading", "ready", "failed", "draining"]


class Service:
    """Everything behind the routes. Belongs to one event loop."""

    def __init__(self, source: JinaClipEncoder | EmbeddingBackend, settings: ServerSettings) -> None:
        self.settings = settings
        self.embedder = Embedder(source)
        self.spec = self.embedder.spec
        self.names = names_of(self.spec, self.embedder.encoder.model, settings.model_names)
        self.schema = Schema(self.spec, names=self.names, strict=settings.strict, max_items=settings.max_items)
        self.doorkeeper = Doorkeeper(settings.api_keys)
        self.places = Places(settings)
        self.metrics = Metrics()
        self.batcher = Batcher(
            self.embedder.embed,
            max_batch=settings.max_batch,
            wait_s=settings.batch_wait_s,
            max_running=settings.max_running,
            on_batch=lambda kind, inputs, seconds: self.metrics.batch(kind.modality, inputs, seconds),
            on_failure=log_failure,
        )
        self.preparer = Preparer(
            self.spec, settings, count_tokens=self.embedder.count_tokens, max_length=self.embedder.max_length
        )
        self.state: State = "ready"  # an app used without a lifespan loads with the first request
        self._loading: asyncio.Task[None] | None = None
        self._watch()

    def _watch(self) -> None:
        watch = self.metrics.watch
        watch("requests_in_hand", "Requests being read or answered", lambda: self.places.requests)
        watch("inputs_in_hand", "Inputs taken in and not yet answered", lambda: self.places.inputs)
        watch("inputs_waiting", "Inputs that are in no batch yet", lambda: self.batcher.waiting)
        watch("buffered_bytes", "Bytes of request bodies in memory", lambda: self.places.bytes)
        watch("ready", "1 while requests are served", lambda: float(self.state == "ready"))

    # From its start to its end

    def start(self) -> None:
        """Begin to load the model; `state` says how that went."""
        self.state = "loading"
        self._loading = asyncio.get_running_loop().create_task(self._load())

    async def _load(self) -> None:
        try:
            await self.embedder.warm_up()
        except Exception as error:
            self.state = "failed"
            logger.error("the model could not be loaded: %s", described(error))
        else:
            if self.state == "loading":
                self.state = "ready"
                logger.info("ready to embed with %s", self.spec.name)

    def drain(self) -> None:
        """Answer what is in hand, refuse what comes."""
        self.state = "draining"

    async def stop(self) -> None:
        """Finish what was taken in, then end the threads. The backend stays its owner's to close."""
        self.drain()
        if self._loading is not None:
            await asyncio.wait([self._loading])
        await self.batcher.close()
        self.preparer.close()

    def check_open(self) -> None:
        """Raise `RefusalError` 503 unless requests are served; while the model loads they wait for it."""
        if self.state == "draining":
            raise unavailable("The server is shutting down")
        if self.state == "failed":
            raise unavailable("The model could not be loaded; see the server's log", retry_after_s=BUSY_BACKEND_WAIT_S)

    # From a request to its rows

    async def embed(self, request: Request) -> tuple[Vectors, Spent]:
        """Rows `(n, d)` as the request wants them, and what they cost. Raises `RefusalError`."""
        with self.places.take_inputs(len(request.items)):
            prepared = await self.preparer.prepare(request)
            rows = await self._rows(prepared, request)
        spent = prepared.spent()
        self.metrics.embedded("text", len(prepared.texts), spent.total - spent.image_tokens)
        self.metrics.embedded("image", len(prepared.images), spent.image_tokens)
        return truncate_and_normalize(rows, dimensions=request.dimensions, normalized=request.normalized), spent

    async def _rows(self, prepared: Prepared, request: Request) -> Vectors:
        rows = np.empty((len(request.items), self.spec.embed_dim), np.float32)
        work = []
        if prepared.texts:
            work.append(self._group(Kind("text", request.task), prepared.texts))
        if prepared.images:
            work.append(self._group(Kind("image"), prepared.images))
        for positions, vectors in await in_order(work):
            rows[positions] = vectors
        return rows

    async def _group(self, kind: Kind, inputs: Mapping[int, Any]) -> tuple[list[int], Vectors]:
        positions = list(inputs)
        try:
            return positions, await self.batcher.embed(kind, list(inputs.values()))
        except InputFailedError as failed:
            log_failure(failed.__cause__)
            raise refusal_of(failed.__cause__, positions[failed.position]) from failed.__cause__
        except Exception as error:
            raise refusal_of(error) from error


def log_failure(error: BaseException | None) -> None:
    """A line in the log, unless it was the client's fault."""
    if not isinstance(error, InputError):
        logger.error("an embedding failed: %s", described(error))


def refusal_of(error: BaseException | None, position: int | None = None) -> RefusalError:
    """What a client is told about a failure of the backend, or about the input at `position`."""
    if isinstance(error, InputError) and position is not None:
        code = "INPUT_INVALID_IMAGE" if isinstance(error, ImageError) else "INPUT_INVALID_TEXT"
        return bad_item(position, _unnamed(error.message), code=code)
    if isinstance(error, RateLimitError):
        return overloaded(
            "The backend of this server is busy", retry_after_s=error.retry_after_s or BUSY_BACKEND_WAIT_S
        )
    return internal_error()


def _unnamed(message: str) -> str:
    """An image error without the label in front, which names the digest of what was sent."""
    _, colon, reason = message.partition(": ")
    return f"the image: {reason}" if colon and "sha256:" in message else message


def described(error: BaseException | None) -> str:
    """An error for the log: our own with its message, anything else by type and place, since it may quote payloads."""
    if isinstance(error, (JinaClipError, ImportError)):
        return f"{type(error).__name__}: {error}"
    if error is None:
        return "unknown"
    return f"{type(error).__name__}\n{''.join(traceback.format_tb(error.__traceback__))}"


def names_of(spec: ModelSpec, model: str, more: tuple[str, ...]) -> tuple[str, ...]:
    """Names under which the model may be asked for, its own first; never the path of a folder."""
    own = [Path(spec.name).name, *([spec.hub_id] if spec.hub_id else [])]
    if not own[0]:
        raise ConfigurationError("the model has no name; give one with model_names")
    if model not in own and not Path(model).is_absolute() and not Path(model).exists():
        own.append(model)
    return tuple(dict.fromkeys([*more, *own, *(SERVICE_PREFIX + name for name in (*more, own[0]))]))
