"""Settings of a server."""

from __future__ import annotations

import pytest

from jina_clip_integrations import SourcePolicy
from jina_clip_integrations.errors import ConfigurationError
from jina_clip_integrations.server import ServerSettings, create_app


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_batch": 0}, "max_batch=0"),
        ({"max_items": 5000}, "max_queue=2048 is smaller than max_items=5000"),
        ({"request_timeout_s": float("nan")}, "request_timeout_s"),
        ({"api_keys": ("",)}, "api_keys"),
        ({"api_keys": "key"}, "api_keys"),
        ({"cors_origins": ("example.org",)}, "'example.org' is no origin"),
        ({"cors_origins": ("https://example.org/",)}, "without a path or a slash"),
        ({"cors_origins": "*"}, "cors_origins"),
        ({"max_bach": 5}, "Did you mean 'max_batch'"),
    ],
    ids=[
        "zero",
        "items beyond the queue",
        "NaN",
        "blank key",
        "string of keys",
        "no scheme",
        "a slash",
        "string of origins",
        "unknown name",
    ],
)
def test_settings_that_cannot_work(backend, changes, message) -> None:
    with pytest.raises(ConfigurationError, match=message):
        create_app(backend, **changes)


@pytest.mark.obligation("20")
def test_no_policy_lets_requests_name_files(tmp_path) -> None:
    for policy in (SourcePolicy.trusted(), SourcePolicy.agent(roots=tmp_path), SourcePolicy.agent()):
        allowed = ServerSettings(sources=policy, max_image_bytes=1000, max_image_pixels=500).source_policy
        assert (allowed.paths, allowed.roots) == (False, None)
        assert (allowed.max_bytes, allowed.max_pixels) == (1000, 500)
        assert (allowed.schemes, allowed.public_only) == (policy.schemes, policy.public_only)


def test_private_addresses_are_allowed_on_request_only() -> None:
    assert ServerSettings().source_policy.public_only
    assert ServerSettings().source_policy.schemes == ("https",)
    assert not ServerSettings(allow_private_addresses=True).source_policy.public_only
    assert ServerSettings().source_policy.direct_only


def test_an_image_is_fetched_once_and_the_client_may_ask_again() -> None:
    assert ServerSettings().source_policy.max_retries == 0
    assert ServerSettings(sources=SourcePolicy.agent(max_retries=4)).source_policy.max_retries == 4


def test_keys_do_not_show() -> None:
    assert "key-one" not in repr(ServerSettings(api_keys=("key-one",)))


@pytest.mark.parametrize("bad", ['"key-one', "key one", "clé", "key-one\x1b[0m", "key...", "***", '""', "$TEAM_KEY"])
def test_a_key_that_no_client_could_send_is_refused_and_not_shown(bad: str) -> None:
    with pytest.raises(ConfigurationError, match="api_keys") as caught:
        ServerSettings(api_keys=("fine", bad))
    assert bad not in str(caught.value)
