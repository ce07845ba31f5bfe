"""Retrieved image documents with their image ready for a chat model."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Sequence

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.messages.content import ImageContentBlock, create_image_block
from langchain_core.retrievers import BaseRetriever
from pydantic import ConfigDict

from ..adapter.chat_images import chat_image
from ..images.sources import SourcePolicy
from ..types import ImageInput

BLOCK_KEY = "image_block"
"""Where `with_image_blocks` puts the block in a document's metadata."""


def image_block(image: ImageInput | Document, *, sources: SourcePolicy | None = None) -> ImageContentBlock:
    """The standard content block of an image, for `HumanMessage(content_blocks=[...])`.

    An http(s) URL stays a URL, which the chat model's provider fetches; anything else becomes base64.

    Args:
        image: Any image, or a document whose page content is an image's URI.
        sources: What may be read. The default, `SourcePolicy.agent()`, reads no local file, because URIs in a store
            may have been written by a stranger; allow folders with `SourcePolicy.agent(roots="photos")`.

    Raises:
        ImageError: the image cannot be read, or `sources` does not allow it.
    """
    given = image.page_content if isinstance(image, Document) else image
    read = chat_image(given, sources)
    if read.data is None:
        return create_image_block(url=read.url)
    return create_image_block(base64=base64.b64encode(read.data).decode("ascii"), mime_type=read.mime_type)


def with_image_blocks(
    documents: Sequence[Document], *, uri_key: str | None = None, sources: SourcePolicy | None = None
) -> list[Document]:
    """Copies of the documents with their image block in `metadata["image_block"]`; the documents stay as they are.

    Args:
        documents: What a search gave.
        uri_key: Metadata entry that holds the image's URI; documents without it are texts and stay as they are.
            None = the page content of every document is a URI.
        sources: As for `image_block`.
    """
    return [_add_block(document, uri_key, sources) for document in documents]


class ImageDocumentRetriever(BaseRetriever):
    """Any retriever, with the image of each image document added as a content block.

    Made for `create_retriever_tool(..., response_format="content_and_artifact")`: the model reads the page contents,
    and the artifact carries the documents with their images.
    """

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    retriever: BaseRetriever
    """Finds the documents."""
    uri_key: str | None = None
    """As for `with_image_blocks`."""
    sources: SourcePolicy | None = None
    """As for `image_block`."""

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        found = self.retriever.invoke(query, config={"callbacks": run_manager.get_child()})
        return with_image_blocks(found, uri_key=self.uri_key, sources=self.sources)

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun
    ) -> list[Document]:
        found = await self.retriever.ainvoke(query, config={"callbacks": run_manager.get_child()})
        # Reads and decodes image files, hence the thread.
        return await asyncio.to_thread(with_image_blocks, found, uri_key=self.uri_key, sources=self.sources)


def _add_block(document: Document, uri_key: str | None, sources: SourcePolicy | None) -> Document:
    uri = document.page_content if uri_key is None else document.metadata.get(uri_key)
    if uri is None:
        return document
    # A copy: the document may be the store's own, which would then hold the image.
    metadata = {**document.metadata, BLOCK_KEY: image_block(uri, sources=sources)}
    return document.model_copy(update={"metadata": metadata})
