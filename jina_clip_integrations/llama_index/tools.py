"""A retriever as a tool that shows an agent the images it found; LlamaIndex's own hands over only their metadata."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llama_index.core.base.llms.types import ContentBlock, ImageBlock, TextBlock
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import MetadataMode, NodeWithScore
from llama_index.core.tools import RetrieverTool, ToolMetadata, ToolOutput
from pydantic import ValidationError

from ..adapter.chat_images import chat_image, read_chat_image
from ..concurrency.threads import in_thread
from ..encoder.chunks import ON_ERROR
from ..errors import ImageError, InputError
from ..images.sources import SourcePolicy, show_url
from ..inputs import InputParser
from ..settings import require_choice
from ..types import OnError
from .image_inputs import has_image, image_item, parse_image

TOOL_NAME = "image_retriever"
TOOL_DESCRIPTION = "Finds images and texts that fit a description. Give it a description in plain words."


def content_blocks(
    hits: Sequence[NodeWithScore], *, sources: SourcePolicy | None = None, on_error: OnError = "skip"
) -> list[ContentBlock]:
    """What a chat model is shown of retrieved nodes: their text and metadata, then their image, node by node.

    An image that is gone, broken or not allowed costs no other result: a text with the reason stands in its place.

    Args:
        hits: What a retriever gave.
        sources: What may be read. The default, `SourcePolicy.agent()`, reads no local file, because paths in a store
            may have been written by a stranger; allow folders with `SourcePolicy.agent(roots="photos")`.
        on_error: `raise` lets the first image that cannot be read end the call.

    Raises:
        ImageError: with `on_error="raise"`, an image cannot be read, or `sources` does not allow it; `index` says which
            hit.
    """
    require_choice("on_error", on_error, ON_ERROR)
    blocks: list[ContentBlock] = []
    for index, hit in enumerate(hits):
        text = hit.node.get_content(MetadataMode.LLM)
        if text.strip():
            blocks.append(TextBlock(text=text))
        if has_image(hit.node):
            blocks.append(_image_or_reason(hit, index, sources, on_error))
    return blocks


class ImageRetrieverTool(RetrieverTool):
    """`RetrieverTool` whose output has a block for every image.

    Args:
        retriever: Finds the nodes.
        metadata: Name and description that the agent reads.
        node_postprocessors: Applied to the nodes before they are shown.
        sources: As for `content_blocks`.
    """

    def __init__(
        self,
        retriever: BaseRetriever,
        metadata: ToolMetadata,
        node_postprocessors: list[BaseNodePostprocessor] | None = None,
        sources: SourcePolicy | None = None,
    ) -> None:
        super().__init__(retriever, metadata, node_postprocessors)
        self._sources = sources

    @classmethod
    def from_defaults(
        cls,
        retriever: BaseRetriever,
        node_postprocessors: list[BaseNodePostprocessor] | None = None,
        name: str | None = None,
        description: str | None = None,
        sources: SourcePolicy | None = None,
    ) -> ImageRetrieverTool:
        """The tool, with a name and a description that suit any collection if none are given."""
        metadata = ToolMetadata(name=name or TOOL_NAME, description=description or TOOL_DESCRIPTION)
        return cls(retriever, metadata, node_postprocessors, sources)

    def call(self, *args: Any, **kwargs: Any) -> ToolOutput:
        """Retrieve, and add a block for every image found."""
        return self._add_blocks(super().call(*args, **kwargs))

    async def acall(self, *args: Any, **kwargs: Any) -> ToolOutput:
        """`call` without blocking the event loop."""
        # Reads and decodes image files, hence the thread.
        return await in_thread(self._add_blocks, await super().acall(*args, **kwargs))

    def _add_blocks(self, output: ToolOutput) -> ToolOutput:
        return output.model_copy(update={"blocks": content_blocks(output.raw_output, sources=self._sources)})


def _image_or_reason(
    hit: NodeWithScore, index: int, sources: SourcePolicy | None, on_error: OnError
) -> ImageBlock | TextBlock:
    try:
        return _image_block(hit, sources)
    except InputError as error:
        if on_error == "raise":
            raise error.at(index) from None
        return TextBlock(text=f"[This image cannot be shown: {error}]")


def _image_block(hit: NodeWithScore, sources: SourcePolicy | None) -> ImageBlock:
    # A URL is for the model's provider to fetch; whatever else a node carries is read here, under the source policy.
    url = (image_item(hit.node) or {}).get("url")
    parser = InputParser(sources=sources or SourcePolicy.agent())
    image = chat_image(url, sources) if url else read_chat_image(parse_image(hit.node, parser))
    try:
        return ImageBlock(image=image.data, url=image.url, image_mimetype=image.mime_type)
    except ValidationError as error:  # pydantic knows URLs better than we do, and quotes all of a bad one
        raise ImageError(f"{show_url(str(url))}: {error.errors()[0]['msg']}") from None
