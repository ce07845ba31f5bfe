"""The encoder behind an adapter: built once, looked at again only after an option was assigned."""

from __future__ import annotations

from typing import Any

import pytest

from jina_clip_integrations.adapter.lazy_encoder import LazyEncoder
from jina_clip_integrations.langchain import JinaClipEmbeddings
from jina_clip_integrations.llama_index import JinaClipEmbedding
from tests.fakes import BlockingBackend

ADAPTERS = [JinaClipEmbeddings, JinaClipEmbedding]


@pytest.fixture
def comparisons(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The options of every comparison that was made."""
    seen: list[dict[str, Any]] = []
    original = LazyEncoder.encoder

    def encoder(lazy: LazyEncoder, arguments: Any, **how: Any) -> Any:
        seen.append(dict(arguments))
        return original(lazy, arguments, **how)

    monkeypatch.setattr(LazyEncoder, "encoder", encoder)
    return seen


def embed(adapter: Any, text: str) -> list[float]:
    method = adapter.embed_query if isinstance(adapter, JinaClipEmbeddings) else adapter.get_text_embedding
    row: list[float] = method(text)
    return row


@pytest.mark.parametrize("kind", ADAPTERS)
def test_options_are_compared_only_after_one_was_assigned(kind: Any, comparisons: list[dict[str, Any]]) -> None:
    adapter = kind(backend=BlockingBackend())
    for text in "abc":
        embed(adapter, text)
    assert len(comparisons) == 1
    adapter.dimensions = 4
    assert len(embed(adapter, "a")) == 4
    embed(adapter, "b")
    assert [arguments["dimensions"] for arguments in comparisons] == [None, 4]


@pytest.mark.parametrize("kind", ADAPTERS)
def test_an_assignment_while_the_encoder_is_built_is_not_missed(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    adapter = kind(backend=BlockingBackend())
    build = LazyEncoder._build

    def build_and_be_overtaken(lazy: LazyEncoder, arguments: Any) -> Any:
        monkeypatch.undo()
        adapter.dimensions = 2  # as another thread would, after the options were read
        return build(lazy, arguments)

    monkeypatch.setattr(LazyEncoder, "_build", build_and_be_overtaken)
    assert len(embed(adapter, "a")) == 8
    assert len(embed(adapter, "a")) == 2
