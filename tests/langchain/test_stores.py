"""Real vector stores in this process: images by text, images by image."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.indexing import InMemoryRecordManager, index
from langchain_core.vectorstores import InMemoryVectorStore, VectorStore
from langchain_qdrant import QdrantVectorStore

from jina_clip_integrations.langchain import JinaClipEmbeddings
from tests.colours import ColourBackend


@pytest.fixture
def embeddings() -> JinaClipEmbeddings:
    """Texts and images near each other where their colours are."""
    return JinaClipEmbeddings(backend=ColourBackend())


def named(uris: list[str]) -> list[dict[str, str]]:
    return [{"name": Path(uri).stem} for uri in uris]


def in_memory(uris: list[str], embeddings: JinaClipEmbeddings) -> VectorStore:
    return InMemoryVectorStore.from_texts(uris, embeddings.for_images(), metadatas=named(uris))


def in_qdrant(uris: list[str], embeddings: JinaClipEmbeddings) -> VectorStore:
    return QdrantVectorStore.from_texts(
        uris,
        embeddings.for_images(),
        metadatas=named(uris),
        location=":memory:",
        collection_name="images",
    )


@pytest.fixture(params=[in_memory, in_qdrant])
def store(request: pytest.FixtureRequest, images: list[str], embeddings: JinaClipEmbeddings) -> VectorStore:
    made: VectorStore = request.param(images, embeddings)
    return made


@pytest.mark.framework("langchain/image-view")
@pytest.mark.parametrize("colour", ["red", "green", "blue"])
def test_words_find_the_image(store: VectorStore, colour: str) -> None:
    found = store.similarity_search(f"something {colour}", k=1)
    assert [document.metadata["name"] for document in found] == [colour]


@pytest.mark.framework("langchain/image-view")
@pytest.mark.parametrize("colour", ["red", "green", "blue"])
def test_an_image_finds_its_like(store: VectorStore, embeddings: Any, images: list[str], colour: str) -> None:
    vector = embeddings.embed_image(next(path for path in images if Path(path).stem == colour))
    found = store.similarity_search_by_vector(vector, k=1)
    assert [document.metadata["name"] for document in found] == [colour]


@pytest.mark.framework("langchain/retriever-tag")
async def test_retrievers_find_images(store: VectorStore, call: Callable[..., Any]) -> None:
    retriever = store.as_retriever(search_kwargs={"k": 2})
    assert "JinaClip" in "".join(retriever.tags or []) or "ImageEmbeddings" in "".join(retriever.tags or [])
    found = await call(retriever, "invoke", "blue sea")
    assert found[0].metadata["name"] == "blue"


def test_texts_and_images_share_one_store(embeddings: Any, images: list[str]) -> None:
    store = in_qdrant(images, embeddings)
    texts = QdrantVectorStore(client=store.client, collection_name="images", embedding=embeddings)
    texts.add_texts(["a green meadow"], metadatas=[{"name": "meadow"}])
    found = texts.similarity_search("green", k=2)
    assert {document.metadata["name"] for document in found} == {"meadow", "green"}


@pytest.mark.framework("langchain/indexing-api")
def test_the_indexing_api_adds_images_once(embeddings: Any, images: list[str]) -> None:
    store = InMemoryVectorStore(embeddings.for_images())
    records = InMemoryRecordManager(namespace="images")
    records.create_schema()
    documents = [Document(page_content=uri, metadata={"source": uri}) for uri in images]
    runs = [
        index(documents, records, store, cleanup="incremental", source_id_key="source", key_encoder="sha256")
        for _ in range(2)
    ]
    assert [run["num_added"] for run in runs] == [3, 0]


class AddsImages:
    """How langchain-chroma and the community's stores call an embedding model: by this name, with this keyword."""

    def __init__(self, embedding_function: Any) -> None:
        self.embedding_function = embedding_function
        self.rows: list[list[float]] = []

    def add_images(self, uris: list[str]) -> None:
        assert hasattr(self.embedding_function, "embed_image")
        self.rows += self.embedding_function.embed_image(uris=uris)

    def nearest(self, uri: str) -> int:
        query = self.embedding_function.embed_image(uris=[uri])[0]
        return max(range(len(self.rows)), key=lambda n: sum(a * b for a, b in zip(self.rows[n], query, strict=True)))


@pytest.mark.framework("langchain/image-methods")
def test_stores_that_add_images_by_keyword(embeddings: Any, images: list[str]) -> None:
    store = AddsImages(embeddings)
    store.add_images(images)
    assert [store.nearest(path) for path in images] == [0, 1, 2]
