"""Text and image of one thing in one Qdrant record, and the two searches fused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from langchain_qdrant import QdrantVectorStore
from qdrant_client import QdrantClient, models

from jina_clip_integrations.langchain import JinaClipEmbeddings
from jina_clip_integrations.retrieval.fingerprint import VectorFingerprint
from jina_clip_integrations.retrieval.ranking import reciprocal_rank_fusion
from tests.colours import ColourBackend

CAPTIONS = {"red": "a green hat", "green": "a red hat", "blue": "a blue hat"}
"""Title of the image to its caption; two captions lie."""


@pytest.fixture
def embeddings() -> JinaClipEmbeddings:
    return JinaClipEmbeddings(backend=ColourBackend())


@pytest.fixture
def client(embeddings: Any, images: list[str]) -> Iterator[QdrantClient]:
    """Three records with both vectors, and one without an image."""
    size = models.VectorParams(size=8, distance=models.Distance.COSINE)
    with closing(QdrantClient(":memory:")) as opened:
        fingerprint = VectorFingerprint.of(embeddings)
        opened.create_collection("hats", {"text": size, "image": size}, metadata=fingerprint.to_metadata())
        fingerprint.check(opened.get_collection("hats").config.metadata, where="collection 'hats'")
        names = [Path(path).stem for path in images]
        captions = embeddings.embed_documents([CAPTIONS[name] for name in names])
        rows = zip(names, captions, embeddings.embed_images(images), strict=True)
        points = [
            models.PointStruct(id=number, vector={"text": text, "image": image}, payload={"title": name})
            for number, (name, text, image) in enumerate(rows)
        ]
        bare = {"text": embeddings.embed_documents(["green shoes"])[0]}
        opened.upsert("hats", [*points, models.PointStruct(id=9, vector=bare, payload={"title": "bare"})])
        yield opened


def titles(client: QdrantClient, **query: Any) -> list[str]:
    return [str((point.payload or {})["title"]) for point in client.query_points("hats", **query).points]


@pytest.mark.framework("stores/qdrant-records")
def test_each_vector_is_searched_by_its_name(client: QdrantClient, embeddings: Any, images: list[str]) -> None:
    query = embeddings.embed_query("green")
    assert titles(client, query=query, using="image", limit=1) == ["green"]
    assert set(titles(client, query=query, using="text", limit=2)) == {"red", "bare"}
    assert titles(client, query=embeddings.embed_image(images[2]), using="image", limit=1) == ["blue"]
    assert "bare" not in titles(client, query=query, using="image", limit=9)


@pytest.mark.framework("stores/qdrant-records")
def test_the_store_and_our_function_fuse_alike(client: QdrantClient, embeddings: Any) -> None:
    """A record that fits by caption and by image beats one that fits by either."""
    query = embeddings.embed_query("blue")
    prefetch = [models.Prefetch(query=query, using=name, limit=9) for name in ("text", "image")]
    fused = titles(client, prefetch=prefetch, query=models.FusionQuery(fusion=models.Fusion.RRF), limit=1)
    ours = reciprocal_rank_fusion([titles(client, query=query, using=name, limit=9) for name in ("text", "image")])
    assert fused == ["blue"]
    assert (ours[0].id, ours[0].places) == ("blue", (1, 1))


@pytest.mark.framework("stores/qdrant-records")
def test_langchain_reads_one_of_the_vectors(client: QdrantClient, embeddings: Any) -> None:
    for vector_name, expected in (("image", "green"), ("text", "bare")):
        store = QdrantVectorStore(client, "hats", embeddings, vector_name=vector_name, content_payload_key="title")
        found = store.similarity_search("green", k=2)
        assert expected in [document.page_content for document in found]
