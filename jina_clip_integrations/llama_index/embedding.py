"""The embedding model: the public methods around the hooks, the ingestion step, dumps and pickles."""

from __future__ import annotations

import asyncio
import logging
import pickle
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any

from llama_index.core.schema import BaseNode

from ..backends.registry import find_backend
from ..concurrency.flow import Call, Flow, adrive, drive
from ..concurrency.loops import running_loop
from ..encoder.progress import ProgressBar
from ..errors import ConfigurationError
from ..inputs import all_valid, one_text, parse, parse_texts, text_list
from .cache_keys import cache_keys
from .documents import check_is_text, to_nodes, warn_of_image_nodes
from .hooks import MAX_EMBED_BATCH_SIZE, EncoderHooks
from .image_inputs import has_image, node_list
from .instrumentation import EmbedBatch, Embedding, Role, image_span, instrument, relocate_errors
from .rate_limit import tokens_of_requests
from .serialization import OBJECT_FIELDS, SerializedOptions, to_json_value

DEFAULT_NUM_WORKERS = 4
"""Batches in flight in the async batch methods where neither `num_workers` nor `max_concurrency` says."""

logger = logging.getLogger(__name__)


class JinaClipEmbedding(EncoderHooks):
    """Jina CLIP for LlamaIndex: texts and images as vectors of one space.

    Construction opens nothing; the model is loaded, or the service called, on first use. Options that are left out
    have the defaults of the chosen backend, and a field that is assigned later takes effect with the next
    call. Vectors are lists of `dimensions` Python floats, of unit length unless `normalize=False`. As an ingestion step
    it embeds nodes that carry an image as images, all others as texts.

    Args:
        model_name: `jina-clip-v1`, `jina-clip-v2`, `demo`, a checkpoint folder or a Hub id (`model` works too).
        backend: `api`, `local`, `onnx`, `openvino`, `sagemaker` or an `EmbeddingBackend` object.
        dimensions: Width of the vectors; None = the model's own.
        api_key: Key of the hosted service; by default from `JINA_API_KEY`, `JINAAI_API_KEY` or `JINA_AUTH_TOKEN`.
        query_task: `auto` gives queries the model's instruction where it has one; None turns it off.
        embed_batch_size: Inputs that go through events, cache and limiter together (1 to 2048). `batch_size` is how
            many the backend computes together.
        num_workers: Batches of that size in flight in the async batch methods; if None then `max_concurrency` where it
            was given, else 4.
        embeddings_cache: A key-value store of LlamaIndex for texts and images; its keys tell models and widths apart.
        rate_limiter: Asked once per request, for images too, with the estimated tokens.
        **options: Every other option of the encoder and of the chosen backend, under its own name.

    Raises:
        pydantic.ValidationError: an unknown option, or one that the chosen backend cannot honour.
        ConfigurationError: on first use, a missing key, or options that were made contradictory by assignment.
    """

    # Texts

    def get_query_embedding(self, query: str) -> Embedding:
        """The vector of a query, with the model's query instruction where `query_task` asks for it."""
        text = one_text(query, many="get_text_embeddings")
        return drive(instrument(self, EmbedBatch("query", [text])))[0]

    async def aget_query_embedding(self, query: str) -> Embedding:
        """`get_query_embedding` without blocking the event loop."""
        text = one_text(query, many="aget_text_embeddings")
        return (await adrive(instrument(self, EmbedBatch("query", [text]))))[0]

    def get_text_embedding(self, text: str) -> Embedding:
        """The vector of a text that is to be found."""
        checked = one_text(text, many="get_text_embeddings")
        return drive(instrument(self, EmbedBatch("text", [checked])))[0]

    async def aget_text_embedding(self, text: str) -> Embedding:
        """`get_text_embedding` without blocking the event loop."""
        checked = one_text(text, many="aget_text_embeddings")
        return (await adrive(instrument(self, EmbedBatch("text", [checked]))))[0]

    def get_text_embedding_batch(
        self,
        texts: list[str],
        show_progress: bool = False,
        **kwargs: Any,  # noqa: ARG002  # as in the base class
    ) -> list[Embedding]:
        """One vector per text, `embed_batch_size` at a time. Further keywords are ignored, as in the base class."""
        return self._embed_all("text", _valid_texts(texts, single="get_text_embedding"), show_progress)

    async def aget_text_embedding_batch(
        self,
        texts: list[str],
        show_progress: bool = False,
        **kwargs: Any,  # noqa: ARG002  # as in the base class
    ) -> list[Embedding]:
        """`get_text_embedding_batch`, with several batches in flight (`num_workers`)."""
        return await self._aembed_all("text", _valid_texts(texts, single="aget_text_embedding"), show_progress)

    def get_text_embeddings(self, texts: Sequence[str]) -> list[Embedding]:
        """One vector per text. Raises `InputError` for a `str` in place of the list."""
        return self.get_text_embedding_batch(text_list(texts, single="get_text_embedding"))

    async def aget_text_embeddings(self, texts: Sequence[str]) -> list[Embedding]:
        """`get_text_embeddings` without blocking the event loop."""
        return await self.aget_text_embedding_batch(text_list(texts, single="aget_text_embedding"))

    # Images

    @image_span(EncoderHooks.image)
    def get_image_embedding(self, img_file_path: Any) -> Embedding:
        """The vector of an image. Raises `ImageError`.

        Args:
            img_file_path: A path, a URL, a data URI, bytes, a stream, a PIL image, an array, or a node, document, block
                or resource of LlamaIndex that carries one.
        """
        return drive(instrument(self, EmbedBatch("image", [img_file_path])))[0]

    @image_span(EncoderHooks.image)
    async def aget_image_embedding(self, img_file_path: Any) -> Embedding:
        """`get_image_embedding` without blocking the event loop."""
        return (await adrive(instrument(self, EmbedBatch("image", [img_file_path]))))[0]

    @image_span(EncoderHooks.images)
    def get_image_embedding_batch(self, img_file_paths: Sequence[Any], show_progress: bool = False) -> list[Embedding]:
        """One vector per image, `embed_batch_size` at a time. Raises `ImageError` naming the index of a bad one."""
        return self._embed_all("image", img_file_paths, show_progress)

    @image_span(EncoderHooks.images)
    async def aget_image_embedding_batch(
        self, img_file_paths: Sequence[Any], show_progress: bool = False
    ) -> list[Embedding]:
        """`get_image_embedding_batch`, with several batches in flight (`num_workers`)."""
        return await self._aembed_all("image", img_file_paths, show_progress)

    def get_image_embeddings(self, images: Sequence[Any]) -> list[Embedding]:
        """One vector per image. Raises `InputError` for one image in place of the list."""
        return self.get_image_embedding_batch(images)

    async def aget_image_embeddings(self, images: Sequence[Any]) -> list[Embedding]:
        """`get_image_embeddings` without blocking the event loop."""
        return await self.aget_image_embedding_batch(images)

    # Ingestion

    def __call__(self, nodes: Sequence[BaseNode], **kwargs: Any) -> Sequence[BaseNode]:
        """Give every node its embedding: of its image where it carries one, captioned or not, else of its text.

        Takes `show_progress`. The same nodes come back, in the same order; image documents, as readers give them, come
        back as image nodes, which indexes and stores keep. Raises `InputError` for a file that a reader took for a
        text, and `ImageError` for a bad image, both with the node's index.
        """
        return drive(self._ingest(nodes, kwargs))

    async def acall(self, nodes: Sequence[BaseNode], **kwargs: Any) -> Sequence[BaseNode]:
        """`__call__` without blocking the event loop."""
        return await adrive(self._ingest(nodes, kwargs))

    def _ingest(self, nodes: Sequence[BaseNode], options: Mapping[str, Any]) -> Flow[Sequence[BaseNode]]:
        nodes = to_nodes(node_list(nodes))
        for role, positions in _positions_by_role(nodes):
            chosen = [nodes[position] for position in positions]
            embed = self._embed_images if role == "image" else self._embed_texts
            with relocate_errors(positions, [node.embedding for node in nodes]):
                vectors = yield embed(chosen, options)
            for node, vector in zip(chosen, vectors, strict=True):
                node.embedding = vector
        return nodes

    # Both call the public methods, so that those of a user's subclass count.

    def _embed_images(self, nodes: Sequence[BaseNode], options: Mapping[str, Any]) -> Call:
        show_progress = bool(options.get("show_progress"))
        return Call(
            lambda: self.get_image_embedding_batch(nodes, show_progress),
            lambda: self.aget_image_embedding_batch(nodes, show_progress),
        )

    def _embed_texts(self, nodes: Sequence[BaseNode], options: Mapping[str, Any]) -> Call:
        texts = all_valid(parse(nodes, check_is_text))
        return Call(
            lambda: self.get_text_embedding_batch(texts, **options),
            lambda: self.aget_text_embedding_batch(texts, **options),
        )

    # Batches

    def _embed_all(self, role: Role, values: Sequence[Any], show_progress: bool) -> list[Embedding]:
        rows: list[Any] = [None] * len(values)
        with self._progress_bar(role, len(values), show_progress) as bar:
            for positions, batch in self._split(role, values):
                with relocate_errors(positions, rows):
                    rows[positions.start : positions.stop] = drive(instrument(self, batch))
                bar.advance(len(positions))
        return rows

    async def _aembed_all(self, role: Role, values: Sequence[Any], show_progress: bool) -> list[Embedding]:
        running_loop()  # before jobs are made that nobody would await
        rows: list[Any] = [None] * len(values)
        limit = asyncio.Semaphore(self.num_workers or self.max_concurrency or DEFAULT_NUM_WORKERS)
        with self._progress_bar(role, len(values), show_progress) as bar:

            async def embed(positions: range, batch: EmbedBatch) -> None:
                async with limit:
                    with relocate_errors(positions, rows):
                        rows[positions.start : positions.stop] = await adrive(instrument(self, batch))
                bar.advance(len(positions))

            await _gather_or_cancel([embed(*placed) for placed in self._split(role, values)])
        return rows

    def _progress_bar(self, role: Role, total: int, show_progress: bool) -> ProgressBar:
        label = "Generating image embeddings" if role == "image" else "Generating embeddings"  # the base class's words
        return ProgressBar(total, shown=show_progress or self.show_progress, label=label)

    def _split(self, role: Role, values: Sequence[Any]) -> list[tuple[range, EmbedBatch]]:
        """Batches of `embed_batch_size` with their positions. Raises `ConfigurationError`."""
        size = self.embed_batch_size
        if not 1 <= size <= MAX_EMBED_BATCH_SIZE:  # assigned since: the base class checks it at construction only
            raise ConfigurationError(f"embed_batch_size={size}: must be from 1 to {MAX_EMBED_BATCH_SIZE}")
        ranges = [range(start, min(start + size, len(values))) for start in range(0, len(values), size)]
        return [(span, EmbedBatch(role, values[span.start : span.stop], is_list=True)) for span in ranges]

    def cache_keys(self, batch: EmbedBatch) -> list[str | None]:
        """Keys of the `embeddings_cache` for the inputs of a batch; None for what cannot be cached."""
        encoder = self._encoder()
        return cache_keys(batch, encoder, rendering=self.rendering, query_task=self._task_of_queries(encoder))

    def tokens_of_requests(self, values: Sequence[Any]) -> list[int]:
        """Estimated tokens of each request that these inputs take, for the `rate_limiter`."""
        return tokens_of_requests(
            values,
            model=self.model_name,
            per_request=self._inputs_per_request(len(values)),
            resize_images=self.resize_images is not False,
        )

    def _inputs_per_request(self, total: int) -> int:
        """How many inputs the backend sends together; all of them if it sends nothing, or is an object."""
        if not isinstance(self.backend, str):
            return total
        default = getattr(find_backend(self.backend).settings, "batch_size", None)
        if not isinstance(default, int):  # "auto", on this machine
            return total
        return self.batch_size if isinstance(self.batch_size, int) else default

    # What observers, dumps and pickles hold

    def to_payload(self) -> dict[str, Any]:
        """What observers are told: no key, header or address."""
        backend = self.backend if isinstance(self.backend, str) else type(self.backend).__name__
        facts = {"backend": backend, "dimensions": self.dimensions, "device": self.device}
        return {**super().to_payload(), **{name: fact for name, fact in facts.items() if fact is not None}}

    def to_dict(self, **kwargs: Any) -> dict[str, Any]:
        """All constructor arguments, JSON-safe, without key, headers, clients, callbacks, limiter and cache store.

        `from_dict` of it gives a working model, which reads the key from the environment. Printed, it shows the part on
        which the vectors depend (see `SerializedOptions`).

        Raises:
            ConfigurationError: a field holds an object that cannot be serialised.
        """
        hidden = {*OBJECT_FIELDS, *(kwargs.pop("exclude", None) or ())}
        data = super().to_dict(mode="json", exclude=hidden, **kwargs)
        return SerializedOptions(data | {name: to_json_value(name, getattr(self, name)) for name in OBJECT_FIELDS})

    def __getstate__(self) -> dict[Any, Any]:
        state = super().__getstate__()
        # Pipelines pickle their steps for other processes. A lock in one of these must not stop that, and no vector
        # depends on them; a backend object that does not pickle is an error, since another one gives other vectors.
        for name in ("callback_manager", "embeddings_cache", "rate_limiter"):
            if name in state and not _can_pickle(state[name]):
                logger.warning("%s does not pickle and stays behind", name)
                del state[name]
        return state


def _positions_by_role(nodes: Sequence[BaseNode]) -> list[tuple[Role, list[int]]]:
    """Positions of the nodes that are embedded as images, and of those that are embedded as texts."""
    images = [position for position, node in enumerate(nodes) if has_image(node)]
    texts = [position for position, node in enumerate(nodes) if not has_image(node)]
    roles: list[tuple[Role, list[int]]] = [("image", images), ("text", texts)]
    return [(role, positions) for role, positions in roles if positions]


def _valid_texts(texts: Any, *, single: str) -> list[str]:
    """The texts as a list. Raises `InputError` now, since observers, limiter and cache come before the encoder."""
    valid = all_valid(parse_texts(text_list(texts, single=single)))
    warn_of_image_nodes(valid)
    return valid


async def _gather_or_cancel(jobs: Sequence[Coroutine[Any, Any, None]]) -> None:
    """Await all; the first failure ends the others before it is raised."""
    # `gather` alone would raise it and leave the others running, each with a request that nobody waits for.
    tasks = [asyncio.ensure_future(job) for job in jobs]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _can_pickle(value: Any) -> bool:
    try:
        pickle.dumps(value)
    except Exception:  # whatever the object's own code raises
        return False
    return True
