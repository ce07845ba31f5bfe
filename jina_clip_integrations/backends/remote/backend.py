"""What every remote backend does: batches into requests, requests in flight, results as they come, sync and async."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import warnings
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import closing
from functools import partial
from typing import Any, ClassVar, Protocol

from ...catalog import ModelSpec, find_model
from ...concurrency.threads import DaemonThreadPool
from ...errors import ConfigurationError, JinaClipError
from ...settings import ApiSettings
from ..base import Batch, BatchResult, collect
from .batching import RequestBatcher, RequestCaps
from .dialects import Dialect
from .drive import adrive, drive
from .encodings import PACKED, Expected
from .error_mapping import Kind
from .flow import Outcome, Reply, Send, Service, request_flow
from .limits import Limits
from .prepare import ItemEncoder
from .requests import EncodedItem, RequestBatch, RequestTemplate
from .responses import Rows
from .scheduler import Job, Pending


class Transport(Protocol):
    """What carries a request there and an answer back."""

    def send(self, step: Send) -> Reply: ...

    async def asend(self, step: Send) -> Reply: ...

    def close(self) -> None: ...

    async def aclose(self) -> None: ...


class RemoteBackend:
    """A service somewhere else that speaks a `Dialect`. Safe to share between threads and tasks: so are its limits."""

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
        settings: ApiSettings,
        dialect: Dialect,
        name: str,
        secrets: Callable[[], tuple[str, ...]] = tuple,
        hints: Mapping[Kind, str] | None = None,
    ) -> None:
        self.model = model
        self.spec = spec
        self._settings = settings
        self._dialect = dialect
        self._width = spec.embed_dim if spec is not None else 0
        self._warned_of_model = False
        self._name = name
        self._secrets_of = secrets
        self._hints = hints or {}
        self._process = os.getpid()
        self._known_service = self._new_service()
        self._packing = ItemEncoder(
            dialect=dialect,
            spec=spec,
            resize_images=settings.resize_images,
            max_image_bytes=settings.max_image_bytes,
            measure_urls=settings.token_budget is not None,
        )

    def _new_service(self) -> Service:
        settings = self._settings
        limits = Limits(
            max_concurrency=settings.max_concurrency,
            requests_per_minute=settings.requests_per_minute,
            tokens_per_minute=settings.tokens_per_minute,
            token_budget=settings.token_budget,
        )
        return Service(
            name=self._name,
            limits=limits,
            max_retries=settings.max_retries,
            retry=settings.retry,
            max_response_bytes=settings.max_response_bytes,
            secrets=self._secrets_of,
            on_request=settings.on_request,
            on_rows=self._learn,
            hints=self._hints,
        )

    @property
    def _service(self) -> Service:
        """Limits and settings; a forked child gets limits of its own, since it has none of the parent's requests."""
        if self._process != os.getpid():
            self._process = os.getpid()
            self._known_service = self._new_service()
        return self._known_service

    def _transport(self) -> Transport:
        raise NotImplementedError

    # What it is

    @property
    def dimensions(self) -> int:
        """Full width of the vectors. 0 for a model that the catalogue does not know, until its first answer."""
        return self._width

    @property
    def batch_size(self) -> int:
        """Most items per request."""
        return self._settings.batch_size

    @property
    def embedding_type(self) -> str:
        """How vectors travel; `binary` and `ubinary` rows are packed bits."""
        return self._settings.embedding_type

    @property
    def sends_urls(self) -> bool:
        """Whether an image given by URL is left to the service to fetch."""
        return self._settings.resize_images is False and self._dialect.image_url is not None

    @property
    def cache_identity(self) -> str:
        """Everything besides the content that may change a vector."""
        resize = self._settings.resize_images
        packed = self.embedding_type in PACKED
        return f"{self.kind}/{self._address()}/{self._dialect.name}/{self.model}/resize={resize}/bits={packed}"

    @property
    def tokens_spent(self) -> int:
        """Tokens that count against `token_budget` so far."""
        return self._service.limits.tokens_spent

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
            error.partial = self._collected(results, batch).vectors
            raise
        return self._collected(results, batch)

    async def aembed(self, batch: Batch) -> BatchResult:
        """`embed` without blocking the event loop."""
        results: list[BatchResult] = []
        try:
            async for result in self.astream(batch):
                results.append(result)  # noqa: PERF401  # what was finished is needed if the next one fails
        except JinaClipError as error:
            error.partial = self._collected(results, batch).vectors
            raise
        return self._collected(results, batch)

    def stream(self, batch: Batch) -> Iterator[BatchResult]:
        """Yield results as requests are answered, in any order. Closing the iterator cancels what has not started.

        Raises what `embed` raises, after everything finished was yielded.
        """
        if not len(batch):
            return
        job, supply = self._job(batch)
        with closing(job):
            job.prepare()
            only = job.only_piece()
            if only is not None:
                yield from self._checked(job.absorb(partial(self._drive, job, only)))
            yield from self._checked(self._pump(job))
            yield from self._checked(job.finish())
            self._warn_of_cut_texts(supply)

    async def astream(self, batch: Batch) -> AsyncIterator[BatchResult]:
        """`stream` with tasks instead of threads."""
        if not len(batch):
            return
        job, supply = self._job(batch)
        tasks: set[asyncio.Task[Any]] = set()
        try:
            while job.launch(partial(self._start_task, tasks, job), partial(self._start_preparing, tasks, job)):
                done, _ = await asyncio.wait(tasks, timeout=job.patience, return_when=asyncio.FIRST_COMPLETED)
                tasks -= done
                for result in self._checked(job.settle(done)):
                    yield result
            for result in self._checked(job.finish()):
                yield result
            self._warn_of_cut_texts(supply)
        finally:
            job.close()
            await _cancel(tasks)

    def close(self) -> None:
        """Close connections that were opened here. The backend opens new ones if it is used again."""
        self._transport().close()

    async def aclose(self) -> None:
        """Close connections, those of the running event loop too."""
        await self._transport().aclose()

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    async def __aenter__(self) -> Any:
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self.aclose()

    # How

    def _pump(self, job: Job) -> Iterator[BatchResult]:
        pool = DaemonThreadPool("jina-clip-api")
        start, prepare = (
            (lambda piece: pool.submit(partial(self._drive, job, piece))),
            partial(pool.submit, job.prepare),
        )
        try:
            while job.launch(start, prepare):
                done, _ = concurrent.futures.wait(job.running, job.patience, concurrent.futures.FIRST_COMPLETED)
                yield from job.settle(done)
        finally:
            job.halt.stop()
            pool.shutdown()

    def _start_task(self, tasks: set[asyncio.Task[Any]], job: Job, piece: RequestBatch) -> Pending:
        task = asyncio.ensure_future(adrive(request_flow(piece, self._service), self._transport().asend, job.halt))
        tasks.add(task)
        return task

    def _start_preparing(self, tasks: set[asyncio.Task[Any]], job: Job) -> Pending:
        task = asyncio.ensure_future(asyncio.to_thread(job.prepare))
        tasks.add(task)
        return task

    def _drive(self, job: Job, piece: RequestBatch) -> Outcome:
        return drive(request_flow(piece, self._service), self._transport().send, job.halt)

    def _job(self, batch: Batch) -> tuple[Job, RequestBatcher]:
        order = self._order(batch)
        prepare = partial(self._parcel, batch)
        supply = RequestBatcher(
            order, len(batch), prepare, partial(self._caps, batch), threads=batch.modality == "image"
        )
        return Job(supply, self._service.limits), supply

    def _order(self, batch: Batch) -> RequestTemplate:
        """What the requests of a batch say. Raises `ConfigurationError` for what model or server cannot do."""
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
            dimensions=batch.dimensions if _asks_for_dimensions(head, self._dialect) else None,
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
            normalize=batch.normalize,
            isolate_errors=batch.isolate_errors,
            encoding_field=self._dialect.encoding_field,
        )

    def _check(self, batch: Batch) -> None:
        if self.spec is not None:
            self.spec.check_dimensions(batch.dimensions)
            self.spec.check_task(batch.task)
        elif batch.dimensions is not None and batch.dimensions < 1:
            raise ConfigurationError(f"dimensions={batch.dimensions}: must be at least 1")
        if batch.modality == "image" and self._dialect.image is None and self._dialect.image_url is None:
            raise ConfigurationError(f"a server of dialect {self._dialect.name!r} takes texts only, not images")

    def _parcel(self, batch: Batch, position: int) -> EncodedItem:
        if batch.modality == "text":
            return self._packing.text(position, batch.texts[position], batch.task)
        return self._packing.image(position, batch.images[position])

    def _caps(self, batch: Batch) -> RequestCaps:
        settings = self._settings
        known = (settings.batch_size, self._dialect.max_items(batch.modality), self._service.limits.item_cap)
        return RequestCaps(
            items=min(cap for cap in known if cap is not None),
            bytes=settings.max_request_bytes,
            tokens=min(settings.max_request_tokens, settings.tokens_per_minute or settings.max_request_tokens),
        )

    def _learn(self, rows: Rows) -> None:
        if self.spec is None and rows.vectors.dtype != "uint8":
            self._width = max(self._width, rows.vectors.shape[1])

    def _checked(self, results: Iterator[BatchResult]) -> Iterator[BatchResult]:
        for result in results:
            self._warn_of_other_model(result.model)
            yield result

    def _warn_of_other_model(self, echoed: str | None) -> None:
        if echoed is None or self._warned_of_model or _same_model(echoed, self.model):
            return
        self._warned_of_model = True
        warnings.warn(
            f"{self._name} was asked for model {self.model!r} and says it used {echoed[:80]!r}; "
            "vectors of different models must not be mixed",
            UserWarning,
            stacklevel=2,
        )

    def _warn_of_cut_texts(self, supply: RequestBatcher) -> None:
        """One warning per job, where the service was asked to cut."""
        if supply.order.modality != "text" or self.spec is None or not self._dialect.truncate_field:
            return
        if supply.long_items:
            warnings.warn(
                f"{supply.long_items} text(s) are longer than the {self.spec.max_length:,} tokens of {self.model} by "
                "estimate; the service embeds only their beginning",
                UserWarning,
                stacklevel=2,
            )

    def _collected(self, results: list[BatchResult], batch: Batch) -> BatchResult:
        width = next((result.vectors.shape[1] for result in results if len(result.vectors)), None)
        if width is None:
            width = self._order(batch).no_rows().shape[1]
        whole = collect(results, items=len(batch), dimensions=width)
        model = next((result.model for result in results if result.model is not None), None)
        ids = [result.request_id for result in results if result.request_id is not None]
        return BatchResult(whole.vectors, None, whole.errors, whole.usage, model, ids[0] if len(ids) == 1 else None)


def _asks_for_dimensions(head: Any, dialect: Dialect) -> bool:
    options = head.get(dialect.options_field, {}) if dialect.options_field else head
    return dialect.dimensions_field in options


def _same_model(echoed: str, asked: str) -> bool:
    known = find_model(echoed)
    return echoed == asked or (known is not None and known is find_model(asked))


async def _cancel(tasks: set[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
