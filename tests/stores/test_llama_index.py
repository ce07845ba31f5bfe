"""LlamaIndex over every store that runs on this machine: write, search, close, and search from a new process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from jina_clip_integrations.errors import ConfigurationError
from jina_clip_integrations.llama_index import JinaClipEmbedding
from tests.colours import ColourBackend
from tests.stores.llama_index_stores import STORES, answers, fill

pytestmark = [
    # the integration asks for payload indexes, which only a Qdrant server has
    pytest.mark.filterwarnings("ignore:Payload indexes have no effect in the local Qdrant:UserWarning"),
    # the integration lists tables by LanceDB's former name for it
    pytest.mark.filterwarnings(r"ignore:table_names\(\) is deprecated:DeprecationWarning"),
]


@pytest.fixture(params=sorted(STORES))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def embedding() -> JinaClipEmbedding:
    return JinaClipEmbedding(backend=ColourBackend())


def test_texts_and_pictures_survive_a_new_process(
    kind: str, place: str, embedding: Any, texts: list[str], pictures: list[str], reopened: Callable[..., Any]
) -> None:
    fill(STORES[kind], place, embedding, texts, pictures)
    expected = {"text": ["a green meadow", "green"], "image": ["blue"]}
    with STORES[kind](place, embedding) as opened:
        assert answers(opened, embedding, pictures[2]) == expected
    assert reopened("llama_index", kind, place, pictures[2]) == expected
    for other in (ColourBackend(dimensions=4), ColourBackend(model="other", spec=None)):
        with pytest.raises(ConfigurationError, match="cannot be compared"):
            STORES[kind](place, JinaClipEmbedding(backend=other)).__enter__()
