"""What only the LangChain class has: image methods by keyword, images that are skipped, the view for stores."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jina_clip_integrations.errors import ImageError, InputError
from tests.expected import assert_same, of_images, of_texts


@pytest.mark.framework("langchain/image-methods")
@pytest.mark.parametrize("method", ["embed_images", "embed_image"])
async def test_many_images_by_keyword_give_many_vectors(
    call: Callable[..., Any], embeddings: Any, images: list[str], method: str
) -> None:
    assert_same(await call(embeddings, method, uris=images), of_images(images))


async def test_a_bad_image_can_be_skipped(
    call: Callable[..., Any], embeddings: Any, images: list[str], tmp_path: Path
) -> None:
    uris = [images[0], str(tmp_path / "missing.png"), images[1]]
    vectors = await call(embeddings, "embed_images", uris, on_error="skip")
    assert np.isnan(vectors[1]).all()
    assert_same([vectors[0], vectors[2]], of_images(images[:2]))
    assert list(embeddings.last_errors) == [1]
    assert isinstance(embeddings.last_errors[1], ImageError)
    await call(embeddings, "embed_images", images)
    assert embeddings.last_errors == {}


@pytest.mark.framework("langchain/image-view")
async def test_the_image_view_reads_documents_as_uris_and_queries_as_text(
    call: Callable[..., Any], embeddings: Any, images: list[str]
) -> None:
    view = embeddings.for_images()
    np.testing.assert_allclose(await call(view, "embed_documents", images), of_images(images), atol=1e-6)
    query = await call(view, "embed_query", "red")
    np.testing.assert_allclose([query], of_texts(["red"], "retrieval.query"), atol=1e-6)
    assert_same(await call(view, "embed_images", uris=images), of_images(images))
    assert_same([await call(view, "embed_image", images[0])], of_images(images[:1]))
    with pytest.raises(InputError):
        await call(view, "embed_documents", images[0])


@pytest.mark.framework("langchain/image-view")
async def test_the_image_view_answers_a_stores_probe_for_the_width(call: Callable[..., Any], embeddings: Any) -> None:
    """langchain-qdrant embeds this one word before it is given any document."""
    assert_same(await call(embeddings.for_images(), "embed_documents", ["dummy_text"]), of_texts(["dummy_text"]))
    with pytest.raises(ImageError):
        await call(embeddings.for_images(), "embed_documents", ["dummy_text", "dummy_text"])
