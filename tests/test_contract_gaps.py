"""What the frameworks ask and no other test looks at; `tests/requirements.toml` has the whole list."""

from __future__ import annotations

import ast
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.callbacks import CallbackManager
from llama_index.core.embeddings.utils import resolve_embed_model
from llama_index.core.ingestion.pipeline import get_transformation_hash
from llama_index.core.schema import ImageNode, TextNode
from PIL import Image

import jina_clip_integrations
from jina_clip_integrations.errors import ImageError
from jina_clip_integrations.langchain import JinaClipEmbeddings
from jina_clip_integrations.llama_index import JinaClipEmbedding
from tests.expected import assert_same, of_images, of_texts
from tests.fakes import BlockingBackend


@pytest.fixture
def embedding() -> JinaClipEmbedding:
    return JinaClipEmbedding(backend=BlockingBackend())


@pytest.fixture
def images(tmp_path: Path) -> list[str]:
    """Paths of two different images."""
    paths = [str(tmp_path / f"{colour}.png") for colour in ("red", "blue")]
    for path in paths:
        Image.new("RGB", (9, 7), Path(path).stem).save(path)
    return paths


# LlamaIndex


@pytest.mark.framework("llama-index/global-setting")
def test_the_global_setting_may_assign_other_callbacks(embedding: JinaClipEmbedding) -> None:
    others = CallbackManager([])
    assert embedding.callback_manager is not others
    assert resolve_embed_model(embedding, callback_manager=others) is embedding
    assert embedding.callback_manager is others


@pytest.mark.framework("llama-index/usual-names")
def test_an_empty_variable_is_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JINA_API_KEY", "")
    assert JinaClipEmbedding().api_key is None
    monkeypatch.setenv("JINAAI_API_KEY", "two")
    assert JinaClipEmbedding().api_key.get_secret_value() == "two"


@pytest.mark.framework("llama-index/further-keywords")
async def test_the_text_batch_ignores_further_keywords(embedding: Any) -> None:
    assert_same(embedding.get_text_embedding_batch(["a", "b"], purpose="none"), of_texts(["a", "b"]))
    assert_same(await embedding.aget_text_embedding_batch(["a", "b"], purpose="none"), of_texts(["a", "b"]))


@pytest.mark.framework("llama-index/error-page")
def test_an_error_page_is_no_image(embedding: Any, images: list[str]) -> None:
    """What the framework hands over for a URL that answered with an error."""
    page = io.BytesIO(b"<!doctype html><title>404 Not Found</title>")
    with pytest.raises(ImageError) as caught:
        embedding.get_image_embedding_batch([images[0], page])
    assert caught.value.index == 1


@pytest.mark.framework("llama-index/nodes-with-vectors")
def test_an_index_keeps_the_vectors_of_its_nodes(embedding: Any, images: list[str]) -> None:
    nodes = [TextNode(text="words"), *(ImageNode(image_path=path, metadata={"file_path": path}) for path in images)]
    embedding(nodes)
    computed = len(embedding.backend.embedded)
    index = VectorStoreIndex(nodes, embed_model=embedding)
    assert len(embedding.backend.embedded) == computed == 3
    kept = [index.vector_store.get(node.node_id) for node in nodes]
    np.testing.assert_allclose(kept, np.concatenate([of_texts(["words"]), of_images(images)]), atol=1e-6)


@pytest.mark.framework("llama-index/pipeline-cache-images")
def test_a_file_path_in_the_metadata_tells_image_nodes_apart(images: list[str]) -> None:
    step = JinaClipEmbedding()
    bare = [get_transformation_hash([ImageNode(image_path=path)], step) for path in images]
    named = [
        get_transformation_hash([ImageNode(image_path=path, metadata={"file_path": path})], step) for path in images
    ]
    assert len(set(bare)) == 1, "the framework looks at images now: the guide's advice can go"
    assert len(set(named)) == 2


# LangChain


@pytest.mark.framework("langchain/image-methods")
async def test_images_by_position_inside_a_running_loop(images: list[str]) -> None:
    """Some stores hand over a list by position, and block inside their own async methods."""
    embeddings = JinaClipEmbeddings(backend=BlockingBackend())
    assert_same(embeddings.embed_image(images), of_images(images))
    assert_same(embeddings.embed_images(images), of_images(images))
    assert_same([embeddings.embed_image(images[1])], of_images(images[1:]))


@pytest.mark.framework("langchain/caching-wrapper")
def test_the_caching_wrapper_hides_the_image_methods() -> None:
    classic = pytest.importorskip("langchain_classic.embeddings")
    from langchain_core.stores import InMemoryByteStore

    embeddings = JinaClipEmbeddings(backend=BlockingBackend())
    wrapped = classic.CacheBackedEmbeddings.from_bytes_store(
        embeddings, InMemoryByteStore(), namespace="a", query_embedding_cache=True, key_encoder="sha256"
    )
    document = wrapped.embed_documents(["dog"])[0]
    assert wrapped.embed_query("dog") == document != embeddings.embed_query("dog")
    assert not hasattr(wrapped, "embed_image"), "the guide's warning can go"


@pytest.mark.framework("langchain/community-package")
def test_no_module_imports_a_package_that_is_being_retired() -> None:
    imported = set()
    for path in Path(jina_clip_integrations.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                imported.add(node.module.partition(".")[0])
    assert "langchain_core" in imported
    assert not imported & {"langchain_community", "langchain_classic", "langchain"}
