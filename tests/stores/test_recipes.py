"""The recipes of docs/stores.md that need a server: PostgreSQL for real, Weaviate and Pinecone against stand-ins.

The stand-ins have the methods and keyword names of the clients (weaviate-client 4, pinecone 7 and later), and find the
nearest vector by cosine.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from llama_index.core.schema import ImageNode

from jina_clip_integrations.langchain import JinaClipEmbeddings
from jina_clip_integrations.llama_index import JinaClipEmbedding
from jina_clip_integrations.retrieval.fingerprint import VectorFingerprint
from jina_clip_integrations.vectors import similarity
from tests.colours import ColourBackend

PAGE = Path(__file__).parent.parent.parent / "docs" / "stores.md"
METADATA_LIMIT = 40_000


def recipe(heading: str) -> str:
    """The code of a section that the documentation's own test leaves out."""
    page, flags = PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL
    [section] = re.findall(rf"^## {re.escape(heading)}\n(.*?)(?=^## )", page, flags)
    blocks = re.findall(r"^```py\n(.*?)^```$", section, flags)
    assert blocks, f"no recipe under {heading!r}"
    return "\n".join(blocks)


@pytest.fixture
def names(images: list[str]) -> dict[str, Any]:
    """What the page has defined before its recipes."""
    embeddings = JinaClipEmbeddings(backend=ColourBackend())
    return {
        "embeddings": embeddings,
        "embed_model": JinaClipEmbedding(backend=ColourBackend()),
        "fingerprint": VectorFingerprint.of(embeddings),
        "paths": images,
        "facts": [{"kind": "image", "uri": path} for path in images],
        "nodes": [ImageNode(image_path=path, metadata={"uri": path}) for path in images],
    }


def nearest(query: Sequence[float], rows: Sequence[Sequence[float]], count: int) -> list[tuple[int, float]]:
    scores = similarity(np.asarray(query, np.float32), np.asarray(rows, np.float32))[0]
    return [(int(row), float(scores[row])) for row in np.argsort(-scores)[:count]]


@pytest.mark.framework("stores/postgresql")
def test_postgres(names: dict[str, Any], postgres_server: Any, images: list[str]) -> None:
    postgres_server.psql("CREATE DATABASE recipe;")
    names["address"] = postgres_server.get_uri(database="recipe")
    exec(recipe("PostgreSQL with pgvector"), names)
    assert names["by_words"][0].metadata["uri"] == images[1]
    assert names["by_image"][0].metadata["uri"] == images[0]
    assert names["hits"][0].node.image_path == images[1]
    assert names["alike"][0].node.image_path == images[0]


# Weaviate


@dataclass
class WeaviateCollection:
    """`data.insert`, `query.near_vector` and `config.get` of a collection with named vectors."""

    description: str
    named: Sequence[str]
    objects: list[tuple[dict[str, Any], Mapping[str, Sequence[float]]]] = field(default_factory=list)

    @property
    def data(self) -> Any:
        return SimpleNamespace(insert=self._insert)

    @property
    def query(self) -> Any:
        return SimpleNamespace(near_vector=self._near_vector)

    @property
    def config(self) -> Any:
        return SimpleNamespace(get=lambda: SimpleNamespace(description=self.description))

    def _insert(self, properties: dict[str, Any], *, vector: Mapping[str, Sequence[float]]) -> None:
        assert set(vector) <= set(self.named)
        self.objects.append((properties, vector))

    def _near_vector(self, near_vector: Sequence[float], *, target_vector: str, limit: int) -> Any:
        rows = [vector[target_vector] for _, vector in self.objects]
        found = [SimpleNamespace(properties=self.objects[n][0]) for n, _ in nearest(near_vector, rows, limit)]
        return SimpleNamespace(objects=found)


class WeaviateCollections:
    def create(self, name: str, *, description: str, vector_config: Sequence[str]) -> WeaviateCollection:
        return WeaviateCollection(description, vector_config)


@pytest.mark.framework("stores/weaviate")
def test_weaviate(names: dict[str, Any], images: list[str]) -> None:
    names |= {"weaviate": SimpleNamespace(collections=WeaviateCollections()), "vector_config": ["text", "image"]}
    exec(recipe("Weaviate"), names)
    assert names["uris"] == [images[1], images[0]]
    titles = names["products"].query.near_vector(names["query"], target_vector="text", limit=1)
    assert titles.objects[0].properties["title"] == "green.png"


# Pinecone


@dataclass
class PineconeIndex:
    """`upsert` and `query` over namespaces; both take keywords only."""

    dimension: int
    tags: Mapping[str, str]
    namespaces: dict[str, dict[str, Any]] = field(default_factory=dict)

    def upsert(self, *, vectors: Sequence[Mapping[str, Any]], namespace: str) -> None:
        for record in vectors:
            assert len(record["values"]) == self.dimension
            assert len(str(record["metadata"])) < METADATA_LIMIT
            self.namespaces.setdefault(namespace, {})[record["id"]] = record

    def query(self, *, vector: Sequence[float], top_k: int, namespace: str, include_metadata: bool = False) -> Any:
        records = list(self.namespaces[namespace].values())
        found = [
            SimpleNamespace(
                id=records[n]["id"], score=score, metadata=records[n]["metadata"] if include_metadata else None
            )
            for n, score in nearest(vector, [record["values"] for record in records], top_k)
        ]
        return SimpleNamespace(matches=found)


class PineconeService:
    def __init__(self) -> None:
        self.indexes: dict[str, PineconeIndex] = {}

    def create_index(self, *, name: str, dimension: int, metric: str, spec: Any, tags: Mapping[str, str]) -> None:
        assert metric in ("cosine", "dotproduct")
        assert all(isinstance(value, str) for value in tags.values())
        self.indexes[name] = PineconeIndex(dimension, tags)

    def describe_index(self, name: str) -> PineconeIndex:
        return self.indexes[name]

    Index = describe_index


@pytest.mark.framework("llama-index/whole-nodes", "stores/pinecone")
def test_pinecone(names: dict[str, Any], images: list[str]) -> None:
    names |= {"pinecone": PineconeService(), "spec": None}
    exec(recipe("Pinecone"), names)
    assert names["uris"] == [images[1], images[0]]
    assert set(names["index"].namespaces) == {"image"}
