"""Retrieved images as blocks that an agent can look at."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.base.llms.types import ImageBlock, TextBlock
from llama_index.core.schema import ImageNode, NodeWithScore, TextNode

from jina_clip_integrations import SourcePolicy
from jina_clip_integrations.llama_index import ImageRetrieverTool, JinaClipEmbedding, content_blocks
from tests.colours import ColourBackend
from tests.expected import bytes_of


def content_of(block: ImageBlock) -> bytes:
    return block.resolve_image().read()


def hit(node: Any) -> NodeWithScore:
    return NodeWithScore(node=node, score=1.0)


def test_text_then_image_node_by_node(images: list[str]) -> None:
    hits = [hit(TextNode(text="words")), hit(ImageNode(image_path=images[0], text="a caption"))]
    blocks = content_blocks(hits, sources=SourcePolicy.trusted())
    assert [type(block) for block in blocks] == [TextBlock, TextBlock, ImageBlock]
    assert [block.text for block in blocks[:2]] == ["words", "a caption"]
    assert content_of(blocks[2]) == bytes_of(images[0])
    assert blocks[2].image_mimetype == "image/png"


def test_a_url_stays_a_url_and_base64_needs_no_permission(images: list[str]) -> None:
    encoded = base64.b64encode(bytes_of(images[1])).decode()
    url, inline = content_blocks([hit(ImageNode(image_url="https://example.org/a.png")), hit(ImageNode(image=encoded))])
    assert (str(url.url), url.image) == ("https://example.org/a.png", None)
    assert content_of(inline) == bytes_of(images[1])


@pytest.mark.framework("llama-index/retriever-tool")
async def test_the_tool_shows_what_it_found(call: Callable[..., Any], images: list[str]) -> None:
    embedding = JinaClipEmbedding(backend=ColourBackend())
    nodes = [ImageNode(image_path=path, metadata={"file_path": path}) for path in images]
    embedding(nodes)
    retriever = VectorStoreIndex(nodes, embed_model=embedding).as_retriever(similarity_top_k=1)
    tool = ImageRetrieverTool.from_defaults(retriever, sources=SourcePolicy.trusted())
    assert tool.metadata.name == "image_retriever"
    output = await call(tool, "call", "something green")
    text, image = output.blocks
    assert text.text == f"file_path: {images[1]}"
    assert content_of(image) == bytes_of(images[1])
    assert (output.tool_name, output.raw_output[0].node.image_path) == ("image_retriever", images[1])
