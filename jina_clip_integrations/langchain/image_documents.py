"""Retrieved image documents with their image ready for a chat model."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from functools import partial
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.messages.content import ImageContentBlock, create_image_block
from langchain_core.retrievers import BaseRetriever
from pydantic import ConfigDict

from ..adapter.chat_images import chat_image
from ..concurrency.threads import in_thread
from ..encoder.chunks import ON_ERROR
from ..errors import InputError
from ..images.sources import SourcePolicy
from ..settings import require_choice
from ..types import ImageInput, OnError

BLOCK_KEY = "image_block"
"""Where `with_image_blocks` puts the block in a document's metadata."""

ERROR_KEY = "image_error"
"""Where it puts the reason why a document has no block."""


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
    documents: Iterable[Document],
    *,
    uri_key: str | None = None,
    sources: SourcePolicy | None = None,
    on_error: OnError = "skip",
) -> list[Document]:
    """Copies of the documents with their image block in `metadata["image_block"]`; the documents stay as they are.

    An image that is gone, broken or not allowed costs no other result: its document comes back without a block, and
    with the reason in `metadata["image_error"]`.

    Args:
        documents: What a search gave.
        uri_key: Metadata entry that holds the image's URI; documents without it are texts and stay as they are.
            None = the page content of every document is a URI.
        sources: As for `image_block`.
        on_error: `raise` lets the first image that cannot be read end the call.

    Raises:
        ImageError: with `on_error="raise"`, an image that cannot be read; `index` says which document.
    """
    require_choice("on_error", on_error, ON_ERROR)
    return [_add_block(document, index, uri_key, sources, on_error) for index, document in enumerate(documents)]


class ImageDocumentRetriever(BaseRetriever):
    """Any retriever, with the image of each image document added as a content block.

    An image that cannot be read is reported in its document's metadata, as by `with_image_blocks`.

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
        add_blocks = partial(with_image_blocks, found, uri_key=self.uri_key, sources=self.sources)
        return await in_thread(add_blocks)


def _add_block(
    document: Document, index: int, uri_key: str | None, sources: SourcePolicy | None, on_error: OnError
) -> Document:
    uri = document.page_content if uri_key is None else document.metadata.get(uri_key)
    if uri is None:
        return document
    try:
        added: dict[str, Any] = {BLOCK_KEY: image_block(uri, sources=sources)}
    except InputError as error:
        if on_error == "raise":
            raise error.at(index) from None
        added = {ERROR_KEY: str(error)}
    # A copy: the document may be the store's own, which would then hold the image. What an earlier search has added is
    # not left beside the new.
    kept = {name: value for name, value in document.metadata.items() if name not in (BLOCK_KEY, ERROR_KEY)}
    return document.model_copy(update={"metadata": {**kept, **added}})
