"""What was loaded is found by the frameworks' stores, with their own classes and default fields, and by our search."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.schema import ImageNode, QueryBundle, TextNode
from pyarrow import parquet

from jina_clip_integrations import JinaClipEncoder
from jina_clip_integrations.langchain import JinaClipEmbeddings
from jina_clip_integrations.llama_index import JinaClipEmbedding
from jina_clip_integrations.loading.load import load_files
from jina_clip_integrations.retrieval.fingerprint import VectorFingerprint
from jina_clip_integrations.retrieval.vector_table import TableInfo, make_schema, to_list_array
from tests.colours import ColourBackend
from tests.stores.conftest import images

__all__ = ["images"]

TEXTS = ["a green meadow", "a blue lake"]


@pytest.fixture
def file(images: list[str], tmp_path: Path) -> str:
    """Two texts and three images, with a number each."""
    with JinaClipEncoder(backend=ColourBackend()) as encoder:
        vectors = encoder.encode([*({"text": text} for text in TEXTS), *({"image": path} for path in images)])
        mark = VectorFingerprint.of(encoder)
        info = TableInfo(model=encoder.model, dimensions=vectors.shape[1], fingerprint=mark)
    schema = make_schema(info, carried=[pa.field("number", pa.int64())])
    embedding = to_list_array(vectors, schema.field("embedding").type)
    kinds = ["text"] * len(TEXTS) + ["image"] * len(images)
    path = tmp_path / "vectors.parquet"
    parquet.write_table(pa.table([kinds, TEXTS + images, list(range(5)), embedding], schema=schema), path)
    return str(path)


@pytest.fixture
def embeddings() -> JinaClipEmbeddings:
    return JinaClipEmbeddings(backend=ColourBackend())


@pytest.fixture
def embed_model() -> JinaClipEmbedding:
    return JinaClipEmbedding(backend=ColourBackend())


def check_langchain(store: Any, embeddings: Any, images: list[str]) -> None:
    by_words = store.similarity_search("something green", k=2)
    assert {hit.page_content for hit in by_words} == {TEXTS[0], images[1]}
    [image] = store.similarity_search_by_vector(embeddings.embed_image(images[2]), k=1)
    assert (image.page_content, image.metadata["uri"], image.metadata["kind"]) == (images[2], images[2], "image")
    assert image.metadata["number"] == 4


def check_llama_index(store: Any, embed_model: Any, images: list[str]) -> None:
    index = VectorStoreIndex.from_vector_store(store, embed_model=embed_model)
    nodes = [hit.node for hit in index.as_retriever(similarity_top_k=2).retrieve("something green")]
    text = next(node for node in nodes if not isinstance(node, ImageNode))
    assert isinstance(text, TextNode)
    assert (text.text, text.metadata["number"]) == (TEXTS[0], 0)
    query = QueryBundle(query_str="", embedding=embed_model.get_image_embedding(images[2]))
    [hit] = index.as_retriever(similarity_top_k=1).retrieve(query)
    assert isinstance(hit.node, ImageNode)
    assert (hit.node.image_path, hit.node.metadata["number"]) == (images[2], 4)


def test_qdrant(file: str, embeddings: Any, embed_model: Any, images: list[str], tmp_path: Path) -> None:
    from langchain_qdrant import QdrantVectorStore
    from llama_index.vector_stores import qdrant as llama_qdrant
    from qdrant_client import QdrantClient

    load_files([file], into=str(tmp_path / "store"))
    with closing(QdrantClient(path=str(tmp_path / "store"))) as client:
        mark = client.get_collection("jina-clip").config.metadata
        VectorFingerprint.of(embeddings).check(mark, where="it")
        check_langchain(QdrantVectorStore(client, "jina-clip", embeddings), embeddings, images)
        check_llama_index(llama_qdrant.QdrantVectorStore("jina-clip", client=client), embed_model, images)


def test_lancedb(file: str, embeddings: Any, embed_model: Any, images: list[str], tmp_path: Path) -> None:
    import lancedb
    from langchain_community.vectorstores import LanceDB
    from llama_index.vector_stores.lancedb import LanceDBVectorStore

    load_files([file], into=f"lancedb:{tmp_path / 'store'}")
    database = lancedb.connect(str(tmp_path / "store"))
    VectorFingerprint.of(embeddings).check(database.open_table("jina_clip").schema.metadata, where="it")
    options = {"connection": database, "table_name": "jina_clip", "mode": "append", "distance": "cosine"}
    check_langchain(LanceDB(embedding=embeddings, **options), embeddings, images)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"table_names\(\) is deprecated")
        store = LanceDBVectorStore(connection=database, table_name="jina_clip", mode="create")
        check_llama_index(store, embed_model, images)


def test_postgres(
    file: str, embeddings: Any, embed_model: Any, images: list[str], new_place: Callable[[str], str]
) -> None:
    pytest.importorskip("pgserver", reason="no PostgreSQL with pgvector here: pip install pgserver")
    from langchain_postgres import PGEngine, PGVectorStore
    from llama_index.vector_stores.postgres import PGVectorStore as LlamaStore

    place = new_place("postgres")
    load_files([file], into=place)
    engine = PGEngine.from_connection_string(place.replace("postgresql://", "postgresql+psycopg://"))
    columns = {"id_column": "node_id", "content_column": "text", "metadata_json_column": "metadata_"}
    store = PGVectorStore.create_sync(engine, embeddings, "data_jina_clip", **columns)
    check_langchain(store, embeddings, images)
    engine._run_as_sync(engine.close())
    llama_store = LlamaStore.from_params(
        connection_string=place.replace("postgresql://", "postgresql+psycopg2://"),
        async_connection_string=place.replace("postgresql://", "postgresql+asyncpg://"),
        table_name="jina_clip",
        embed_dim=8,
        perform_setup=False,
    )
    check_llama_index(llama_store, embed_model, images)
    asyncio.run(llama_store.close())
