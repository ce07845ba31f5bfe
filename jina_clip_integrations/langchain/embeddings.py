"""The embeddings themselves, and the view of them that puts images into any vector store."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from langchain_core.embeddings import Embeddings
from pydantic import BaseModel, ConfigDict

from ..adapter import EncoderOptions, image_list, is_many, text_list
from ..adapter.fields import LocalOptions
from ..types import ImageInput


class JinaClipEmbeddings(EncoderOptions, Embeddings):
    """Jina CLIP for LangChain: texts and images as vectors of one space.

    Construction opens nothing; the model is loaded, or the service called, on first use. Options that are left out
    have the defaults of `ApiBackend` or `LocalBackend`. All vectors are lists of `dimensions` Python floats, of unit
    length unless `normalize=False`.

    Args:
        model: `jina-clip-v1`, `jina-clip-v2`, `demo`, a checkpoint folder or a Hub id (`model_name` works too).
        backend: `api`, `local`, or an `EmbeddingBackend` object.
        dimensions: Width of the vectors; None = the model's own.
        api_key: Key of the hosted service; by default from `JINA_API_KEY`, `JINAAI_API_KEY` or `JINA_AUTH_TOKEN`.
        query_task: `auto` gives queries the model's instruction where it has one; None turns it off.
        cache: None, a path, or an embedding cache; it holds images as well as texts.
        **options: Every option of the encoder and of the chosen backend, under its own name.

    Raises:
        pydantic.ValidationError: an unknown option, or one that the chosen backend cannot honour.
        ConfigurationError: on first use, a missing key, or options that were made contradictory by assignment.
    """

    model: str = "jina-clip-v2"
    num_workers: int | Literal["auto"] | None = None
    """Threads that decode pictures (local backend)."""

    synonyms: ClassVar[dict[str, str]] = {**EncoderOptions.synonyms, "model_name": "model"}
    backend_options: ClassVar[dict[str, frozenset[str]]] = {
        **EncoderOptions.backend_options,
        "local": frozenset(LocalOptions.model_fields) | {"num_workers"},
    }

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """One vector per text. Raises `InputError` for a `str` in place of the list."""
        listed = text_list(texts, single="embed_query")
        return self._encoder().encode_text(listed).tolist() if listed else []

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """`embed_documents` without blocking the event loop."""
        listed = text_list(texts, single="aembed_query")
        return (await (await self._aencoder()).aencode_text(listed)).tolist() if listed else []

    def embed_query(self, text: str) -> list[float]:
        """The vector of a query, with the model's query instruction where `query_task` asks for it."""
        encoder = self._encoder()
        return encoder.encode_text(_one_text(text), task=self._task_of_queries(encoder)).tolist()

    async def aembed_query(self, text: str) -> list[float]:
        """`embed_query` without blocking the event loop."""
        encoder = await self._aencoder()
        return (await encoder.aencode_text(_one_text(text), task=self._task_of_queries(encoder))).tolist()

    def embed_images(self, uris: list[ImageInput]) -> list[list[float]]:
        """One vector per image: paths, URLs, data URIs, bytes, PIL images or arrays, in any mixture."""
        listed = image_list(uris, single="embed_image")
        return self._encoder().encode_image(listed).tolist() if listed else []

    async def aembed_images(self, uris: list[ImageInput]) -> list[list[float]]:
        """`embed_images` without blocking the event loop."""
        listed = image_list(uris, single="aembed_image")
        return (await (await self._aencoder()).aencode_image(listed)).tolist() if listed else []

    def embed_image(self, uris: ImageInput | list[ImageInput]) -> Any:
        """One image gives one vector; a list of images gives a list of vectors, as vector stores expect."""
        return self.embed_images(list(uris)) if is_many(uris) else self.embed_images([uris])[0]

    async def aembed_image(self, uris: ImageInput | list[ImageInput]) -> Any:
        """`embed_image` without blocking the event loop."""
        return await self.aembed_images(list(uris)) if is_many(uris) else (await self.aembed_images([uris]))[0]

    def for_images(self) -> ImageEmbeddings:
        """An `Embeddings` that reads documents as image URIs: `Store.from_texts(uris, embeddings.for_images())`."""
        return ImageEmbeddings(embeddings=self)


class ImageEmbeddings(BaseModel, Embeddings):
    """`JinaClipEmbeddings` for stores that only know texts: the page content is an image's URI.

    Queries are still texts, so that a retriever finds images by description.
    """

    model_config = ConfigDict(extra="forbid")

    embeddings: JinaClipEmbeddings

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """One vector per image URI: a path, an http(s) URL or a data URI."""
        return self.embeddings.embed_images(text_list(texts, single="embed_image"))

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """`embed_documents` without blocking the event loop."""
        return await self.embeddings.aembed_images(text_list(texts, single="aembed_image"))

    def embed_query(self, text: str) -> list[float]:
        """The vector of a query text."""
        return self.embeddings.embed_query(text)

    async def aembed_query(self, text: str) -> list[float]:
        """`embed_query` without blocking the event loop."""
        return await self.embeddings.aembed_query(text)
