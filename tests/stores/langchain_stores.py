"""Every LangChain store that runs on this machine: opened, its fingerprint written or checked, closed again.

Each is a context manager `(place, embeddings)`, where `place` is a folder (for PostgreSQL a database's address).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any, TypeAlias

from langchain_core.vectorstores import VectorStore

from jina_clip_integrations.langchain import JinaClipEmbeddings
from jina_clip_integrations.retrieval.fingerprint import VectorFingerprint

NAME = "images"
Open: TypeAlias = Callable[[str, Any], AbstractContextManager[VectorStore]]


@contextmanager
def qdrant(place: str, embeddings: Any) -> Iterator[VectorStore]:
    from langchain_qdrant import QdrantVectorStore
    from qdrant_client import QdrantClient, models

    ours = VectorFingerprint.of(embeddings)
    with closing(QdrantClient(path=place)) as client:
        if client.collection_exists(NAME):
            ours.check(client.get_collection(NAME).config.metadata, where=f"collection {NAME!r}")
        else:
            vectors = models.VectorParams(size=ours.dimensions, distance=models.Distance.COSINE)
            client.create_collection(NAME, vectors_config=vectors, metadata=ours.to_metadata())
        yield QdrantVectorStore(client=client, collection_name=NAME, embedding=embeddings)


@contextmanager
def chroma(place: str, embeddings: Any) -> Iterator[VectorStore]:
    import chromadb
    from langchain_chroma import Chroma

    ours = VectorFingerprint.of(embeddings)
    client = chromadb.PersistentClient(place, settings=chromadb.Settings(anonymized_telemetry=False))
    if NAME in [collection.name for collection in client.list_collections()]:
        ours.check(client.get_collection(NAME).metadata, where=f"collection {NAME!r}")
    metadata = {"hnsw:space": "cosine", **ours.to_metadata()}
    yield Chroma(NAME, embeddings, client=client, collection_metadata=metadata)


@contextmanager
def lancedb(place: str, embeddings: Any) -> Iterator[VectorStore]:
    import lancedb as lance
    from langchain_community.vectorstores import LanceDB

    ours = VectorFingerprint.of(embeddings)
    database = lance.connect(place)
    if NAME in database.list_tables().tables:
        ours.check(database.open_table(NAME).schema.metadata, where=f"table {NAME!r}")
    yield LanceDB(connection=database, embedding=embeddings, table_name=NAME, mode="append", distance="cosine")
    facts = {key: str(value) for key, value in ours.to_metadata().items()}
    database.open_table(NAME).to_lance().update_schema_metadata(facts)


@contextmanager
def faiss(place: str, embeddings: Any) -> Iterator[VectorStore]:
    import faiss as faiss_library
    from langchain_community.docstore.in_memory import InMemoryDocstore
    from langchain_community.vectorstores import FAISS

    ours, beside = VectorFingerprint.of(embeddings), Path(place) / "fingerprint.json"
    if beside.exists():
        ours.check(json.loads(beside.read_text("utf-8")), where=f"the index {place}")
        store = FAISS.load_local(place, embeddings, allow_dangerous_deserialization=True)
    else:
        store = FAISS(embeddings, faiss_library.IndexFlatL2(ours.dimensions), InMemoryDocstore(), {})
    yield store
    store.save_local(place)
    beside.write_text(json.dumps(ours.to_metadata()), "utf-8")


@contextmanager
def milvus(place: str, embeddings: Any) -> Iterator[VectorStore]:
    from langchain_milvus import Milvus
    from pymilvus import MilvusClient, connections

    ours, uri = VectorFingerprint.of(embeddings), f"{place}.db"
    with closing(MilvusClient(uri)) as client:
        if client.has_collection(NAME):
            ours.check(client.describe_collection(NAME)["properties"], where=f"collection {NAME!r}")
        # langchain-milvus 0.3.3 expects pymilvus to have registered its connection, which shares the client's alias
        connections.connect(alias=client._using, uri=uri)
        store = Milvus(
            embeddings,
            collection_name=NAME,
            connection_args={"uri": uri},
            index_params={"index_type": "FLAT", "metric_type": "COSINE"},
            collection_properties={key: str(value) for key, value in ours.to_metadata().items()},
            auto_id=True,
        )
        yield store
        connections.disconnect(client._using)
        store.client.close()


@contextmanager
def postgres(place: str, embeddings: Any) -> Iterator[VectorStore]:
    from langchain_postgres import PGVector
    from sqlalchemy import create_engine, inspect, text

    ours = VectorFingerprint.of(embeddings)
    engine = create_engine(place.replace("postgresql://", "postgresql+psycopg://"))
    try:
        if inspect(engine).has_table("langchain_pg_collection"):
            with engine.connect() as connection:
                query = text("SELECT cmetadata FROM langchain_pg_collection WHERE name = :name")
                ours.check(connection.execute(query, {"name": NAME}).scalar(), where=f"collection {NAME!r}")
        yield PGVector(
            embeddings,
            connection=engine,
            collection_name=NAME,
            collection_metadata=ours.to_metadata(),
            embedding_length=ours.dimensions,
        )
    finally:
        engine.dispose()


STORES: dict[str, Open] = {
    "qdrant": qdrant,
    "chroma": chroma,
    "lancedb": lancedb,
    "faiss": faiss,
    "milvus": milvus,
    "postgres": postgres,
}


def fill(store: Open, place: str, embeddings: JinaClipEmbeddings, texts: list[str], images: list[str]) -> None:
    """Put texts and images into one store."""
    with store(place, embeddings) as opened:
        opened.add_texts(texts, metadatas=[{"kind": "text", "name": text} for text in texts])
    with store(place, embeddings.for_images()) as opened:
        opened.add_texts(images, metadatas=[{"kind": "image", "name": Path(uri).stem} for uri in images])


def answers(store: VectorStore, embeddings: JinaClipEmbeddings, image: str) -> dict[str, list[str]]:
    """What a text and an image find: names, best first."""
    by_image = store.similarity_search_by_vector(embeddings.embed_image(image), k=1)
    by_text = store.similarity_search("something green", k=2)
    return {key: [hit.metadata["name"] for hit in hits] for key, hits in (("text", by_text), ("image", by_image))}
