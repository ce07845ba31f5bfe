"""The fields of the embedding model, and the ten hooks that LlamaIndex calls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from llama_index.core.embeddings import MultiModalEmbedding
from pydantic import Field

from ..adapter import EncoderOptions
from ..errors import InputError
from ..images.sources import SourcePolicy
from ..inputs import InputParser, image_list
from ..settings import DEFAULT_MODEL
from ..vectors import to_list, to_lists
from .image_inputs import image_item, parse_image, parse_images
from .instrumentation import Embedding
from .serialization import backend_from_dict

DEFAULT_EMBED_BATCH_SIZE = 128
"""Enough for a GPU, and not too long between two steps of a progress bar."""

MAX_EMBED_BATCH_SIZE = 2048
"""What the base class allows. Also the default over the API, where one batch follows the other in the blocking methods
and each should be worth many requests at a time."""

DEFAULT_SOURCES = SourcePolicy()
"""Where images may come from if `sources` does not say."""


class EncoderHooks(EncoderOptions, MultiModalEmbedding):
    """`MultiModalEmbedding` with its hooks answered by the encoder."""

    model_name: str = DEFAULT_MODEL
    embed_batch_size: int = Field(default=DEFAULT_EMBED_BATCH_SIZE, gt=0, le=MAX_EMBED_BATCH_SIZE)
    num_workers: int | None = None  # type: ignore[assignment]  # not the local backend's
    embeddings_cache: Any = Field(default=None, exclude=True)

    synonyms: ClassVar[Mapping[str, str]] = {**EncoderOptions.synonyms, "model": "model_name"}
    backend_options: ClassVar[Mapping[str, frozenset[str]]] = {
        backend: names - {"num_workers"} for backend, names in EncoderOptions.backend_options.items()
    }
    shared_by_copies: ClassVar[tuple[str, ...]] = (
        *EncoderOptions.shared_by_copies,
        "callback_manager",
        "embeddings_cache",
        "rate_limiter",
    )
    model_field: ClassVar[str] = "model_name"

    @classmethod
    def class_name(cls) -> str:
        """The stable name in dumps and payloads."""
        return "JinaClipEmbedding"

    @classmethod
    def _own_names(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        options = super()._own_names({name: value for name, value in given.items() if name != "class_name"})
        if isinstance(options.get("backend"), Mapping):
            options["backend"] = backend_from_dict(options["backend"])
        if options.get("backend", "api") == "api":
            options.setdefault("embed_batch_size", MAX_EMBED_BATCH_SIZE)
        return options

    def _arguments(self) -> dict[str, Any]:
        return {**super()._arguments(), "show_progress": False}  # the batch methods draw one bar for all batches

    # Hooks

    def _get_query_embedding(self, query: str) -> Embedding:
        encoder = self._encoder()
        return to_list(encoder.encode_text(query, task=self._task_of_queries(encoder)))

    async def _aget_query_embedding(self, query: str) -> Embedding:
        encoder = await self._aencoder()
        return to_list(await encoder.aencode_text(query, task=self._task_of_queries(encoder)))

    def _get_text_embedding(self, text: str) -> Embedding:
        return to_list(self._encoder().encode_text(text))

    async def _aget_text_embedding(self, text: str) -> Embedding:
        return to_list(await (await self._aencoder()).aencode_text(text))

    def _get_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        return to_lists(self._encoder().encode_text(texts))

    async def _aget_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        return to_lists(await (await self._aencoder()).aencode_text(texts))

    def _get_image_embedding(self, img_file_path: Any) -> Embedding:
        return to_list(self._encoder().encode_image(self.image(img_file_path)))

    async def _aget_image_embedding(self, img_file_path: Any) -> Embedding:
        return to_list(await (await self._aencoder()).aencode_image(self.image(img_file_path)))

    def _get_image_embeddings(self, img_file_paths: list[Any]) -> list[Embedding]:
        return to_lists(self._encoder().encode_image(self.images(img_file_paths)))

    async def _aget_image_embeddings(self, img_file_paths: list[Any]) -> list[Embedding]:
        return to_lists(await (await self._aencoder()).aencode_image(self.images(img_file_paths)))

    # Images

    def image(self, image: Any) -> Any:
        """The image that an image, node, block or resource means; what was parsed already comes back as it is.

        Opens nothing. Raises `ImageError`.
        """
        return parse_image(image, self._parser())

    def images(self, images: Any) -> list[Any]:
        """The images of a list of images. Raises `InputError` for a single image in place of the list."""
        if image_item(images) is not None:
            raise InputError(f"expected a list of images, got one {type(images).__name__}; use get_image_embedding")
        return parse_images(image_list(images, single="get_image_embedding"), self._parser())

    def _parser(self) -> InputParser:
        return InputParser(sources=self.sources or DEFAULT_SOURCES, rendering=self.rendering)
