"""LangChain over every store that runs on this machine: write, search, close, and search from a new process."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest

from jina_clip_integrations.errors import ConfigurationError
from jina_clip_integrations.langchain import JinaClipEmbeddings
from tests.colours import ColourBackend
from tests.stores.conftest import stores_here
from tests.stores.langchain_stores import STORES, answers, fill

pytestmark = [
    # langchain-community tells on import that it is being sunset; its FAISS and LanceDB classes have no successor
    pytest.mark.filterwarnings("ignore:`langchain-community` is being sunset:DeprecationWarning"),
    # langchain-milvus 0.3.3 is written against an interface that pymilvus 3.1 will drop
    pytest.mark.filterwarnings("ignore:.*ORM-style PyMilvus API:FutureWarning"),
]


EXPECTED = {"text": ["a green meadow", "green"], "image": ["blue"]}
"""What `answers` finds: green things by words, and the blue image by itself."""


@pytest.fixture(scope="module")
def embeddings() -> JinaClipEmbeddings:
    return JinaClipEmbeddings(backend=ColourBackend())


@pytest.fixture(scope="module")
def filled(new_place: Any, embeddings: Any, texts: list[str], images: list[str]) -> Callable[[str], str]:
    """The place of a store with texts and images in it; each is filled once."""

    @functools.cache
    def fill_once(kind: str) -> str:
        place: str = new_place(kind)
        fill(STORES[kind], place, embeddings, texts, images)
        return place

    return fill_once


@pytest.mark.framework("langchain/image-view", "stores/every-store", "stores/lancedb", "stores/milvus-lite")
@pytest.mark.parametrize("kind", sorted(STORES))
def test_words_and_images_find_texts_and_images(
    kind: str, filled: Callable[[str], str], embeddings: Any, images: list[str]
) -> None:
    with STORES[kind](filled(kind), embeddings) as opened:
        assert answers(opened, embeddings, images[2]) == EXPECTED


@pytest.mark.framework("stores/other-width")
@pytest.mark.parametrize("kind", sorted(STORES))
def test_a_store_of_another_model_or_width_is_refused(kind: str, filled: Callable[[str], str]) -> None:
    for other in (ColourBackend(dimensions=4), ColourBackend(model="other", spec=None)):
        refused = STORES[kind](filled(kind), JinaClipEmbeddings(backend=other))
        with pytest.raises(ConfigurationError, match=r"fake, 8 dimensions.*cannot be compared"):
            refused.__enter__()


@pytest.mark.framework("stores/every-store")
def test_a_new_process_finds_the_same(filled: Any, images: list[str], reopened: Callable[..., Any]) -> None:
    places = {kind: filled(kind) for kind in stores_here(STORES)}
    assert reopened("langchain", images[2], places) == dict.fromkeys(places, EXPECTED)
