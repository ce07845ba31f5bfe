"""Every LlamaIndex store that runs on this machine: opened, its fingerprint written or checked, closed again.

Each is a context manager `(place, embedding)`, where `place` is a folder (for PostgreSQL a database's address).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from llama_index.core import StorageContext, VectorStoreIndex, load_index_from_storage
from llama_index.core.schema import BaseNode, ImageNode, QueryBundle, TextNode

from jina_clip_integrations.llama_index import JinaClipEmbedding
from jina_clip_integrations.retrieval.fingerprint import VectorFingerprint

NAME = "images"


@dataclass
class Opened:
    """An index to ask, and how nodes that have their embedding get in."""

    index: VectorStoreIndex
    add: Callable[[Sequence[BaseNode]], Any]


Open: TypeAlias = Callable[[str, JinaClipEmbedding], AbstractContextManager[Opened]]


def over(store: Any, embedding: JinaClipEmbedding) -> Opened:
    return Opened(VectorStoreIndex.from_vector_store(store, embed_model=embedding), store.add)


@contextmanager
def qdrant(place: str, embedding: JinaClipEmbedding) -> Iterator[Opened]:
    from llama_index.vector_stores.qdrant import QdrantVectorStore
    from qdrant_client import QdrantClient, models

    ours = VectorFingerprint.of(embedding)
    with closing(QdrantClient(path=place)) as client:
        if client.collection_exists(NAME):
            ours.check(client.get_collection(NAME).config.metadata, where=f"collection {NAME!r}")
        else:
            vectors = models.VectorParams(size=ours.dimensions, distance=models.Distance.COSINE)
            client.create_collection(NAME, vectors_config=vectors, metadata=ours.to_metadata())
        yield over(QdrantVectorStore(NAME, client=client), embedding)


@contextmanager
def chroma(place: str, embedding: JinaClipEmbedding) -> Iterator[Opened]:
    import chromadb
    from llama_index.vector_stores.chroma import ChromaVectorStore

    ours = VectorFingerprint.of(embedding)
    client = chromadb.PersistentClient(place, settings=chromadb.Settings(anonymized_telemetry=False))
    metadata = {"hnsw:space": "cosine", **ours.to_metadata()}
    collection = client.get_or_create_collection(NAME, metadata=metadata, embedding_function=None)
    ours.check(collection.metadata, where=f"collection {NAME!r}")
    yield over(ChromaVectorStore(chroma_collection=collection), embedding)


@contextmanager
def lancedb(place: str, embedding: JinaClipEmbedding) -> Iterator[Opened]:
    import lancedb as lance
    from llama_index.vector_stores.lancedb import LanceDBVectorStore

    ours, database = VectorFingerprint.of(embedding), lance.connect(place)
    if NAME in database.list_tables().tables:
        ours.check(database.open_table(NAME).schema.metadata, where=f"table {NAME!r}")
    yield over(LanceDBVectorStore(connection=database, table_name=NAME, mode="create"), embedding)
    facts = {key: str(value) for key, value in ours.to_metadata().items()}
    database.open_table(NAME).to_lance().update_schema_metadata(facts)


@contextmanager
def faiss(place: str, embedding: JinaClipEmbedding) -> Iterator[Opened]:
    import faiss as faiss_library
    from llama_index.vector_stores.faiss import FaissVectorStore

    ours, beside = VectorFingerprint.of(embedding), Path(place) / "fingerprint.json"
    if beside.exists():
        ours.check(json.loads(beside.read_text("utf-8")), where=f"the index {place}")
        kept = StorageContext.from_defaults(vector_store=FaissVectorStore.from_persist_dir(place), persist_dir=place)
        index = load_index_from_storage(kept, embed_model=embedding)
    else:
        new = FaissVectorStore(faiss_index=faiss_library.IndexFlatIP(ours.dimensions))
        index = VectorStoreIndex(
            [], storage_context=StorageContext.from_defaults(vector_store=new), embed_model=embedding
        )
    assert isinstance(index, VectorStoreIndex)
    yield Opened(index, index.insert_nodes)
    index.storage_context.persist(place)
    beside.write_text(json.dumps(ours.to_metadata()), "utf-8")


@contextmanager
def milvus(place: str, embedding: JinaClipEmbedding) -> Iterator[Opened]:
    from llama_index.vector_stores.milvus import MilvusVectorStore
    from pymilvus import MilvusClient

    ours, uri = VectorFingerprint.of(embedding), f"{place}.db"
    with closing(MilvusClient(uri)) as client:
        is_new = not client.has_collection(NAME)
        if not is_new:
            ours.check(client.describe_collection(NAME)["properties"], where=f"collection {NAME!r}")
        store = MilvusVectorStore(
            uri=uri,
            collection_name=NAME,
            dim=ours.dimensions,
            similarity_metric="COSINE",
            index_config={"index_type": "FLAT"},
        )
        if is_new:
            facts = {key: str(value) for key, value in ours.to_metadata().items()}
            client.alter_collection_properties(NAME, properties=facts)
        store.client.load_collection(NAME)  # a collection that was opened again is not searched before it is loaded
        yield over(store, embedding)
        store.client.close()


@contextmanager
def postgres(place: str, embedding: JinaClipEmbedding) -> Iterator[Opened]:
    import psycopg
    from llama_index.vector_stores.postgres import PGVectorStore

    ours, table = VectorFingerprint.of(embedding), f"data_{NAME}"
    with psycopg.connect(place, autocommit=True) as connection:
        [held] = connection.execute("SELECT obj_description(to_regclass(%s))", [table]).fetchone() or [None]
        if held is not None:
            ours.check(json.loads(held), where=f"table {table!r}")
        store = PGVectorStore.from_params(
            connection_string=place.replace("postgresql://", "postgresql+psycopg2://"),
            async_connection_string=place.replace("postgresql://", "postgresql+asyncpg://"),
            table_name=NAME,
            embed_dim=ours.dimensions,
        )
        yield over(store, embedding)
        asyncio.run(store.close())
        comment = psycopg.sql.Literal(json.dumps(ours.to_metadata()))
        connection.execute(psycopg.sql.SQL("COMMENT ON TABLE data_images IS {}").format(comment))


STORES: dict[str, Open] = {
    "qdrant": qdrant,
    "chroma": chroma,
    "lancedb": lancedb,
    "faiss": faiss,
    "milvus": milvus,
    "postgres": postgres,
}


def fill(store: Open, place: str, embedding: JinaClipEmbedding, texts: list[str], images: list[str]) -> None:
    """Put texts and images into one store."""
    nodes: list[Any] = [TextNode(text=text, metadata={"name": text}) for text in texts]
    nodes += [ImageNode(image_path=path, metadata={"name": Path(path).stem}) for path in images]
    with store(place, embedding) as opened:
        opened.add(embedding(nodes))


def answers(opened: Opened, embedding: JinaClipEmbedding, image: str) -> dict[str, list[str]]:
    """What a text and an image find: names, best first."""
    by_text = opened.index.as_retriever(similarity_top_k=2).retrieve("something green")
    query = QueryBundle(query_str="", embedding=embedding.get_image_embedding(image))
    by_image = opened.index.as_retriever(similarity_top_k=1).retrieve(query)
    assert isinstance(by_image[0].node, ImageNode)
    return {key: [hit.node.metadata["name"] for hit in hits] for key, hits in (("text", by_text), ("image", by_image))}
