"""The parts of one server and its life cycle: a request is admitted, preprocessed, batched and becomes rows."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from ..catalog import ModelSpec, find_model
from ..errors import ConfigurationError
from ..types import Vectors
from ..vectors import truncate_and_normalize
from .admission import Admission
from .auth import BearerAuth
from .batching import Batcher, InputFailedError, Kind
from .embedder import Embedder
from .errors import BUSY_BACKEND_WAIT_S, describe_for_log, log_failure, logger, to_request_error, unavailable_error
from .metrics import Metrics
from .preprocess import PreprocessedRequest, Preprocessor, gather_in_order
from .responses import TokenUsage
from .schema import Request, Schema
from .settings import ServerSettings

if TYPE_CHECKING:
    from ..backends.base import EmbeddingBackend
    from ..encoder import JinaClipEncoder

SERVICE_PREFIX = "jina-ai/"
"""Prefix of every name in the hosted service's model list."""

State: TypeAlias = Literal["loading", "ready", "failed", "draining"]


class Service:
    """Everything behind the routes. Belongs to one event loop."""

    def __init__(self, source: JinaClipEncoder | EmbeddingBackend, settings: ServerSettings) -> None:
        self.settings = settings
        self.embedder = Embedder(source)
        self.spec = self.embedder.spec
        encoder = self.embedder.encoder
        self.names = model_names(self.spec, encoder.model, settings.model_names, image_size=encoder.reduced_image_size)
        self.schema = Schema(self.spec, names=self.names, strict=settings.strict, max_items=settings.max_items)
        self.auth = BearerAuth(settings.api_keys)
        self.admission = Admission(settings)
        self.metrics = Metrics()
        self.batcher = Batcher(
            self.embedder.embed,
            max_batch=settings.max_batch,
            wait_s=settings.batch_wait_s,
            max_running=settings.max_running,
            on_batch=lambda kind, inputs, seconds: self.metrics.count_batch(kind.modality, inputs, seconds),
            on_failure=log_failure,
        )
        self.preprocessor = Preprocessor(
            self.spec, settings, count_tokens=self.embedder.count_tokens, max_length=self.embedder.max_length
        )
        self.state: State = "ready"  # an app used without a lifespan loads with the first request
        self.created_s = int(time.time())
        """When the model was put up for service, in seconds of the epoch; OpenAI's clients want one of every model."""
        self._loading: asyncio.Task[None] | None = None
        self._add_gauges()

    def _add_gauges(self) -> None:
        add_gauge = self.metrics.add_gauge
        add_gauge("requests_in_hand", "Requests being read or answered", lambda: self.admission.requests)
        add_gauge("inputs_in_hand", "Inputs admitted and not yet answered", lambda: self.admission.inputs)
        add_gauge("inputs_waiting", "Inputs that are in no batch yet", lambda: self.batcher.waiting)
        add_gauge("buffered_bytes", "Bytes of request bodies in memory", lambda: self.admission.bytes)
        add_gauge("ready", "1 while requests are served", lambda: float(self.state == "ready"))

    # Life cycle

    def start(self) -> None:
        """Load the model in the background; `state` tells the result."""
        self.state = "loading"
        self._loading = asyncio.get_running_loop().create_task(self._load())

    async def _load(self) -> None:
        try:
            await self.embedder.warm_up()
        except Exception as error:
            self.state = "failed"  # the process stays up, so that /live and the log tell the reason
            logger.error("the model could not be loaded: %s", describe_for_log(error))
        else:
            if self.state == "loading":  # it may be draining by now
                self.state = "ready"
                logger.info("ready to embed with %s", self.spec.name)

    def drain(self) -> None:
        """Refuse new requests; those that were admitted are served."""
        self.state = "draining"

    async def stop(self) -> None:
        """Finish the requests that were admitted, then end the threads. The caller closes the backend."""
        self.drain()
        if self._loading is not None:
            await asyncio.wait([self._loading])
        await self.batcher.close()
        self.preprocessor.close()

    def check_open(self) -> None:
        """Raise `RequestError` 503 while draining or after a failed start; while the model loads, requests wait."""
        if self.state == "draining":
            raise unavailable_error("The server is shutting down")
        if self.state == "failed":
            raise unavailable_error(
                "The model could not be loaded; see the server's log", retry_after_s=BUSY_BACKEND_WAIT_S
            )

    # Requests

    async def embed(self, request: Request) -> tuple[Vectors, TokenUsage]:
        """Rows `(n, d)`, truncated and normalised as the request asks, and their tokens. Raises `RequestError`."""
        with self.admission.take_inputs(len(request.items)):
            inputs = await self.preprocessor.preprocess(request)
            rows = await self._embed_inputs(inputs, request.task)
        usage = inputs.usage()
        self.metrics.count_inputs("text", len(inputs.texts), usage.total - usage.image_tokens)
        self.metrics.count_inputs("image", len(inputs.images), usage.image_tokens)
        # Here and not in the batch: requests of different widths share its full-width rows.
        return truncate_and_normalize(rows, dimensions=request.dimensions, normalized=request.normalized), usage

    async def _embed_inputs(self, inputs: PreprocessedRequest, task: str | None) -> Vectors:
        """Full-width rows `(n, D)` of texts and images, in the order of the request."""
        rows = np.empty((len(inputs.texts) + len(inputs.images), self.spec.embed_dim), np.float32)
        groups = []
        if inputs.texts:
            groups.append(self._embed_group(Kind("text", task), inputs.texts))
        if inputs.images:  # images have no task, so that requests of every task share their batches
            groups.append(self._embed_group(Kind("image"), inputs.images))
        for positions, vectors in await gather_in_order(groups):
            rows[positions] = vectors
        return rows

    async def _embed_group(self, kind: Kind, inputs: Mapping[int, Any]) -> tuple[list[int], Vectors]:
        positions = list(inputs)
        try:
            return positions, await self.batcher.embed(kind, list(inputs.values()))
        except InputFailedError as failed:
            log_failure(failed.__cause__)
            raise to_request_error(failed.__cause__, positions[failed.position]) from failed.__cause__
        except Exception as error:
            raise to_request_error(error) from error


def model_names(
    spec: ModelSpec, model: str, more: tuple[str, ...], *, image_size: int | None = None
) -> tuple[str, ...]:
    """Names that requests may use for the model, those of `more` first; never the path of a folder.

    With an `image_size` other than the model's own it is another model to clients: `jina-clip-v2@336`. Raises
    `ConfigurationError` where one of `more` would say that it is the published one, and for a model without a name.
    """
    own = [Path(spec.name).name, *([spec.hub_id] if spec.hub_id else [])]
    if not own[0]:
        raise ConfigurationError("the model has no name; give one with model_names")
    # A path would tell clients about this machine's folders.
    if model not in own and not Path(model).is_absolute() and not Path(model).exists():
        own.append(model)
    if image_size is not None:
        published = [name for name in more if find_model(name) is not None]
        if published:
            raise ConfigurationError(
                f"{published[0]!r} cannot be the name of a quick look at images of {image_size} pixels, whose vectors "
                "are not those of that model; choose another name"
            )
        own = [f"{name}@{image_size}" for name in own]
    return tuple(dict.fromkeys([*more, *own, *(SERVICE_PREFIX + name for name in (*more, own[0]))]))
