"""How long to wait: the spellings of the server's header, and the growing pauses without one."""

from __future__ import annotations

import pytest

from jina_clip_integrations.concurrency.retry import JITTER, read_retry_after, retry_wait
from jina_clip_integrations.settings import RetryPolicy

NOW = 1_700_000_000.0  # Tue, 14 Nov 2023 22:13:20 GMT
POLICY = RetryPolicy()


@pytest.mark.obligation("14")
@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": " 7 "}, 7.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "7s"}, 7.0),
        ({"retry-after": "1e2"}, 100.0),
        ({"retry-after": "Tue, 14 Nov 2023 22:13:50 GMT"}, 30.0),
        ({"retry-after": "Tue, 14 Nov 2023 22:13:50"}, 30.0),
        ({"retry-after": "Tuesday, 14-Nov-23 22:13:50 GMT"}, 30.0),
        ({"retry-after": "Tue Nov 14 22:13:50 2023"}, 30.0),
        ({"retry-after": "Tue, 14 Nov 2023 23:13:50 +0100"}, 30.0),
        ({"retry-after": "Tue, 14 Nov 2023 22:00:00 GMT"}, 0.0),
        ({"retry-after": "Tue, 14 Nov 2023 22:13:50 GMT", "date": "Tue, 14 Nov 2023 22:13:40 GMT"}, 10.0),
        ({"retry-after": "Tue, 14 Nov 2023 22:13:50 GMT", "date": "yesterday"}, 30.0),
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "7"}, 7.0),
        ({"retry-after": ""}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "1e999"}, None),
        ({"retry-after": "99 Foo 9999 99:99:99 GMT"}, None),
        ({"retry-after": "9" * 400}, None),
    ],
)
def test_retry_after(headers: dict[str, str], wait: float | None) -> None:
    assert read_retry_after(headers, NOW) == wait


@pytest.mark.obligation("13")
def test_waits_double_up_to_a_ceiling() -> None:
    waits = [retry_wait(POLICY, "server", attempt, None, 0.0) for attempt in range(1, 9)]
    assert waits == [0.5, 1, 2, 4, 8, 16, 30, 30]
    assert retry_wait(POLICY, "server", 10_000, None, 0.0) == 30


@pytest.mark.obligation("28")
def test_limits_wait_longer_than_failures() -> None:
    first = {kind: retry_wait(POLICY, kind, 1, None, 0.0) for kind in ("concurrency", "requests", "tokens")}
    assert first == {"concurrency": 0.5, "requests": 2.0, "tokens": 10.0}
    assert (
        sum(retry_wait(POLICY, "tokens", attempt, None, 0.0) for attempt in (1, 2, 3)) >= 60
    )  # a minute in three waits


@pytest.mark.obligation("13")
@pytest.mark.parametrize("kind", ["server", "requests", "tokens"])
def test_jitter_only_lengthens(kind: str) -> None:
    calm, wild = (retry_wait(POLICY, kind, 2, None, chance) for chance in (0.0, 0.999))
    assert calm < wild <= calm * (1 + JITTER)


@pytest.mark.obligation("14")
@pytest.mark.parametrize("asked", [0.2, 5.0, 90.0])
def test_the_server_is_obeyed_and_never_hurried(asked: float) -> None:
    for chance in (0.0, 0.999):
        assert asked <= retry_wait(POLICY, "requests", 4, asked, chance) <= asked + JITTER
    assert retry_wait(POLICY, "server", 1, 0.0, 0.0) == 0.5  # "at once" is no wish to be hammered


@pytest.mark.parametrize(
    "value",
    [
        "1e30", "1e308", "1e999", "9" * 5000, "-1", "nan", "Mon, 01 Jan 99999999999999999999 00:00:00 GMT",
        "Mon, 01 Jan 0001 00:00:00 +2359", "Mon, 01 Jan 9999 00:00:00 -2359", "Mon, 01 Jan 2026 00:00:00 +99999999999",
        "Mon, 99 Jan 2026 99:99:99 GMT", "\x1b[2J", "\ud800",
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["retry-after", "retry-after-ms"])
def test_waits_that_no_server_means(name: str, value: str) -> None:
    wait_s = read_retry_after({name: value}, 1e9)
    assert wait_s is None or 0 <= wait_s < 1e12
    assert read_retry_after({"retry-after": "Mon, 01 Jan 2026 00:00:00 GMT", "date": value}, 1e9) is not None
