"""The object as an ingestion step: image nodes as images, all others as texts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llama_index.core.ingestion import IngestionCache, IngestionPipeline
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.schema import (
    BaseNode,
    Document,
    ImageDocument,
    ImageNode,
    MediaResource,
    MetadataMode,
    Node,
    NodeWithScore,
    TextNode,
)

from jina_clip_integrations.errors import ImageError, InputError
from jina_clip_integrations.llama_index import JinaClipEmbedding
from tests.expected import of_images, of_texts
from tests.llama_index.portable import Portable


def mixed(images: list[str]) -> list[BaseNode]:
    return [
        TextNode(text="a red bicycle", metadata={"page": 3}),
        ImageNode(image_path=images[0]),
        TextNode(text="un chien"),
        ImageNode(image_path=images[1], text="a captioned image"),
        Node(image_resource=MediaResource(path=Path(images[2]))),
        ImageNode(text="only a caption"),
    ]


def embedded(nodes: Any) -> list[Any]:
    return [node.embedding for node in nodes]


@pytest.mark.framework("llama-index/pipeline-order")
async def test_nodes_are_embedded_by_what_they_carry(
    call: Callable[..., Any], embedding: Any, images: list[str]
) -> None:
    nodes = mixed(images)
    result = await call(embedding, "__call__", nodes)
    assert [node.node_id for node in result] == [node.node_id for node in nodes]
    assert all(after is before for after, before in zip(result[:4], nodes[:4], strict=True))
    texts = [node.get_content(MetadataMode.EMBED) for node in (nodes[0], nodes[2], nodes[5])]
    assert texts[0] == "page: 3\n\na red bicycle"
    expected = np.zeros((6, 8))
    expected[[0, 2, 5]] = of_texts(texts)
    expected[[1, 3, 4]] = of_images(images)
    np.testing.assert_allclose(embedded(result), expected, atol=1e-6)


async def test_no_nodes(call: Callable[..., Any], embedding: Any) -> None:
    assert await call(embedding, "__call__", []) == []


async def test_a_generator_of_nodes_is_embedded_whole(
    call: Callable[..., Any], embedding: Any, images: list[str]
) -> None:
    nodes = mixed(images)
    done = await call(embedding, "__call__", (node for node in nodes))
    assert [node.node_id for node in done] == [node.node_id for node in nodes]
    assert all(node.embedding for node in done)


@pytest.mark.parametrize(
    ("wrong", "index"),
    [
        ([TextNode(text="a"), "a text"], 1),
        ([TextNode(text="a"), None], 1),
        ([NodeWithScore(node=TextNode(text="a"))], 0),
        (TextNode(text="a"), None),
        ("a text", None),
        ({"a": TextNode(text="a")}, None),
    ],
)
async def test_what_is_no_node_is_named(call: Callable[..., Any], embedding: Any, wrong: Any, index: Any) -> None:
    with pytest.raises(InputError) as caught:
        await call(embedding, "__call__", wrong)
    assert caught.value.index == index
    assert embedding.backend.batches == []


@pytest.mark.framework("llama-index/progress-bars")
async def test_progress_is_passed_on(
    call: Callable[..., Any], embedding: Any, images: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    await call(embedding, "__call__", mixed(images), show_progress=True)
    drawn = capsys.readouterr().err
    assert "Generating embeddings" in drawn
    assert "Generating image embeddings" in drawn


async def test_a_bad_image_node_is_named_by_its_place(
    call: Callable[..., Any], embedding: Any, images: list[str]
) -> None:
    nodes = [*mixed(images), ImageNode(image_path="missing.png")]
    with pytest.raises(ImageError) as caught:
        await call(embedding, "__call__", nodes)
    assert caught.value.index == 6


@pytest.fixture
def step() -> JinaClipEmbedding:
    return JinaClipEmbedding(backend=Portable())


@pytest.mark.framework("llama-index/pipeline-order")
async def test_a_pipeline_turns_documents_into_embedded_nodes(
    call: Callable[..., Any], step: Any, images: list[str]
) -> None:
    pipeline = IngestionPipeline(transformations=[SentenceSplitter(), step])
    documents = [Document(text="words", metadata={"a": 1}), *(ImageDocument(image_path=path) for path in images)]
    for path, document in zip(images, documents[1:], strict=True):
        document.metadata = {"file_path": path}
    nodes = await call(pipeline, "run", documents=documents)
    kinds = {type(node) for node in nodes}
    assert kinds == {TextNode, ImageNode}
    image_nodes = [node for node in nodes if isinstance(node, ImageNode)]
    np.testing.assert_allclose(embedded(image_nodes), of_images([node.image_path for node in image_nodes]), atol=1e-6)


@pytest.mark.framework("llama-index/pipeline-cache-key")
async def test_the_pipelines_cache_answers_a_second_run(call: Callable[..., Any], step: Any, images: list[str]) -> None:
    pipeline = IngestionPipeline(transformations=[step], cache=IngestionCache())
    nodes = [ImageNode(image_path=path, metadata={"file_path": path}) for path in images]
    first = embedded(await call(pipeline, "run", nodes=nodes))
    step.timeout = None
    step.embed_batch_size = 1
    assert embedded(await call(pipeline, "run", nodes=nodes)) == first
    assert len(step.backend.batches) == 1
    step.dimensions = 4
    assert {len(vector) for vector in embedded(await call(pipeline, "run", nodes=nodes))} == {4}


@pytest.mark.framework("llama-index/pipeline-cache-stable")
async def test_a_backend_object_needs_the_pipelines_cache_off(
    call: Callable[..., Any], embedding: Any, images: list[str]
) -> None:
    nodes = [ImageNode(image_path=path) for path in images]
    with pytest.raises(ValueError, match="disable_cache=True"):
        await call(IngestionPipeline(transformations=[embedding]), "run", nodes=nodes)
    done = await call(IngestionPipeline(transformations=[embedding], disable_cache=True), "run", nodes=nodes)
    np.testing.assert_allclose(embedded(done), of_images(images), atol=1e-6)


@pytest.mark.framework("llama-index/pipeline-processes")
def test_a_pool_of_processes_embeds_too(step: Any, images: list[str]) -> None:
    nodes = [TextNode(text="words"), *(ImageNode(image_path=path, metadata={"file_path": path}) for path in images)]
    done = IngestionPipeline(transformations=[step], disable_cache=True).run(nodes=nodes, num_workers=2)
    expected = np.concatenate([of_texts(["words"]), of_images(images)])
    np.testing.assert_allclose(embedded(done), expected, atol=1e-6)
    assert step.backend.batches == []
