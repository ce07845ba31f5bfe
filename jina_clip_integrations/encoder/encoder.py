"""`JinaClipEncoder`: the one object behind every adapter, with blocking and awaitable methods."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from ..backends.base import EmbeddingBackend, Usage
from ..cache import EmbeddingCache, open_cache
from ..catalog import RETRIEVAL_QUERY, ModelSpec
from ..concurrency.flow import adrive, drive
from ..concurrency.locks import ForkSafeLock
from ..concurrency.threads import in_thread
from ..credentials import drop_sensitive
from ..errors import BackendError, JinaClipError
from ..images.rendering import Color, Rendering
from ..images.sources import SourcePolicy
from ..inputs import InputParser, Parsed, many_items, one_or_many_images, one_or_many_texts, parse, parse_texts
from ..retrieval.classification import Classification
from ..retrieval.prompts import Labels, Template, make_prompts
from ..settings import DEFAULT_MODEL, LIVE_OPTIONS, SECRET_OPTIONS, require_choice
from ..types import ImageInput, Item, Modality, OnError, Vectors
from .backend import BackendLoader
from .chunks import ON_ERROR, achunk, check_iteration, count_items
from .classification import MODALITIES, LabelMemo, ZeroShotClassifier, parse_inputs
from .items import Setup
from .job import Job
from .losses import LossWarnings
from .progress import ProgressBar
from .results import LastErrors
from .settings import EncoderSettings
from .steps import Workers

if TYPE_CHECKING:
    from typing_extensions import Self

FOLD_AT = 256
"""Calls whose usage is kept apart before it is summed, so that the list stays short where nobody reads `usage`."""

ITER_CHUNK = 1024
"""Items that `iter_encode` takes, computes and yields at a time."""


class JinaClipEncoder:
    """Embeds text and images in one vector space.

        encoder = JinaClipEncoder("jina-clip-v2", backend="local", dimensions=512)
        encoder.encode_text("a red bicycle", task="retrieval.query")     # (512,)
        encoder.encode_image(["bike.jpg", "https://example.org/car.png"])  # (2, 512)

    `model` is `jina-clip-v1`, `jina-clip-v2`, `demo`, a checkpoint folder or a Hub id; `backend` is `api`, `local`,
    `onnx`, `openvino`, `sagemaker` or an object with the `EmbeddingBackend` methods. `dimensions` is the width of the
    vectors (None = the model's own); they are truncated to it and then normalised unless `normalize` is False.
    `sources` says where images may come from (None = `SourcePolicy()`), `cache` is a folder or a cache object,
    `show_progress` draws a bar on stderr. All other options go to the backend.

    `exif_orientation` turns photos upright. As in the published preprocessing transparency is dropped and grey beyond 8
    bits clipped, with a warning; `background="white"` (or any colour) is put under transparent pixels, and takes an
    animation's first frame that is not empty; `high_bit_depth="scale"` scales grey to 8 bits.

    Thread-safe and task-safe. Rows are float32, `(d,)` for one input and `(n, d)` for n, and row i belongs to input i;
    with a backend that returns packed bits they are uint8, `(n, ceil(d / 8))`. Pickles and copies carry the settings
    but never a key, a client or a lock; a copy in this process shares the backend.

    Raises `ConfigurationError` for settings that cannot work and `ImportError` for a missing extra. Neither the network
    nor any weight is touched before the first call.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] = DEFAULT_MODEL,
        backend: str | EmbeddingBackend = "api",
        dimensions: int | None = None,
        normalize: bool = True,
        exif_orientation: bool = True,
        background: str | Color | None = None,
        high_bit_depth: str = "clip",
        sources: SourcePolicy | None = None,
        cache: str | os.PathLike[str] | EmbeddingCache | None = None,
        show_progress: bool = False,
        **backend_options: Any,
    ) -> None:
        self._settings = EncoderSettings(
            model=os.fspath(model),
            backend=backend,
            dimensions=dimensions,
            normalize=normalize,
            exif_orientation=exif_orientation,
            background=background,
            high_bit_depth=high_bit_depth,
            sources=sources,
            cache=cache,
            show_progress=show_progress,
        )
        self._options = dict(backend_options)
        self._prepare()
        self._loader.check_now()

    def _prepare(self) -> None:
        """Set up everything that is not a setting."""
        settings = self._settings
        self._parser = InputParser(sources=settings.sources or SourcePolicy(), rendering=settings.rendering)
        self._losses = LossWarnings()
        self._cache = open_cache(settings.cache)
        self._loader = BackendLoader(settings, self._options)
        self._usage = Usage()
        self._spent: deque[Usage] = deque()
        """Usage of calls that is not in `_usage` yet."""
        self._usage_lock = ForkSafeLock()
        self._last_errors = LastErrors()
        self._labels = LabelMemo()
        self._closed = False

    # What it is

    @property
    def backend(self) -> EmbeddingBackend:
        """The object that computes the vectors. Raises `BackendError` once the encoder is closed."""
        return self._open().get()

    @property
    def model(self) -> str:
        """The model as it was named, or as the backend object names its own."""
        return self._loader.model

    @property
    def spec(self) -> ModelSpec:
        """The model's facts; for an unknown model only its name and width (0 = unknown too)."""
        return self._open().spec_or_width()

    @property
    def query_task(self) -> str | None:
        """The task that gives a query the model's instruction; None for a model without one."""
        spec = self._setup().spec
        return RETRIEVAL_QUERY if spec is not None and RETRIEVAL_QUERY in spec.tasks else None

    @property
    def dimensions(self) -> int:
        """Width of the vectors, truncated or full; 0 where only the server knows it and was not asked yet."""
        return self._settings.dimensions or self._open().width() or 0

    @property
    def normalize(self) -> bool:
        """Whether rows are normalised."""
        return self._settings.normalize

    @property
    def exif_orientation(self) -> bool:
        """Whether photos are turned upright."""
        return self._settings.exif_orientation

    @property
    def rendering(self) -> Rendering:
        """How images become RGB pixels: `exif_orientation`, `background` and `high_bit_depth`."""
        return self._settings.rendering

    @property
    def reduced_image_size(self) -> int | None:
        """Side in pixels at which the backend computes images for a quick look; None = the model's own size."""
        size: int | None = getattr(self._open().get(), "reduced_image_size", None)
        return size

    @property
    def sources(self) -> SourcePolicy:
        """Where images may come from."""
        return self._parser.sources

    @property
    def cache(self) -> EmbeddingCache | None:
        """The cache in use."""
        return self._cache

    @property
    def usage(self) -> Usage:
        """Tokens and requests spent, items delivered and cache hits since this encoder was made."""
        return self._fold_usage()

    @property
    def last_errors(self) -> dict[int, JinaClipError]:
        """Errors of the items that the last call of this thread or task skipped, by the caller's index."""
        return self._last_errors.get()

    def __repr__(self) -> str:
        arguments = self._settings.describe_changes() | {"model": self.model}
        # Numbers only: a string may be a key, or an address with one in it.
        arguments |= {name: value for name, value in self._options.items() if isinstance(value, (bool, int, float))}
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in arguments.items())})"

    # Encoding

    def encode_text(
        self, texts: str | Iterable[str], *, task: str | None = None, on_error: OnError = "raise"
    ) -> Vectors:
        """Embed one text, `(d,)`, or several, `(n, d)`. A text is never opened, whatever it looks like.

        Args:
            texts: One `str` or a sequence of them; an empty one gives `(0, d)`.
            task: None, or a task of the model such as `retrieval.query` (v2).
            on_error: `raise` stops at the first bad item; `skip` gives it a NaN row and an entry in `last_errors`.

        Raises:
            InputError: an item that is no text; `index` says which, `partial` holds what was finished.
            ConfigurationError: an unknown task.
            BackendError: the backend failed.
        """
        return self._run(self._text_job(texts, task, on_error))

    async def aencode_text(
        self, texts: str | Iterable[str], *, task: str | None = None, on_error: OnError = "raise"
    ) -> Vectors:
        """`encode_text` without blocking the event loop."""
        await self._aready()
        return await self._arun(self._text_job(texts, task, on_error))

    def encode_image(self, images: ImageInput | Iterable[ImageInput], *, on_error: OnError = "raise") -> Vectors:
        """Embed one image, `(d,)`, or several, `(n, d)`.

        Args:
            images: One image or a sequence of them: a path, an http(s) URL or a data URI as `str`, a `Path`, `bytes`, a
                binary file object, a PIL image or a uint8 array `(H, W, 3)`. A 4-D array is a stack of images.
            on_error: As for `encode_text`.

        Raises:
            ImageError: an image that cannot be read, decoded or fetched, or that `sources` does not allow.
            BackendError: the backend failed.
        """
        return self._run(self._image_job(images, on_error))

    async def aencode_image(self, images: ImageInput | Iterable[ImageInput], *, on_error: OnError = "raise") -> Vectors:
        """`encode_image` without blocking the event loop."""
        await self._aready()
        return await self._arun(self._image_job(images, on_error))

    def encode(self, items: Iterable[Item], *, task: str | None = None, on_error: OnError = "raise") -> Vectors:
        """Embed texts and images mixed in any order, `(n, d)`.

        Args:
            items: `{"text": str}`, `{"image": image}`, LangChain content blocks, OpenAI `image_url` items.
            task: As for `encode_text`, for the texts among them; images have none.
            on_error: As for `encode_text`.

        Raises:
            InputError, ImageError: an item that cannot be understood or read.
            BackendError: the backend failed.
        """
        return self._run(self._item_job(list(many_items(items)), on_error, task=self._checked(task)))

    async def aencode(self, items: Iterable[Item], *, task: str | None = None, on_error: OnError = "raise") -> Vectors:
        """`encode` without blocking the event loop."""
        await self._aready()
        return await self._arun(self._item_job(list(many_items(items)), on_error, task=self._checked(task)))

    def iter_encode(
        self, items: Iterable[Item], *, chunk_size: int = ITER_CHUNK, on_error: OnError = "raise"
    ) -> Iterator[Vectors]:
        """Embed any number of items, yielding `(k, d)` arrays in order; only `chunk_size` items are held at a time.

        Indices in errors and in `last_errors` count from the first item of all; `partial` of an error holds the rows of
        the chunk that it ended.
        """
        # No generator itself, so that a wrong argument is an error here and not at the first `next`.
        check_iteration(on_error, chunk_size)
        return self._iterate(iter(many_items(items)), chunk_size, on_error, count_items(items))

    def aiter_encode(
        self, items: Iterable[Item] | AsyncIterable[Item], *, chunk_size: int = ITER_CHUNK, on_error: OnError = "raise"
    ) -> AsyncIterator[Vectors]:
        """`iter_encode` for `async for`; `items` may be an async iterable too."""
        check_iteration(on_error, chunk_size)
        chunks = achunk(items if isinstance(items, AsyncIterable) else many_items(items), chunk_size)
        return self._aiterate(chunks, on_error, count_items(items))

    # Classifying

    def classify(
        self,
        inputs: ImageInput | Item | Iterable[ImageInput | Item],
        labels: Labels,
        *,
        templates: Template | Sequence[Template] | None = None,
        modality: Modality = "image",
        logit_scale: float | None = None,
        on_error: OnError = "raise",
    ) -> Classification:
        """Zero-shot classification: the probability of every label for every input, `(n, k)`.

            result = encoder.classify(["rex.jpg", "tom.jpg"], ["cat", "dog"])
            result.predicted           # ["dog", "cat"]
            result.top(2)[0]           # [Prediction(label="dog", probability=…, score=…), …]

        Args:
            inputs: One image or several, in every form that `encode_image` takes, and items of `encode`:
                `{"text": str}` is a text among images.
            labels: Two or more, in any language; or a mapping from each to one or several prompts of its own.
            templates: One or several texts with `{}` or `{label}` in the label's place; a label stands for the mean of
                all. None = "a photo of a {}." for images, "{}" for texts, and a mapping's prompts as they are.
            modality: `text` says that inputs which are no items are texts. A text is never opened.
            logit_scale: What cosines are multiplied by before the softmax. None = the checkpoint's own, which only the
                backend `local` knows: the exponential of its parameter `logit_scale`.
            on_error: As for `encode_text`; a row that was left out is NaN and has no prediction.

        Raises:
            ConfigurationError: labels or templates that cannot work; an unknown logit scale.
            InputError, ImageError, BackendError: as in `encode`. `classifier(...).classify_vectors(error.partial)`
                gives the result of what was finished.

        The vectors of the last few sets of labels are remembered.
        """
        classifier = self.classifier(labels, templates=templates, modality=modality, logit_scale=logit_scale)
        return classifier.classify(inputs, on_error=on_error)

    async def aclassify(
        self,
        inputs: ImageInput | Item | Iterable[ImageInput | Item],
        labels: Labels,
        *,
        templates: Template | Sequence[Template] | None = None,
        modality: Modality = "image",
        logit_scale: float | None = None,
        on_error: OnError = "raise",
    ) -> Classification:
        """`classify` without blocking the event loop."""
        classifier = self.classifier(labels, templates=templates, modality=modality, logit_scale=logit_scale)
        return await classifier.aclassify(inputs, on_error=on_error)

    def classifier(
        self,
        labels: Labels,
        *,
        templates: Template | Sequence[Template] | None = None,
        modality: Modality = "image",
        logit_scale: float | None = None,
    ) -> ZeroShotClassifier:
        """An object that classifies many inputs by the same labels, which it embeds once. Arguments as in `classify`.

        It uses this encoder, which has to stay open.
        """
        require_choice("modality", modality, MODALITIES)
        prompts = make_prompts(labels, templates, modality)
        return ZeroShotClassifier(self, prompts, self._labels, modality=modality, logit_scale=logit_scale)

    def _encode_inputs(self, values: Sequence[Any], single: bool, modality: Modality, on_error: OnError) -> Vectors:
        """Embed images or texts, as `modality` says, and items among them: `(n, d)`, or `(d,)` for a single one."""
        return self._run(self._job(parse_inputs(values, modality, self._parser), on_error, single=single))

    async def _aencode_inputs(
        self, values: Sequence[Any], single: bool, modality: Modality, on_error: OnError
    ) -> Vectors:
        await self._aready()
        return await self._arun(self._job(parse_inputs(values, modality, self._parser), on_error, single=single))

    # Jobs

    def _text_job(self, texts: Any, task: str | None, on_error: OnError) -> Job:
        checked = self._checked(task)
        values, single = one_or_many_texts(texts)
        return self._job(parse_texts(values), on_error, task=checked, single=single)

    def _checked(self, task: str | None) -> str | None:
        """`task`. Raises `ConfigurationError` where the model has none of this name."""
        setup = self._setup()
        if task is not None and (setup.spec is None or task not in setup.spec.tasks):
            self._loader.check_task(task)
        return task

    def _image_job(self, images: Any, on_error: OnError) -> Job:
        values, single = one_or_many_images(images)
        return self._job(parse(values, self._parser.image), on_error, single=single)

    def _item_job(self, items: Sequence[Any], on_error: OnError, **place: Any) -> Job:
        return self._job(parse(items, self._parser.item), on_error, **place)

    def _job(self, items: Sequence[Parsed], on_error: OnError, **place: Any) -> Job:
        if on_error not in ON_ERROR:
            require_choice("on_error", on_error, ON_ERROR)
        return Job(items, self._setup(), isolate=on_error == "skip", **place)

    def _run(self, job: Job) -> Vectors:
        with self._running(job, threads=job.has_images) as workers:  # texts need no thread but the caller's
            drive(job.flow(workers))
        return job.results.result()

    async def _arun(self, job: Job) -> Vectors:
        with self._running(job, threads=True) as workers:  # with a cache texts too would block the event loop
            await adrive(job.flow(workers))
        return job.results.result()

    @contextmanager
    def _running(self, job: Job, *, threads: bool) -> Iterator[Workers]:
        """End threads, count usage, report errors and save finished rows, whatever happens inside."""
        results, workers = job.results, Workers(threads=threads)
        bar = None
        if self._settings.show_progress and results.progress is None:  # an iteration has one bar for all its chunks
            bar = ProgressBar(len(job.items), shown=True)
            results.progress = bar.advance
        try:
            yield workers
            if job.has_images:
                self._losses.warn(job.items, job.results)
        except BaseException as error:
            results.attach_partial(error)
            raise
        finally:
            workers.close()
            if bar is not None:
                bar.close()
            self._last_errors.set(results.errors)
            self._spent.append(results.usage)  # atomic, so that calls in many threads need no lock for it
            if len(self._spent) >= FOLD_AT:
                self._fold_usage()

    def _iterate(self, items: Iterator[Any], size: int, on_error: OnError, total: int | None) -> Iterator[Vectors]:
        errors: dict[int, JinaClipError] = {}  # one for all chunks, so that `last_errors` is about the whole iteration
        self._last_errors.set(errors)
        with ProgressBar(total, shown=self._settings.show_progress) as bar:
            offset = 0
            while chunk := list(islice(items, size)):
                yield self._run(self._item_job(chunk, on_error, offset=offset, errors=errors, progress=bar.advance))
                offset += len(chunk)

    async def _aiterate(
        self, chunks: AsyncIterator[list[Any]], on_error: OnError, total: int | None
    ) -> AsyncIterator[Vectors]:
        errors: dict[int, JinaClipError] = {}
        self._last_errors.set(errors)
        with ProgressBar(total, shown=self._settings.show_progress) as bar:
            offset = 0
            async for chunk in chunks:
                await self._aready()
                job = self._item_job(chunk, on_error, offset=offset, errors=errors, progress=bar.advance)
                yield await self._arun(job)
                offset += len(chunk)

    def _fold_usage(self) -> Usage:
        with self._usage_lock:
            while self._spent:
                self._usage += self._spent.popleft()
            return self._usage

    # Opening, closing, copying

    def _setup(self) -> Setup:
        """The facts about backend and model; the first call may read a checkpoint's configuration."""
        return self._open().known or self._loader.setup(self._cache)

    def _open(self) -> BackendLoader:
        if self._closed:
            raise BackendError("this encoder is closed; make a new one")
        return self._loader

    async def _aready(self) -> None:
        """Find out in a thread what jobs need to know: it may import torch and read a checkpoint's configuration."""
        if not self._open().is_ready:
            await in_thread(self._loader.setup, self._cache)

    def close(self) -> None:
        """Close the backend and the cache that were opened here, not objects that were handed in. Idempotent."""
        for opened in self._detach():
            opened.close()

    async def aclose(self) -> None:
        """`close` for async code."""
        for opened in self._detach():
            await opened.aclose() if hasattr(opened, "aclose") else opened.close()

    def _detach(self) -> list[Any]:
        self._closed = True
        cache = self._cache if isinstance(self._settings.cache, (str, os.PathLike)) else None
        ours: list[Any] = [self._loader.detach(), cache]
        return [opened for opened in ours if hasattr(opened, "close")]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self.aclose()

    def __getstate__(self) -> dict[str, Any]:
        options = {name: value for name, value in self._options.items() if name not in SECRET_OPTIONS | LIVE_OPTIONS}
        if self._options.get("headers"):
            options["headers"] = drop_sensitive(self._options["headers"])
        return {"settings": self._settings, "options": options}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._settings, self._options = state["settings"], dict(state["options"])
        self._prepare()

    def __copy__(self) -> Self:
        """An encoder with the same settings and counters of its own, which shares the backend."""
        copied = type(self).__new__(type(self))
        # Past `__getstate__`: within one process a copy keeps the key and the clients.
        copied.__setstate__({"settings": self._settings, "options": self._options})
        copied._loader.share(self._loader)
        copied._closed = self._closed
        return copied

    def with_cache(self, cache: str | os.PathLike[str] | EmbeddingCache | None) -> Self:
        """A copy that looks vectors up in `cache` and keeps them there; it shares the backend."""
        copied = self.__copy__()
        copied._settings, copied._cache = replace(self._settings, cache=cache), open_cache(cache)
        return copied

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        # The settings are frozen, and a second copy of weights or connections would help nobody.
        return self.__copy__()
