"""Parts by themselves: limits with a clock of the test, names that survive their way, settings."""

from __future__ import annotations

import os
import threading

import pytest

from jina_clip_integrations.errors import BackendError, ConfigurationError
from jina_clip_integrations.mcp import McpSettings
from jina_clip_integrations.mcp.limits import CallLimits
from jina_clip_integrations.mcp.names import full_uri, read_name, show, thumbnail_uri, wire_name
from tests.serving import wait_until

NAMES = [
    "a.png",
    "trip/a b.png",
    "<b>.png",
    "bytes:x.png",
    "\x1b[2J.png",
    "a%20b?c#d.png",
    os.fsdecode(b"\xff.png"),
    "猫.png",
]


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_names_come_back_as_they_were(name: str) -> None:
    for form in (wire_name(name), thumbnail_uri(name), full_uri(name)):
        assert read_name(form) == name
        assert form.isprintable()
        assert "<" not in form
        form.encode()


def test_a_message_is_short_and_does_nothing() -> None:
    assert show("a\nb") == "'a\\nb'"
    assert len(show("x" * 10_000)) < 130


def test_calls_of_the_last_minute_count() -> None:
    now = [0.0]
    limits = CallLimits(McpSettings(max_calls_per_minute=2), clock=lambda: now[0])
    limits.count()
    now[0] = 30.0
    limits.count()
    with pytest.raises(BackendError, match="ask again in 30 s"):
        limits.count()
    now[0] = 60.0
    limits.count()
    with pytest.raises(BackendError, match="ask again in 30 s"):
        limits.count()


def test_so_many_run_and_so_many_wait() -> None:
    limits = CallLimits(McpSettings(max_running=1, max_waiting=1))
    leave, order = threading.Event(), []

    def work() -> None:
        with limits.one_call():
            order.append(threading.current_thread())
            assert leave.wait(30)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    wait_until(lambda: limits._admitted == 2)
    assert len(order) == 1
    with pytest.raises(BackendError, match="2 calls are being worked on"), limits.one_call():
        pass
    leave.set()
    for thread in threads:
        thread.join(30)
    with limits.one_call():
        assert len(order) == 2


def test_settings_that_cannot_work() -> None:
    with pytest.raises(ConfigurationError, match="max_running=0"):
        McpSettings(max_running=0)
    assert McpSettings(max_waiting=0).allow_embed is False
