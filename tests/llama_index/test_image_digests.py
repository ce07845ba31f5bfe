"""An image that changed under its path, through real pipelines with docstore, upserts and cache."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llama_index.core.ingestion import DocstoreStrategy, IngestionCache, IngestionPipeline
from llama_index.core.schema import (
    BaseNode,
    ImageDocument,
    ImageNode,
    MediaResource,
    MetadataMode,
    Node,
    TextNode,
)
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.core.storage.docstore.utils import doc_to_json, json_to_doc
from llama_index.core.vector_stores import SimpleVectorStore

from jina_clip_integrations.errors import ImageError
from jina_clip_integrations.llama_index import JinaClipEmbedding, with_image_digests
from tests.expected import of_images
from tests.llama_index.portable import Portable

FORMS: dict[str, Callable[[str], BaseNode]] = {
    "ImageNode": lambda path: ImageNode(id_=path, image_path=path),
    "ImageDocument": lambda path: ImageDocument(id_=path, image_path=path),
    "Node": lambda path: Node(id_=path, image_resource=MediaResource(path=Path(path))),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("storing", ["upserts", "cache"])
async def test_a_changed_image_is_embedded_again(
    call: Callable[..., Any], images: list[str], tmp_path: Path, form: str, storing: str
) -> None:
    path = str(tmp_path / "photo.png")
    shutil.copy(images[0], path)
    stores: dict[str, Any] = {"cache": IngestionCache()}
    if storing == "upserts":
        strategy = DocstoreStrategy.UPSERTS
        stores = {"docstore": SimpleDocumentStore(), "vector_store": SimpleVectorStore(), "docstore_strategy": strategy}
    step = JinaClipEmbedding(backend=Portable())
    pipeline = IngestionPipeline(transformations=[step], disable_cache=storing != "cache", **stores)

    async def run() -> Any:
        nodes = with_image_digests([FORMS[form](uri) for uri in (path, images[1])])
        return [node.embedding for node in await call(pipeline, "run", nodes=nodes)]

    first = await run()
    np.testing.assert_allclose(first, of_images([images[0], images[1]]), atol=1e-6)
    assert await run() == (first if storing == "cache" else [])
    assert len(step.backend.batches) == 1
    shutil.copy(images[2], path)
    again = await run()
    np.testing.assert_allclose(again, of_images([images[2], images[1]][: len(again)]), atol=1e-6)
    assert len(again) == (2 if storing == "cache" else 1)


@pytest.mark.parametrize("form", FORMS)
def test_models_do_not_see_the_digest_and_stores_keep_it(images: list[str], form: str) -> None:
    node = FORMS[form](images[0])
    [digested] = with_image_digests([node])
    assert "image_digest" not in node.metadata
    assert digested.id_ == node.id_
    for mode in (MetadataMode.EMBED, MetadataMode.LLM):
        assert "image_digest" not in digested.get_content(metadata_mode=mode)
    [twice] = with_image_digests([digested])
    assert (twice.hash, type(twice)) == (digested.hash, type(digested))
    loaded = json_to_doc(doc_to_json(digested))
    assert loaded.metadata == digested.metadata
    assert loaded.class_name() == node.class_name()


def test_what_cannot_be_read_is_named_and_texts_pass(images: list[str], tmp_path: Path) -> None:
    gone = str(tmp_path / "gone.png")
    nodes = [TextNode(text="a"), ImageNode(image_path=gone), ImageNode(image_path=images[0])]
    with pytest.raises(ImageError, match=r"gone\.png") as caught:
        with_image_digests(nodes)
    assert caught.value.index == 1
    with pytest.warns(UserWarning, match=r"input 1 is left out.*gone\.png"):
        kept = with_image_digests(nodes, on_error="skip")
    assert [type(node).class_name() for node in kept] == ["TextNode", "ImageNode"]
    assert kept[0] is nodes[0]
