"""The embeddings, and a view of them that puts images into vector stores that know only texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from langchain_core.embeddings import Embeddings
from pydantic import BaseModel, ConfigDict

from ..adapter import EncoderOptions
from ..inputs import image_list, one_text, text_list
from ..settings import DEFAULT_MODEL
from ..types import ImageInput, OnError
from ..vectors import to_list, to_lists

PROBE = "dummy_text"
"""What langchain-qdrant embeds as documents to learn the width of the vectors. It is no image's URI, so the view for
stores answers it with the vector of a text."""


class JinaClipEmbeddings(EncoderOptions, Embeddings):
    """Jina CLIP for LangChain: texts and images as vectors of one space.

    Construction opens nothing; the model is loaded, or the service called, on first use. Options that are left out
    have the defaults of the chosen backend. All vectors are lists of `dimensions` Python floats, of unit
    length unless `normalize=False`.

    Args:
        model: `jina-clip-v1`, `jina-clip-v2`, `demo`, a checkpoint folder or a Hub id (`model_name` works too).
        backend: `api`, `local`, `onnx`, `openvino`, `sagemaker` or an `EmbeddingBackend` object.
        dimensions: Width of the vectors; None = the model's own.
        api_key: Key of the hosted service; by default from `JINA_API_KEY`, `JINAAI_API_KEY` or `JINA_AUTH_TOKEN`.
        query_task: `auto` gives queries the model's instruction where it has one; None turns it off.
        cache: None, a path, or an embedding cache; it holds images as well as texts.
        **options: Every option of the encoder and of the chosen backend, under its own name.

    Raises:
        pydantic.ValidationError: an unknown option, or one that the chosen backend cannot honour.
        ConfigurationError: on first use, a missing key, or options that were made contradictory by assignment.
    """

    model: str = DEFAULT_MODEL

    synonyms: ClassVar[Mapping[str, str]] = {**EncoderOptions.synonyms, "model_name": "model"}

    @property
    def model_name(self) -> str:
        """`model`, under the name that some wrappers and tracers read."""
        return self.model

    @property
    def jina_api_key(self) -> Any:
        """`api_key`, under the name that LangChain's older class has."""
        return self.api_key

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """One vector per text. Raises `InputError` for a `str` in place of the list."""
        listed = text_list(texts, single="embed_query")
        # Nothing needs no encoder, so an empty list works without a key or a model, as stores expect.
        return to_lists(self._encoder().encode_text(listed)) if listed else []

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """`embed_documents` without blocking the event loop."""
        listed = text_list(texts, single="aembed_query")
        return to_lists(await (await self._aencoder()).aencode_text(listed)) if listed else []

    def embed_query(self, text: str) -> list[float]:
        """The vector of a query, with the model's query instruction where `query_task` asks for it."""
        query = one_text(text, many="embed_documents")
        encoder = self._encoder()
        return to_list(encoder.encode_text(query, task=self._task_of_queries(encoder)))

    async def aembed_query(self, text: str) -> list[float]:
        """`embed_query` without blocking the event loop."""
        query = one_text(text, many="aembed_documents")
        encoder = await self._aencoder()
        return to_list(await encoder.aencode_text(query, task=self._task_of_queries(encoder)))

    def embed_images(self, uris: Sequence[ImageInput], *, on_error: OnError = "raise") -> list[list[float]]:
        """One vector per image: paths, URLs, data URIs, bytes, PIL images or arrays, in any mixture.

        `on_error="skip"` gives an image that cannot be read a vector of NaN and an entry in `last_errors`.

        Raises:
            ImageError: an image that cannot be read; `index` says which.
            InputError: one image in place of the list.
        """
        listed = image_list(uris, single="embed_image")
        return to_lists(self._encoder().encode_image(listed, on_error=on_error)) if listed else []

    async def aembed_images(self, uris: Sequence[ImageInput], *, on_error: OnError = "raise") -> list[list[float]]:
        """`embed_images` without blocking the event loop."""
        listed = image_list(uris, single="aembed_image")
        return to_lists(await (await self._aencoder()).aencode_image(listed, on_error=on_error)) if listed else []

    # One name for both: stores such as Chroma look for it, and always pass a list; people have one image.
    def embed_image(self, uris: ImageInput | Sequence[ImageInput]) -> Any:
        """One image gives one vector; a list of images gives a list of vectors, as vector stores expect."""
        return self._encoder().encode_image(uris).tolist()

    async def aembed_image(self, uris: ImageInput | Sequence[ImageInput]) -> Any:
        """`embed_image` without blocking the event loop."""
        return (await (await self._aencoder()).aencode_image(uris)).tolist()

    def for_images(self) -> ImageEmbeddings:
        """An `Embeddings` that reads documents as image URIs: `Store.from_texts(uris, embeddings.for_images())`."""
        return ImageEmbeddings(embeddings=self)


class ImageEmbeddings(BaseModel, Embeddings):
    """`JinaClipEmbeddings` for stores that know only texts: the page content is an image's URI.

    Queries are still texts, so that a retriever finds images by description. The image methods are there too, for
    stores that look for them.
    """

    # A pydantic model, so that stores and chains that hold it print, compare and pickle as with `JinaClipEmbeddings`.
    model_config = ConfigDict(extra="forbid")

    embeddings: JinaClipEmbeddings

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """One vector per image URI: a path, an http(s) URL or a data URI."""
        uris = image_list(texts, single="embed_image")
        if _is_probe(uris):
            return self.embeddings.embed_documents(uris)
        return self.embeddings.embed_images(uris)

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """`embed_documents` without blocking the event loop."""
        uris = image_list(texts, single="aembed_image")
        if _is_probe(uris):
            return await self.embeddings.aembed_documents(uris)
        return await self.embeddings.aembed_images(uris)

    def embed_query(self, text: str) -> list[float]:
        """The vector of a query text."""
        return self.embeddings.embed_query(text)

    async def aembed_query(self, text: str) -> list[float]:
        """`embed_query` without blocking the event loop."""
        return await self.embeddings.aembed_query(text)

    def embed_images(self, uris: Sequence[ImageInput]) -> list[list[float]]:
        """One vector per image."""
        return self.embeddings.embed_images(uris)

    async def aembed_images(self, uris: Sequence[ImageInput]) -> list[list[float]]:
        """`embed_images` without blocking the event loop."""
        return await self.embeddings.aembed_images(uris)

    def embed_image(self, uris: ImageInput | Sequence[ImageInput]) -> Any:
        """One image gives one vector, a list of images a list of vectors."""
        return self.embeddings.embed_image(uris)

    async def aembed_image(self, uris: ImageInput | Sequence[ImageInput]) -> Any:
        """`embed_image` without blocking the event loop."""
        return await self.embeddings.aembed_image(uris)


def _is_probe(uris: Sequence[Any]) -> bool:
    return len(uris) == 1 and isinstance(uris[0], str) and uris[0] == PROBE
