"""LangChain over every store that runs on this machine: write, search, close, and search from a new process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from jina_clip_integrations.errors import ConfigurationError
from jina_clip_integrations.langchain import JinaClipEmbeddings
from tests.colours import ColourBackend
from tests.stores.langchain_stores import STORES, answers, fill

pytestmark = [
    # langchain-community tells on import that it is being sunset; its FAISS and LanceDB classes have no successor
    pytest.mark.filterwarnings("ignore:`langchain-community` is being sunset:DeprecationWarning"),
    # langchain-milvus 0.3.3 is written against an interface that pymilvus 3.1 will drop
    pytest.mark.filterwarnings("ignore:.*ORM-style PyMilvus API:FutureWarning"),
]


@pytest.fixture(params=sorted(STORES))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def embeddings() -> JinaClipEmbeddings:
    return JinaClipEmbeddings(backend=ColourBackend())


def test_texts_and_pictures_survive_a_new_process(
    kind: str, place: str, embeddings: Any, texts: list[str], pictures: list[str], reopened: Callable[..., Any]
) -> None:
    fill(STORES[kind], place, embeddings, texts, pictures)
    expected = {"text": ["a green meadow", "green"], "image": ["blue"]}
    with STORES[kind](place, embeddings) as store:
        assert answers(store, embeddings, pictures[2]) == expected
    assert reopened("langchain", kind, place, pictures[2]) == expected
    for other in (ColourBackend(dimensions=4), ColourBackend(model="other", spec=None)):
        with pytest.raises(ConfigurationError, match="cannot be compared"):
            STORES[kind](place, JinaClipEmbeddings(backend=other)).__enter__()
