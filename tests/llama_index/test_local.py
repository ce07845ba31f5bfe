"""On the tiny v2 checkpoint: the real model behind the class."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llama_index.core.schema import ImageNode, TextNode

from jina_clip_integrations import JinaClipEncoder
from jina_clip_integrations.llama_index import JinaClipEmbedding

FOLDER = Path(__file__).parent.parent / "golden" / "v2"
TEXTS = ["a red bicycle", "un chien"]


@pytest.fixture(scope="module")
def embedding() -> Iterator[JinaClipEmbedding]:
    assert (FOLDER / "golden.safetensors").is_file(), f"golden fixtures are missing: {FOLDER}"
    made = JinaClipEmbedding(model_name=str(FOLDER), backend="local", device="cpu", dtype="float32")
    yield made
    made.close()


@pytest.fixture(scope="module")
def encoder() -> JinaClipEncoder:
    return JinaClipEncoder(FOLDER, "local", device="cpu", dtype="float32")


async def test_the_vectors_are_the_encoders(
    call: Callable[..., Any], embedding: Any, encoder: Any, images: list[str]
) -> None:
    texts = await call(embedding, "get_text_embedding_batch", TEXTS)
    rows = await call(embedding, "get_image_embedding_batch", images)
    query = await call(embedding, "get_query_embedding", TEXTS[0])
    np.testing.assert_allclose(texts, encoder.encode_text(TEXTS), atol=1e-6)
    np.testing.assert_allclose(rows, encoder.encode_image(images), atol=1e-6)
    np.testing.assert_allclose(query, encoder.encode_text(TEXTS[0], task="retrieval.query"), atol=1e-6)


@pytest.mark.framework("llama-index/json-dump")
async def test_a_dump_rebuilds_a_working_object(call: Callable[..., Any], embedding: Any, images: list[str]) -> None:
    again = JinaClipEmbedding.from_json(embedding.to_json())
    nodes = [TextNode(text=TEXTS[0]), ImageNode(image_path=images[0])]
    await call(again, "__call__", nodes)
    np.testing.assert_allclose(nodes[0].embedding, embedding.get_text_embedding(TEXTS[0]), atol=1e-6)
    np.testing.assert_allclose(nodes[1].embedding, embedding.get_image_embedding(images[0]), atol=1e-6)
    again.close()
