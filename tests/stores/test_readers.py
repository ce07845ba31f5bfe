"""What `SimpleDirectoryReader` reads, through a pipeline whose only step is ours, found again in real stores."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from llama_index.core import SimpleDirectoryReader, VectorStoreIndex
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.schema import ImageNode, QueryBundle

from jina_clip_integrations.llama_index import JinaClipEmbedding
from tests.colours import ColourBackend
from tests.stores.llama_index_stores import STORES, Opened
from tests.stores.test_llama_index import pytestmark as store_warnings

pytestmark = [
    *store_warnings,
    pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning"),  # the reader's image files
]


@pytest.fixture
def folder(tmp_path: Path, images: list[str]) -> Path:
    place = tmp_path / "read"
    place.mkdir()
    for path in images:
        (place / Path(path).name).write_bytes(Path(path).read_bytes())
    (place / "meadow.txt").write_text("a green meadow")
    return place


def in_memory(_place: str, embedding: JinaClipEmbedding) -> Any:
    index = VectorStoreIndex([], embed_model=embedding)
    return nullcontext(Opened(index, index.insert_nodes))


KINDS: dict[str, Any] = {"in memory": in_memory, **STORES}


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_images_of_a_reader_are_found_as_images(kind: str, folder: Path, new_place: Any) -> None:
    embedding = JinaClipEmbedding(backend=ColourBackend())
    documents = SimpleDirectoryReader(str(folder)).load_data()
    nodes = IngestionPipeline(transformations=[embedding], disable_cache=True).run(documents=documents)
    with KINDS[kind](new_place(kind) if kind in STORES else "", embedding) as opened:
        opened.add(nodes)
        retriever = opened.index.as_retriever(similarity_top_k=2)
        by_words = retriever.retrieve("something green")
        blue = str(folder / "blue.png")
        by_image = retriever.retrieve(QueryBundle(query_str="", embedding=embedding.get_image_embedding(blue)))
    assert [hit.node.metadata["file_name"] for hit in by_words] == ["meadow.txt", "green.png"]
    assert by_words[0].node.get_content() == "a green meadow"
    for hit, name in ((by_words[1], "green.png"), (by_image[0], "blue.png")):
        assert isinstance(hit.node, ImageNode)
        assert hit.node.image_path == str(folder / name)
