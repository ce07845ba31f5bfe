"""Real indexes over Qdrant in this process: images by words, images by image."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from llama_index.core import StorageContext, VectorStoreIndex
from llama_index.core.indices import MultiModalVectorStoreIndex
from llama_index.core.schema import ImageNode, QueryBundle, TextNode
from llama_index.vector_stores.qdrant import QdrantVectorStore
from qdrant_client import AsyncQdrantClient, QdrantClient

from jina_clip_integrations.llama_index import JinaClipEmbedding
from tests.colours import ColourBackend

pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect in the local Qdrant")


@pytest.fixture
def embedding() -> JinaClipEmbedding:
    """Texts and images near each other where their colours are."""
    return JinaClipEmbedding(backend=ColourBackend())


@pytest.fixture
def nodes(images: list[str]) -> list[Any]:
    found = [ImageNode(image_path=path, metadata={"file_path": path}) for path in images]
    return [*found, TextNode(text="a green meadow"), TextNode(text="a blue lake")]


@pytest.fixture
def client() -> Iterator[QdrantClient]:
    opened = QdrantClient(":memory:")
    yield opened
    opened.close()


def store(client: QdrantClient, name: str) -> QdrantVectorStore:
    return QdrantVectorStore(collection_name=name, client=client)


@pytest.fixture
def index(client: QdrantClient, embedding: JinaClipEmbedding, nodes: list[Any]) -> MultiModalVectorStoreIndex:
    context = StorageContext.from_defaults(vector_store=store(client, "text"), image_store=store(client, "image"))
    return MultiModalVectorStoreIndex(
        nodes, storage_context=context, embed_model=embedding, image_embed_model=embedding
    )


def name_of(hit: Any) -> str:
    return Path(hit.node.image_path).stem


@pytest.mark.framework("llama-index/multimodal-index", "llama-index/index-image-model")
@pytest.mark.parametrize("colour", ["red", "green", "blue"])
def test_words_find_images(index: Any, colour: str) -> None:
    found = index.as_retriever(image_similarity_top_k=1).text_to_image_retrieve(f"something {colour}")
    assert [name_of(hit) for hit in found] == [colour]


@pytest.mark.framework("llama-index/multimodal-index")
@pytest.mark.parametrize("colour", ["red", "green", "blue"])
def test_an_image_finds_its_like(index: Any, images: list[str], colour: str) -> None:
    path = next(path for path in images if Path(path).stem == colour)
    retriever = index.as_retriever(image_similarity_top_k=1)
    for query in (path, QueryBundle(query_str="", image_path=path)):
        assert [name_of(hit) for hit in retriever.image_to_image_retrieve(query)] == [colour]


@pytest.mark.framework("llama-index/multimodal-index")
def test_words_find_texts_and_both_together(index: Any) -> None:
    retriever = index.as_retriever(similarity_top_k=1, image_similarity_top_k=1)
    [text] = retriever.text_retrieve("blue")
    assert text.node.text == "a blue lake"
    both = retriever.retrieve("green")
    assert {type(hit.node) for hit in both} == {TextNode, ImageNode}


@pytest.mark.framework("llama-index/multimodal-index")
async def test_the_async_methods_find_the_same(embedding: Any, nodes: list[Any], images: list[str]) -> None:
    """Indexing with `use_async` runs in a loop of its own, retrieval in this one."""
    stores = {}
    for kind in ("text", "image"):
        stores[kind] = QdrantVectorStore(collection_name=kind, aclient=AsyncQdrantClient(":memory:"))
    for kind, chosen in (("text", nodes[3:]), ("image", nodes[:3])):
        await stores[kind].async_add(await embedding.acall(chosen))
    index = MultiModalVectorStoreIndex.from_vector_store(
        stores["text"], embed_model=embedding, image_vector_store=stores["image"], image_embed_model=embedding
    )
    retriever = index.as_retriever(image_similarity_top_k=1)
    assert [name_of(hit) for hit in await retriever.atext_to_image_retrieve("red")] == ["red"]
    assert [name_of(hit) for hit in await retriever.aimage_to_image_retrieve(images[2])] == ["blue"]


@pytest.mark.framework("llama-index/multimodal-index")
def test_indexing_with_use_async_gives_the_same_index(client: Any, embedding: Any, nodes: list[Any]) -> None:
    index = MultiModalVectorStoreIndex(nodes, embed_model=embedding, image_embed_model=embedding, use_async=True)
    found = index.as_retriever(image_similarity_top_k=1).text_to_image_retrieve("red")
    assert [name_of(hit) for hit in found] == ["red"]


@pytest.mark.framework("llama-index/mixed-index")
async def test_one_store_for_texts_and_images(
    call: Callable[..., Any], embedding: Any, client: Any, nodes: list[Any], images: list[str]
) -> None:
    """The simplest arrangement: a pipeline fills one store with mixed nodes, an ordinary index reads it.

    (An index built from the nodes themselves lists only those that are no texts, and then finds only those.)
    """
    shared = store(client, "both")
    await call(embedding, "__call__", nodes)
    shared.add(nodes)
    retriever = VectorStoreIndex.from_vector_store(shared, embed_model=embedding).as_retriever(similarity_top_k=2)
    hits = retriever.retrieve("green")
    assert {type(hit.node) for hit in hits} == {TextNode, ImageNode}
    query = QueryBundle(query_str="", embedding=await call(embedding, "get_image_embedding", images[0]))
    assert name_of(retriever.retrieve(query)[0]) == "red"
