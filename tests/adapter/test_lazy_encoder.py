"""The encoder behind an adapter: built once, looked at again only after an option was assigned."""

from __future__ import annotations

from typing import Any

import pytest

from jina_clip_integrations.adapter.lazy_encoder import LazyEncoder
from tests.adapters import Adapter
from tests.fakes import BlockingBackend


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


def test_options_are_compared_only_after_one_was_assigned(adapter: Adapter, comparisons: list[dict[str, Any]]) -> None:
    embeddings = adapter(backend=BlockingBackend())
    embed = getattr(embeddings, adapter.query)
    for text in "abc":
        embed(text)
    assert len(comparisons) == 1
    embeddings.dimensions = 4
    assert len(embed("a")) == 4
    embed("b")
    assert [arguments["dimensions"] for arguments in comparisons] == [None, 4]


def test_an_assignment_while_the_encoder_is_built_is_not_missed(
    adapter: Adapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    embeddings = adapter(backend=BlockingBackend())
    embed = getattr(embeddings, adapter.query)
    build = LazyEncoder._build

    def build_and_be_overtaken(lazy: LazyEncoder, arguments: Any) -> Any:
        monkeypatch.undo()
        embeddings.dimensions = 2  # as another thread would, after the options were read
        return build(lazy, arguments)

    monkeypatch.setattr(LazyEncoder, "_build", build_and_be_overtaken)
    assert len(embed("a")) == 8
    assert len(embed("a")) == 2
