"""Retrieved image documents with their image ready for a chat model."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.messages import HumanMessage
from langchain_core.tools import create_retriever_tool
from langchain_core.vectorstores import InMemoryVectorStore

from jina_clip_integrations import JinaClipEncoder, SourcePolicy
from jina_clip_integrations.errors import ConfigurationError, ImageError
from jina_clip_integrations.langchain import (
    ImageDocumentRetriever,
    JinaClipEmbeddings,
    image_block,
    with_image_blocks,
)
from tests.colours import ColourBackend
from tests.expected import bytes_of

TRUSTED = SourcePolicy.trusted()


def test_the_page_content_of_a_document_is_a_uri(images: list[str]) -> None:
    block = image_block(Document(page_content=images[0]), sources=TRUSTED)
    assert block == image_block(images[0], sources=TRUSTED) | {"id": block["id"]}
    assert base64.b64decode(block["base64"]) == bytes_of(images[0])


def test_bytes_need_no_permission(images: list[str]) -> None:
    data = bytes_of(images[0])
    assert base64.b64decode(image_block(data)["base64"]) == data


@pytest.mark.framework("langchain/image-documents")
def test_documents_get_their_block_and_stay_as_they_were(images: list[str]) -> None:
    documents = [
        Document(page_content="a caption", metadata={"uri": images[0]}, id="1"),
        Document(page_content="a text", metadata={"page": 3}),
    ]
    found = with_image_blocks(documents, uri_key="uri", sources=TRUSTED)
    assert base64.b64decode(found[0].metadata["image_block"]["base64"]) == bytes_of(images[0])
    assert (found[0].page_content, found[0].id) == ("a caption", "1")
    assert found[1] == documents[1]
    assert "image_block" not in documents[0].metadata
    assert "base64" in with_image_blocks([Document(page_content=images[1])], sources=TRUSTED)[0].metadata["image_block"]


@pytest.fixture
def retriever(images: list[str]) -> ImageDocumentRetriever:
    embeddings = JinaClipEmbeddings(backend=ColourBackend())
    store = InMemoryVectorStore.from_texts(images, embeddings.for_images())
    return ImageDocumentRetriever(retriever=store.as_retriever(search_kwargs={"k": 1}), sources=TRUSTED)


@pytest.mark.framework("langchain/image-documents")
async def test_the_retriever_adds_the_image(call: Callable[..., Any], retriever: Any, images: list[str]) -> None:
    [found] = await call(retriever, "invoke", "something blue")
    assert found.page_content == images[2]
    assert base64.b64decode(found.metadata["image_block"]["base64"]) == bytes_of(images[2])


def test_what_cannot_be_read_costs_no_other_document(images: list[str], tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"not an image")
    (tmp_path / "truncated.png").write_bytes(bytes_of(images[0])[:-30])
    bad = {
        "no such file": str(tmp_path / "gone.png"),
        "not an image": str(tmp_path / "broken.png"),
        "truncated": str(tmp_path / "truncated.png"),
        "outside": "/etc/hostname",
        "schemes allowed": "http://example.org/a.png",
        "is not fetched here": "s3://bucket/a.png",
        "int": 7,
        "empty|no": "",
    }
    sources = SourcePolicy.agent(roots=tmp_path)
    uris: list[Any] = [images[0], *bad.values(), images[1]]
    documents = [Document(page_content=f"caption {n}", metadata={"uri": uri}) for n, uri in enumerate(uris)]
    found = with_image_blocks(iter(documents), uri_key="uri", sources=sources)
    assert [document.page_content for document in found] == [document.page_content for document in documents]
    assert [n for n, document in enumerate(found) if "image_block" in document.metadata] == [0, len(bad) + 1]
    for reason, document in zip(bad, found[1:-1], strict=True):
        assert re.search(reason, document.metadata["image_error"], re.IGNORECASE), document.metadata["image_error"]
    with pytest.raises(ImageError) as caught:
        with_image_blocks(documents, uri_key="uri", sources=sources, on_error="raise")
    assert caught.value.index == 1
    with pytest.raises(ConfigurationError, match="on_error"):
        with_image_blocks(documents, on_error="ignore")


def test_what_an_earlier_search_added_does_not_stay(images: list[str]) -> None:
    document = Document(page_content=images[0])
    [refused] = with_image_blocks([document])
    [shown] = with_image_blocks([refused], sources=TRUSTED)
    assert set(refused.metadata) == {"image_error"}
    assert set(shown.metadata) == {"image_block"}
    assert document.metadata == {}


async def test_the_retriever_keeps_the_other_results_of_a_file_that_is_gone(
    call: Callable[..., Any], images: list[str]
) -> None:
    store = InMemoryVectorStore.from_texts(images, JinaClipEmbeddings(backend=ColourBackend()).for_images())
    os.remove(images[1])
    retriever = ImageDocumentRetriever(retriever=store.as_retriever(search_kwargs={"k": 3}), sources=TRUSTED)
    found = await call(retriever, "invoke", "something green")
    assert found[0].page_content == images[1]
    assert "no such file" in found[0].metadata["image_error"]
    assert ["image_block" in document.metadata for document in found] == [False, True, True]


@pytest.mark.framework("langchain/retriever-tool")
async def test_as_a_tool_the_image_travels_in_the_artifact(call: Callable[..., Any], retriever: Any) -> None:
    tool = create_retriever_tool(retriever, "photos", "finds photos", response_format="content_and_artifact")
    message = await call(tool, "invoke", {"name": "photos", "args": {"query": "red"}, "id": "1", "type": "tool_call"})
    assert "base64" not in message.content
    assert message.artifact[0].metadata["image_block"]["type"] == "image"


@pytest.mark.framework("langchain/image-documents")
def test_a_block_is_what_messages_and_the_encoder_take(images: list[str]) -> None:
    block = image_block(images[0], sources=TRUSTED)
    message = HumanMessage(content_blocks=[{"type": "text", "text": "what is this?"}, block])
    assert message.content_blocks[1]["type"] == "image"
    encoder = JinaClipEncoder(backend=ColourBackend())
    both = encoder.encode([message.content_blocks[0], message.content_blocks[1]])
    assert both.shape == (2, 8)
    assert (both[1] == encoder.encode_image(images[0])).all()
