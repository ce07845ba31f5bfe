"""The image methods of LangChain's Chroma class, which call `embed_image(uris=...)`."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import chromadb
import pytest
from langchain_chroma import Chroma

from jina_clip_integrations.langchain import JinaClipEmbeddings
from tests.colours import ColourBackend


@pytest.fixture
def store(tmp_path: Path, images: list[str]) -> Chroma:
    settings = chromadb.Settings(anonymized_telemetry=False)
    client = chromadb.PersistentClient(str(tmp_path / "chroma"), settings=settings)
    opened = Chroma(
        "images",
        JinaClipEmbeddings(backend=ColourBackend()),
        client=client,
        collection_metadata={"hnsw:space": "cosine"},
    )
    opened.add_images(images, metadatas=[{"uri": path} for path in images])
    return opened


def uris(found: list[Any]) -> list[str]:
    return [Path(document.metadata["uri"]).stem for document in found]


@pytest.mark.framework("langchain/chroma-images", "langchain/chroma-base64", "stores/chroma")
@pytest.mark.parametrize("colour", ["red", "green", "blue"])
def test_words_and_images_find_images(store: Chroma, images: list[str], colour: str) -> None:
    path = next(path for path in images if Path(path).stem == colour)
    assert uris(store.similarity_search(f"something {colour}", k=1)) == [colour]
    [found] = store.similarity_search_by_image(path, k=1)
    assert uris([found]) == [colour]
    assert base64.b64decode(found.page_content) == Path(path).read_bytes()


@pytest.mark.framework("langchain/chroma-images")
def test_without_metadata_too(store: Chroma, images: list[str]) -> None:
    assert len(store.add_images(images[:2])) == 2
    assert len(store.get()["ids"]) == 5
