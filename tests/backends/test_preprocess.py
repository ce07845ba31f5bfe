"""Texts and images on their way to a model of this machine."""

from __future__ import annotations

import pytest

from jina_clip_integrations.backends import preprocess as module


def test_decoders_follow_the_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    for available, expected in ((1, 1), (7, 7), (64, module.MAX_DECODERS)):
        monkeypatch.setattr(module, "processors", lambda available=available: available)
        assert module.decoder_count("auto") == expected
    assert module.decoder_count(3) == 3
