"""Settings that cannot work are refused when they are made."""

from __future__ import annotations

from typing import Any

import pytest

from jina_clip_integrations.app import AppSettings
from jina_clip_integrations.errors import ConfigurationError


@pytest.mark.parametrize(
    ("settings", "part"),
    [
        ({"max_hits": 0}, "max_hits"),
        ({"token": "short"}, "could be guessed"),
        ({"loopback_only": False}, "needs a token"),
        ({"token": "x" * 16, "loopback_only": False, "host_names": ("http://a",)}, "no host name"),
    ],
)
def test_what_cannot_work(settings: dict[str, Any], part: str) -> None:
    with pytest.raises(ConfigurationError, match=part):
        AppSettings(**settings)


def test_the_token_shows_nowhere() -> None:
    assert "secret" not in repr(AppSettings(token="secret" * 4))
