"""Retrieved images as blocks that an agent can look at."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.base.llms.types import ImageBlock, TextBlock
from llama_index.core.schema import ImageNode, NodeWithScore, TextNode

from jina_clip_integrations import SourcePolicy
from jina_clip_integrations.errors import ConfigurationError, ImageError
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


def unreadable(images: list[str], tmp_path: Path) -> dict[str, ImageNode]:
    """Nodes whose image cannot be shown, each in a way of its own, and part of the reason."""
    (tmp_path / "broken.png").write_bytes(b"not an image")
    (tmp_path / "empty.png").write_bytes(b"")
    truncated = tmp_path / "truncated.png"
    truncated.write_bytes(bytes_of(images[0])[:-30])
    return {
        "no such file": ImageNode(image_path=str(tmp_path / "gone.png")),
        "not an image": ImageNode(image_path=str(tmp_path / "broken.png")),
        "empty": ImageNode(image_path=str(tmp_path / "empty.png")),
        "truncated": ImageNode(image_path=str(truncated)),
        "outside": ImageNode(image_path="/etc/hostname"),
        "schemes allowed": ImageNode(image_url="http://example.org/a.png"),
        "port": ImageNode(image_url="https://example.org:99999/a.png"),
        "base64": ImageNode(image="bm90IGFuIGltYWdl!"),
        "is not fetched here": ImageNode(image_url="ftp://example.org/a.png"),
    }


def test_what_cannot_be_shown_costs_no_other_result(images: list[str], tmp_path: Path) -> None:
    bad = unreadable(images, tmp_path)
    sources = SourcePolicy.agent(roots=tmp_path)
    hits = [hit(ImageNode(image_path=images[0])), *map(hit, bad.values()), hit(ImageNode(image_path=images[1]))]
    first, *between, last = content_blocks(hits, sources=sources)
    assert [content_of(first), content_of(last)] == [bytes_of(path) for path in images[:2]]
    assert len(between) == len(bad)
    for reason, block in zip(bad, between, strict=True):
        assert isinstance(block, TextBlock)
        assert re.search(reason, block.text, re.IGNORECASE), block.text
        assert block.text.startswith("[This image cannot be shown: ")
    for position, node in enumerate(bad.values(), start=1):
        with pytest.raises(ImageError) as caught:
            content_blocks([hits[0]] * position + [hit(node)], sources=sources, on_error="raise")
        assert caught.value.index == position
    with pytest.raises(ConfigurationError, match="on_error"):
        content_blocks(hits, on_error="ignore")


async def test_the_tool_keeps_the_other_results_of_a_file_that_is_gone(
    call: Callable[..., Any], images: list[str]
) -> None:
    embedding = JinaClipEmbedding(backend=ColourBackend())
    nodes = embedding([ImageNode(image_path=path, metadata={"file_path": path}) for path in images])
    retriever = VectorStoreIndex(nodes, embed_model=embedding).as_retriever(similarity_top_k=3)
    tool = ImageRetrieverTool.from_defaults(retriever, sources=SourcePolicy.trusted())
    os.remove(images[1])
    output = await call(tool, "call", "something green")
    assert output.blocks[0].text == f"file_path: {images[1]}"
    assert "no such file" in output.blocks[1].text
    shown = [content_of(block) for block in output.blocks if isinstance(block, ImageBlock)]
    assert sorted(shown) == sorted(bytes_of(images[n]) for n in (0, 2))


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
