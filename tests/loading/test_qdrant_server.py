"""A load into a Qdrant server: several senders, indexing put off, nothing sent twice."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from jina_clip_integrations.errors import BackendError, ConfigurationError
from jina_clip_integrations.loading import qdrant
from jina_clip_integrations.loading.load import load_files
from jina_clip_integrations.loading.qdrant import ATTEMPTS, INDEXED, INDEXING_THRESHOLD_KB
from tests.loading.qdrant_server import QdrantServer, serve_qdrant
from tests.loading.tables import name_of

ROWS = 600


@pytest.fixture
def server() -> Iterator[QdrantServer]:
    with serve_qdrant() as running:
        yield running


def names_in(server: QdrantServer) -> list[str]:
    points, _ = server.client.scroll("jina-clip", limit=10_000)
    return sorted((point.payload or {})["page_content"] for point in points)


@pytest.mark.parametrize("parallel", [1, 4])
def test_every_row_arrives_once(server: QdrantServer, table: Any, parallel: int) -> None:
    report = load_files([table(rows=ROWS)], into=server.url, batch_rows=100, parallel=parallel)
    assert (report.loaded, report.count) == (ROWS, ROWS)
    assert names_in(server) == sorted(name_of(number, ("text", "image")[number % 2]) for number in range(ROWS))
    assert len(server.client.scroll("jina-clip", limit=10_000)[0]) == ROWS


def test_indexes_are_made_when_the_rows_are_there(server: QdrantServer, table: Any) -> None:
    load_files([table()], into=server.url, index=False)
    assert server.threshold == 0
    load_files([table()], into=server.url)
    assert server.threshold == INDEXING_THRESHOLD_KB
    order = [(method, what) for method, what, _ in server.requests]
    assert order.index(("PATCH", "")) > order.index(("PUT", "points"))
    assert tuple(body["field_name"] for _, what, body in server.requests if what == "index") == INDEXED


@pytest.fixture(autouse=True)
def no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qdrant, "retry_wait", lambda *_: 0.0)


def test_a_server_that_is_away_for_a_moment(server: QdrantServer, table: Any) -> None:
    server.failing = {2, 3, 5}
    report = load_files([table(rows=ROWS)], into=server.url, batch_rows=300, parallel=1)
    assert (report.loaded, report.count) == (ROWS, ROWS)


def test_a_failure_keeps_what_was_sent_and_the_next_run_sends_the_rest(server: QdrantServer, table: Any) -> None:
    path = table(rows=ROWS)
    server.failing = set(range(3, 100))
    with pytest.raises(BackendError, match=r"the vector store http://127\.0\.0\.1:\d+ failed: .*500"):
        load_files([path], into=server.url, batch_rows=100)
    assert server.puts >= 2 + ATTEMPTS
    kept = server.client.count("jina-clip").count
    assert 0 < kept < ROWS
    server.failing = set()
    report = load_files([path], into=server.url, batch_rows=100)
    assert (report.already, report.loaded, report.count) == (kept, ROWS - kept, ROWS)


def test_a_point_that_was_deleted_comes_back(server: QdrantServer, table: Any) -> None:
    path = table()
    load_files([path], into=server.url)
    some = [str(point.id) for point in server.client.scroll("jina-clip", limit=3)[0]]
    server.client.delete("jina-clip", some)
    assert load_files([path], into=server.url).loaded == 3


def test_nobody_answers(table: Any) -> None:
    with pytest.raises(BackendError, match="failed") as raised:
        load_files([table()], into="http://me:s3cret@127.0.0.1:1")
    assert "s3cret" not in str(raised.value)


def test_a_collection_that_jina_clip_index_has_made(server: QdrantServer, table: Any) -> None:
    """Its points say which model made them, whether the server keeps metadata or not."""
    load_files([table()], into=server.url)
    server.client._client.collections["jina-clip"].config.metadata = None
    load_files([table("b.parquet", first=50)], into=server.url)
    with pytest.raises(ConfigurationError, match="cannot be compared"):
        load_files([table("v1.parquet", model="jina-clip-v1")], into=server.url)


def test_a_collection_of_something_else(server: QdrantServer, table: Any) -> None:
    from qdrant_client import models

    server.client.create_collection("jina-clip", models.VectorParams(size=8, distance=models.Distance.DOT))
    server.client.upsert("jina-clip", [models.PointStruct(id=1, vector=[1.0] * 8, payload={"a": 1})])
    with pytest.raises(ConfigurationError, match="does not say which model"):
        load_files([table()], into=server.url)


def test_ctrl_c_says_what_is_there_and_leaves_nothing_running(server: QdrantServer, table: Any) -> None:
    path = table(rows=3000)
    command = [sys.executable, "-m", "jina_clip_integrations.cli", "load", path, "--into", server.url]
    with subprocess.Popen([*command, "--batch-rows", "200"], stderr=subprocess.PIPE, text=True) as process:
        while server.puts < 3:
            time.sleep(0.01)
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    last = said.splitlines()[-1]
    found = re.fullmatch(
        r"jina-clip: interrupted: ([\d,]+) of 3,000 rows are in the store; the same command again goes on from there",
        last,
    )
    assert found is not None, said
    assert 0 < int(found[1].replace(",", "")) <= server.client.count("jina-clip").count < 3000
