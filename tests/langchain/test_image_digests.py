"""An image that changed under its path, through the real `index()` and a record manager."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.indexing import InMemoryRecordManager, index
from langchain_core.vectorstores import InMemoryVectorStore

from jina_clip_integrations.errors import ConfigurationError, ImageError
from jina_clip_integrations.langchain import JinaClipEmbeddings, with_image_digests
from tests.expected import of_images
from tests.fakes import BlockingBackend


def counts(result: Any) -> tuple[int, int, int]:
    return result["num_added"], result["num_skipped"], result["num_deleted"]


def test_a_changed_image_is_embedded_again(images: list[str], tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    shutil.copy(images[0], path)
    embeddings = JinaClipEmbeddings(backend=BlockingBackend())
    store = InMemoryVectorStore(embeddings.for_images())
    records = InMemoryRecordManager(namespace="photos")
    records.create_schema()

    def run() -> tuple[int, int, int]:
        documents = [Document(page_content=str(uri), metadata={"source": str(uri)}) for uri in (path, images[1])]
        how: Any = {"cleanup": "incremental", "source_id_key": "source", "key_encoder": "sha256"}
        return counts(index(with_image_digests(documents), records, store, **how))

    assert run() == (2, 0, 0)
    assert run() == (0, 2, 0)
    shutil.copy(images[2], path)
    assert run() == (1, 1, 1)
    [found] = [entry for entry in store.store.values() if entry["text"] == str(path)]
    assert found["vector"] == pytest.approx(of_images([images[2]])[0].tolist(), abs=1e-6)


def test_documents_stay_as_they_are_and_texts_get_no_digest(images: list[str]) -> None:
    documents = [Document(page_content="a caption", metadata={"uri": images[0]}), Document(page_content="a text")]
    image, text = with_image_digests(documents, uri_key="uri")
    assert set(image.metadata) == {"uri", "image_digest"}
    assert text == documents[1]
    assert set(documents[0].metadata) == {"uri"}


def test_what_cannot_be_read_is_named(images: list[str], tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no image at all")
    uris = [images[0], str(tmp_path / "gone.png"), str(tmp_path / "broken.png"), images[1]]
    documents = [Document(page_content=uri) for uri in uris]
    with pytest.raises(ImageError, match=r"gone\.png") as caught:
        with_image_digests(documents)
    assert caught.value.index == 1
    with pytest.warns(UserWarning, match="is left out") as warned:
        kept = with_image_digests(documents, on_error="skip")
    assert [document.page_content for document in kept] == images[:2]
    assert ["gone.png" in str(warned[0].message), "broken.png" in str(warned[1].message)] == [True, True]
    with pytest.raises(ConfigurationError, match="on_error"):
        with_image_digests(documents, on_error="ignore")
