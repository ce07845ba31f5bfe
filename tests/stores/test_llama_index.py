"""LlamaIndex over every store that runs on this machine: write, search, close, and search from a new process."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest

from jina_clip_integrations.errors import ConfigurationError
from jina_clip_integrations.llama_index import JinaClipEmbedding
from tests.colours import ColourBackend
from tests.stores.conftest import stores_here
from tests.stores.llama_index_stores import STORES, answers, fill

pytestmark = [
    # the integration asks for payload indexes, which only a Qdrant server has
    pytest.mark.filterwarnings("ignore:Payload indexes have no effect in the local Qdrant:UserWarning"),
    # the integration lists tables by LanceDB's former name for it
    pytest.mark.filterwarnings(r"ignore:table_names\(\) is deprecated:DeprecationWarning"),
]


EXPECTED = {"text": ["a green meadow", "green"], "image": ["blue"]}
"""What `answers` finds: green things by words, and the blue image by itself."""


@pytest.fixture(scope="module")
def embedding() -> JinaClipEmbedding:
    return JinaClipEmbedding(backend=ColourBackend())


@pytest.fixture(scope="module")
def filled(new_place: Any, embedding: Any, texts: list[str], images: list[str]) -> Callable[[str], str]:
    """The place of a store with texts and images in it; each is filled once."""

    @functools.cache
    def fill_once(kind: str) -> str:
        place: str = new_place(kind)
        fill(STORES[kind], place, embedding, texts, images)
        return place

    return fill_once


@pytest.mark.framework("llama-index/mixed-index", "stores/every-store", "stores/lancedb")
@pytest.mark.parametrize("kind", sorted(STORES))
def test_words_and_images_find_texts_and_images(
    kind: str, filled: Callable[[str], str], embedding: Any, images: list[str]
) -> None:
    with STORES[kind](filled(kind), embedding) as opened:
        assert answers(opened, embedding, images[2]) == EXPECTED


@pytest.mark.framework("stores/other-width")
@pytest.mark.parametrize("kind", sorted(STORES))
def test_a_store_of_another_model_or_width_is_refused(kind: str, filled: Callable[[str], str]) -> None:
    for other in (ColourBackend(dimensions=4), ColourBackend(model="other", spec=None)):
        refused = STORES[kind](filled(kind), JinaClipEmbedding(backend=other))
        with pytest.raises(ConfigurationError, match=r"fake, 8 dimensions.*cannot be compared"):
            refused.__enter__()


@pytest.mark.framework("stores/every-store")
def test_a_new_process_finds_the_same(filled: Any, images: list[str], reopened: Callable[..., Any]) -> None:
    places = {kind: filled(kind) for kind in stores_here(STORES)}
    assert reopened("llama_index", images[2], places) == dict.fromkeys(places, EXPECTED)
