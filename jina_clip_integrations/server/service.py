"""The parts of one server: the model, admission, preprocessing and batching, and the way from request to rows."""

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
from .admission import Admission
from .auth import BearerAuth
from .batching import Batcher, InputFailedError, Kind
from .embedder import Embedder
from .errors import RequestError, bad_item, internal_error, overload_error, unavailable_error
from .metrics import Metrics
from .preprocess import PreprocessedRequest, Preprocessor, in_order
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
"""`Retry-After` where the backend itself is rate-limited."""

State: TypeAlias = Literal["loading", "ready", "failed", "draining"]


class Service:
    """Everything behind the routes. Belongs to one event loop."""

    def __init__(self, source: JinaClipEncoder | EmbeddingBackend, settings: ServerSettings) -> None:
        self.settings = settings
        self.embedder = Embedder(source)
        self.spec = self.embedder.spec
        self.names = model_names(self.spec, self.embedder.encoder.model, settings.model_names)
        self.schema = Schema(self.spec, names=self.names, strict=settings.strict, max_items=settings.max_items)
        self.auth = BearerAuth(settings.api_keys)
        self.admission = Admission(settings)
        self.metrics = Metrics()
        self.batcher = Batcher(
            self.embedder.embed,
            max_batch=settings.max_batch,
            wait_s=settings.batch_wait_s,
            max_running=settings.max_running,
            on_batch=lambda kind, inputs, seconds: self.metrics.batch(kind.modality, inputs, seconds),
            on_failure=log_failure,
        )
        self.preprocessor = Preprocessor(
            self.spec, settings, count_tokens=self.embedder.count_tokens, max_length=self.embedder.max_length
        )
        self.state: State = "ready"  # an app used without a lifespan loads with the first request
        self._loading: asyncio.Task[None] | None = None
        self._watch()

    def _watch(self) -> None:
        watch = self.metrics.watch
        watch("requests_in_hand", "Requests being read or answered", lambda: self.admission.requests)
        watch("inputs_in_hand", "Inputs admitted and not yet answered", lambda: self.admission.inputs)
        watch("inputs_waiting", "Inputs that are in no batch yet", lambda: self.batcher.waiting)
        watch("buffered_bytes", "Bytes of request bodies in memory", lambda: self.admission.bytes)
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
            logger.error("the model could not be loaded: %s", describe_for_log(error))
        else:
            if self.state == "loading":
                self.state = "ready"
                logger.info("ready to embed with %s", self.spec.name)

    def drain(self) -> None:
        """Serve the requests that were admitted, refuse new ones."""
        self.state = "draining"

    async def stop(self) -> None:
        """Finish the requests that were admitted, then end the threads. The backend is left for its owner to close."""
        self.drain()
        if self._loading is not None:
            await asyncio.wait([self._loading])
        await self.batcher.close()
        self.preprocessor.close()

    def check_open(self) -> None:
        """Raise `RequestError` 503 unless requests are served; while the model loads they wait for it."""
        if self.state == "draining":
            raise unavailable_error("The server is shutting down")
        if self.state == "failed":
            raise unavailable_error(
                "The model could not be loaded; see the server's log", retry_after_s=BUSY_BACKEND_WAIT_S
            )

    # From a request to its rows

    async def embed(self, request: Request) -> tuple[Vectors, Spent]:
        """Rows `(n, d)` as the request wants them, and what they cost. Raises `RequestError`."""
        with self.admission.take_inputs(len(request.items)):
            prepared = await self.preprocessor.prepare(request)
            rows = await self._rows(prepared, request)
        spent = prepared.spent()
        self.metrics.count_inputs("text", len(prepared.texts), spent.total - spent.image_tokens)
        self.metrics.count_inputs("image", len(prepared.images), spent.image_tokens)
        return truncate_and_normalize(rows, dimensions=request.dimensions, normalized=request.normalized), spent

    async def _rows(self, prepared: PreprocessedRequest, request: Request) -> Vectors:
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
            raise to_request_error(failed.__cause__, positions[failed.position]) from failed.__cause__
        except Exception as error:
            raise to_request_error(error) from error


def log_failure(error: BaseException | None) -> None:
    """A line in the log, unless it was the client's fault."""
    if not isinstance(error, InputError):
        logger.error("an embedding failed: %s", describe_for_log(error))


def to_request_error(error: BaseException | None, position: int | None = None) -> RequestError:
    """The error response for a failure of the backend, or of the input at `position`."""
    if isinstance(error, InputError) and position is not None:
        code = "INPUT_INVALID_IMAGE" if isinstance(error, ImageError) else "INPUT_INVALID_TEXT"
        return bad_item(position, _drop_label(error.message), code=code)
    if isinstance(error, RateLimitError):
        return overload_error(
            "The backend of this server is busy", retry_after_s=error.retry_after_s or BUSY_BACKEND_WAIT_S
        )
    return internal_error()


def _drop_label(message: str) -> str:
    """An image error without the label in front, which names the digest of what was sent."""
    _, colon, reason = message.partition(": ")
    return f"the image: {reason}" if colon and "sha256:" in message else message


def describe_for_log(error: BaseException | None) -> str:
    """An error for the log: our own with its message, anything else by type and place, since it may quote payloads."""
    if isinstance(error, (JinaClipError, ImportError)):
        return f"{type(error).__name__}: {error}"
    if error is None:
        return "unknown"
    return f"{type(error).__name__}\n{''.join(traceback.format_tb(error.__traceback__))}"


def model_names(spec: ModelSpec, model: str, more: tuple[str, ...]) -> tuple[str, ...]:
    """Names under which the model may be asked for, its own first; never the path of a folder."""
    own = [Path(spec.name).name, *([spec.hub_id] if spec.hub_id else [])]
    if not own[0]:
        raise ConfigurationError("the model has no name; give one with model_names")
    if model not in own and not Path(model).is_absolute() and not Path(model).exists():
        own.append(model)
    return tuple(dict.fromkeys([*more, *own, *(SERVICE_PREFIX + name for name in (*more, own[0]))]))
