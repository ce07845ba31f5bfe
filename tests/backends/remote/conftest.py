"""A misbehaving server and backends that talk to it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from jina_clip_integrations import ApiBackend
from tests.backends.remote.faces import FAST
from tests.faulty_server import KEY, FaultyServer


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    with FaultyServer() as running:
        yield running


@pytest.fixture
def make(server: FaultyServer) -> Iterator[Any]:
    """Backends of `server`, closed afterwards."""
    made: list[ApiBackend] = []

    def backend(model: str = "jina-clip-v2", **options: Any) -> ApiBackend:
        defaults = {"api_key": KEY, "base_url": server.url, "retry": FAST, "timeout": 10.0, "batch_size": 4}
        made.append(ApiBackend(model, **(defaults | options)))
        return made[-1]

    yield backend
    for each in made:
        each.close()
