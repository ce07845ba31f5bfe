"""What every remote backend does: batches to requests, and results as they come, sync and async."""

from __future__ import annotations

import os
import warnings
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import aclosing, closing
from functools import partial
from typing import Any, ClassVar

from ...catalog import ModelSpec, find_model
from ...concurrency.flow import drive
from ...concurrency.loops import running_loop
from ...errors import ConfigurationError, JinaClipError
from ...settings import PACKED_TYPES, RemoteSettings
from ...vectors import truncate_and_normalize
from ..base import Batch, BatchResult, collect
from .dialects import Dialect
from .encodings import Expected
from .error_mapping import ErrorKind
from .flow import request_flow
from .limits import Limits
from .limits.shared import SharedLimits
from .prepare import ItemEncoder
from .requests import EncodedItem, RequestBatch, RequestBatcher, RequestCaps, RequestTemplate
from .responses import Rows
from .scheduler import run_in_tasks, run_in_threads
from .service import Service
from .transport import Transport

MAX_TEMPLATES = 32
"""Kinds of batch whose template is kept: few are ever in use, but a task may be anything that a user types."""


class RemoteBackend:
    """A remote service that speaks a `Dialect`. Safe to share between threads and tasks, which share its limits."""

    kind: ClassVar[str] = "remote"
    """For cache keys."""

    model: str
    """The model's name as the service is asked for it."""
    spec: ModelSpec | None
    """What is known of the model, None for one that the catalogue does not know."""

    def _set_up(
        self,
        *,
        model: str,
        spec: ModelSpec | None,
        settings: RemoteSettings,
        dialect: Dialect,
        name: str,
        transport: Transport,
        secrets: Callable[[], tuple[str, ...]] = tuple,
        address: str = "",
        hints: Mapping[ErrorKind, str] | None = None,
    ) -> None:
        self.model = model
        self.spec = spec
        self._settings = settings
        self._dialect = dialect
        self._transport = transport
        self._width = spec.embed_dim if spec is not None else 0
        self._warned_of_model = False
        self._name = name
        self._secrets_of = secrets
        self._public_address = address
        self._hints = hints or {}
        self._process = os.getpid()
        self._known_service = self._new_service()
        self._templates: dict[tuple[Any, ...], RequestTemplate] = {}
        self._item_encoder = ItemEncoder(
            dialect=dialect,
            spec=spec,
            resize_images=settings.resize_images,
            max_image_bytes=settings.max_image_bytes,
            measure_urls=any(
                getattr(limits, "token_budget", None) is not None for limits in (settings, settings.shared_limits)
            ),
        )

    def _new_limits(self) -> Limits:
        settings = self._settings
        if settings.shared_limits is not None:
            return SharedLimits(settings.shared_limits, max_concurrency=settings.max_concurrency)
        return Limits(
            max_concurrency=settings.max_concurrency,
            requests_per_minute=settings.requests_per_minute,
            tokens_per_minute=settings.tokens_per_minute,
            token_budget=settings.token_budget,
        )

    def _new_service(self) -> Service:
        settings = self._settings
        return Service(
            name=self._name,
            limits=self._new_limits(),
            transport=self._transport,
            max_retries=settings.max_retries,
            retry=settings.retry,
            max_response_bytes=settings.max_response_bytes,
            secrets=self._secrets_of,
            address=self._public_address,
            on_request=settings.on_request,
            on_rows=self._learn_width if self.spec is None else None,  # the catalogue's models need no learning
            hints=self._hints,
        )

    @property
    def _service(self) -> Service:
        """Limits and settings. A forked child gets its own: the parent's requests in flight never end there."""
        if self._process != os.getpid():
            self._process = os.getpid()
            self._known_service = self._new_service()
        return self._known_service

    # What it is

    @property
    def dimensions(self) -> int:
        """Full width of the vectors; 0 for a model that the catalogue does not know, until its first response."""
        return self._width

    @property
    def batch_size(self) -> int:
        """Maximum number of items per request."""
        return self._settings.batch_size

    @property
    def embedding_type(self) -> str:
        """Encoding of the vectors in responses; `binary` and `ubinary` rows are packed bits."""
        return self._settings.embedding_type

    @property
    def sends_urls(self) -> bool:
        """Whether the service fetches an image that is given by URL."""
        return self._settings.resize_images is False and self._dialect.image_url is not None

    @property
    def cache_identity(self) -> str:
        """Everything besides the input that may change a vector."""
        resize = self._settings.resize_images
        # base64 and float carry the same numbers, so entries of one serve the other.
        packed = self.embedding_type in PACKED_TYPES
        return f"{self.kind}/{self._address()}/{self._dialect.name}/{self.model}/resize={resize}/bits={packed}"

    @property
    def tokens_spent(self) -> int:
        """Tokens that count against `token_budget` so far."""
        return self._service.limits.tokens_spent

    @property
    def requests_in_flight(self) -> int:
        """Requests that are being sent or waited for at this moment."""
        return self._service.limits.concurrency.in_flight

    def _address(self) -> str:
        return self._name

    # Embedding

    def embed(self, batch: Batch) -> BatchResult:
        """Embed a batch; row i is item i, `(n, d)` float32 (uint8 for packed bits).

        Raises:
            InputError, ImageError: an item is at fault; `index` is its position in the batch.
            ApiError: the service refused or failed. `partial` holds the rows that were finished.
            BudgetExceededError: `token_budget` would be overspent.
        """
        results: list[BatchResult] = []
        try:
            results.extend(self.stream(batch))
        except JinaClipError as error:
            error.partial = self._collect(results, batch).vectors
            raise
        return self._collect(results, batch)

    async def aembed(self, batch: Batch) -> BatchResult:
        """`embed` without blocking the event loop."""
        results: list[BatchResult] = []
        try:
            async for result in self.astream(batch):
                results.append(result)  # noqa: PERF401  # what was finished is needed if the next one fails
        except JinaClipError as error:
            error.partial = self._collect(results, batch).vectors
            raise
        return self._collect(results, batch)

    def stream(self, batch: Batch) -> Iterator[BatchResult]:
        """Yield results as responses come in, in any order. Closing the iterator cancels what has not started.

        Float rows are as the service gives them, truncated and normalised or not. Raises what `embed` raises, after
        everything finished was yielded.
        """
        count = len(batch.texts) or len(batch.images)
        if not count:
            return
        batcher = self._batcher(batch, self._template(batch), count)
        with closing(batcher):
            first = batcher.take()
            batches: tuple[RequestBatch, ...] = () if first is None else (first,)
            if first is not None and batcher.exhausted:  # one request needs neither threads nor a schedule
                outcome = drive(request_flow(first, self._service))
                batches = outcome.batches
                if outcome.result is not None:
                    self._check_model(outcome.result.model)
                    yield outcome.result
            # A lone request may have been split, or items left out that could not be encoded.
            if batches or batcher.errors or not batcher.exhausted:
                yield from self._run(batcher, batches)
            if batcher.long_items:
                self._warn_of_long_texts(batcher)

    async def astream(self, batch: Batch) -> AsyncIterator[BatchResult]:
        """`stream` with tasks instead of threads. Raises `ConfigurationError` without an asyncio loop."""
        running_loop()
        count = len(batch.texts) or len(batch.images)
        if not count:
            return
        batcher = self._batcher(batch, self._template(batch), count)
        async with aclosing(run_in_tasks(batcher, self._service)) as results:
            async for result in results:
                self._check_model(result.model)
                yield result
        if batcher.long_items:
            self._warn_of_long_texts(batcher)

    def close(self) -> None:
        """Close the connections that were opened here. The next use opens new ones."""
        self._transport.close()

    async def aclose(self) -> None:
        """Close the connections, including those of the running event loop."""
        await self._transport.aclose()

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    async def __aenter__(self) -> Any:
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self.aclose()

    # How

    def _run(self, batcher: RequestBatcher, batches: tuple[RequestBatch, ...]) -> Iterator[BatchResult]:
        with closing(run_in_threads(batcher, self._service, batches)) as results:
            for result in results:
                self._check_model(result.model)
                yield result

    def _batcher(self, batch: Batch, template: RequestTemplate, count: int) -> RequestBatcher:
        encode, caps = partial(self._encode_item, batch), self._caps(template)
        return RequestBatcher(template, count, encode, caps, threads=batch.modality == "image")

    def _template(self, batch: Batch) -> RequestTemplate:
        """What all requests of a batch say. Raises `ConfigurationError` for what model or server cannot do."""
        # The width is part of the key, since an unknown model's is learnt from its first response. No lock: at worst
        # two threads make the same template.
        kind = (batch.modality, batch.task, batch.dimensions, batch.normalize, batch.isolate_errors, self._width)
        template = self._templates.get(kind)
        if template is None:
            if len(self._templates) >= MAX_TEMPLATES:
                self._templates.clear()
            template = self._templates[kind] = self._new_template(batch)
        return template

    def _new_template(self, batch: Batch) -> RequestTemplate:
        self._check(batch)
        head = self._dialect.head(
            model=self.model,
            modality=batch.modality,
            spec=self.spec,
            task=batch.task,
            dimensions=batch.dimensions,
            normalize=batch.normalize,
            embedding_type=self.embedding_type,
        )
        expected = Expected(
            items=0,
            dimensions=batch.dimensions if self._dialect.asks_for_dimensions(head) else None,
            full=self._width or None,
            embedding_type=self.embedding_type,
            indexed=self._dialect.indexed,
        )
        return RequestTemplate(
            modality=batch.modality,
            head=head,
            items_field=self._dialect.items_field,
            expected=expected,
            dimensions=batch.dimensions,
            isolate_errors=batch.isolate_errors,
            encoding_field=self._dialect.encoding_field,
            max_items=self._dialect.max_items(batch.modality),
        )

    def _check(self, batch: Batch) -> None:
        """Raise `ConfigurationError` before any network use for what the service would refuse anyway."""
        if self.spec is not None:
            self.spec.check_dimensions(batch.dimensions)
            self.spec.check_task(batch.task)
        elif batch.dimensions is not None and batch.dimensions < 1:
            raise ConfigurationError(f"dimensions={batch.dimensions}: must be at least 1")
        if batch.modality == "image" and self._dialect.image is None and self._dialect.image_url is None:
            raise ConfigurationError(f"a server of dialect {self._dialect.name!r} takes texts only, not images")

    def _encode_item(self, batch: Batch, position: int) -> EncodedItem:
        if batch.modality == "text":
            return self._item_encoder.text(position, batch.texts[position], batch.task)
        return self._item_encoder.image(position, batch.images[position])

    def _caps(self, template: RequestTemplate) -> RequestCaps:
        settings = self._settings
        known = (settings.batch_size, template.max_items, self._service.limits.item_cap)
        per_minute = getattr(settings.shared_limits, "tokens_per_minute", None) or settings.tokens_per_minute
        # A request above the minute's tokens would be refused however long it waited.
        return RequestCaps(
            items=min(cap for cap in known if cap is not None),
            bytes=settings.max_request_bytes,
            tokens=min(settings.max_request_tokens, per_minute or settings.max_request_tokens),
        )

    def _learn_width(self, rows: Rows) -> None:
        """Learn the full width of a model that the catalogue does not know."""
        if rows.vectors.dtype != "uint8":  # packed bits are padded to whole bytes
            # The widest so far, since some rows may be truncated to `dimensions`.
            self._width = max(self._width, rows.vectors.shape[1])

    def _check_model(self, echoed: str | None) -> None:
        """Warn once if the service says that it used another model."""
        if echoed in (None, self.model) or self._warned_of_model or _is_same_model(echoed, self.model):
            return
        self._warned_of_model = True
        warnings.warn(
            f"{self._name} was asked for model {self.model!r} and says it used {echoed[:80]!r}; "
            "vectors of different models must not be mixed",
            UserWarning,
            stacklevel=2,
        )

    def _warn_of_long_texts(self, batcher: RequestBatcher) -> None:
        """One warning per batch, where the service was asked to truncate texts."""
        if batcher.template.modality != "text" or self.spec is None or not self._dialect.truncate_field:
            return
        warnings.warn(
            f"{batcher.long_items} text(s) are longer than the {self.spec.max_length:,} tokens of {self.model} by "
            "estimate; the service embeds only their beginning",
            UserWarning,
            stacklevel=2,
        )

    def _collect(self, results: list[BatchResult], batch: Batch) -> BatchResult:
        """All results as one, with rows truncated and normalised as the batch asks for."""
        width = next((result.vectors.shape[1] for result in results if len(result.vectors)), None)
        if width is None:
            width = self._template(batch).no_rows().shape[1]
        whole = collect(results, items=len(batch), dimensions=width)
        rows = whole.vectors
        if rows.dtype != "uint8":
            rows = truncate_and_normalize(rows, dimensions=batch.dimensions, normalized=batch.normalize)
        model = next((result.model for result in results if result.model is not None), None)
        ids = [result.request_id for result in results if result.request_id is not None]
        # Several requests have several ids; one of them would mislead.
        return BatchResult(rows, None, whole.errors, whole.usage, model, ids[0] if len(ids) == 1 else None)


def _is_same_model(echoed: str, asked: str) -> bool:
    known = find_model(echoed)
    return known is not None and known is find_model(asked)
