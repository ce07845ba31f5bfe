"""PostgreSQL: what its address must not show, and two loads at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from jina_clip_integrations.errors import BackendError, ConfigurationError, InputError
from jina_clip_integrations.loading import postgres
from jina_clip_integrations.loading.load import load_files

SECRET = "s3cr%40et"
UNREACHABLE = [
    f"postgresql://me:{SECRET}@127.0.0.1:1/db?connect_timeout=2",
    f"postgres://me:{SECRET}@127.0.0.1:1/db",
    f"postgresql+psycopg://me:{SECRET}@127.0.0.1:1/db",
    f"host=127.0.0.1 port=1 user=me password={SECRET} dbname=db",
    f"password={SECRET} host=127.0.0.1 port=1 dbname=db",
]


@pytest.fixture
def place(new_place: Callable[[str], str]) -> str:
    pytest.importorskip("pgserver", reason="no PostgreSQL with pgvector here: pip install pgserver")
    return new_place("postgres")


@pytest.mark.parametrize("address", UNREACHABLE)
def test_a_server_that_is_not_there(table: Any, address: str) -> None:
    with pytest.raises(BackendError, match=r"database db on 127\.0\.0\.1 failed") as raised:
        load_files([table()], into=address)
    assert "s3cr" not in str(raised.value)
    assert raised.value.__cause__ is None


@pytest.mark.parametrize("address", ["postgresql://me:s3cr et@host/db?x=%%", "host=a password=s3cr' et"])
def test_a_malformed_address(table: Any, address: str) -> None:
    with pytest.raises(InputError, match="is malformed") as raised:
        load_files([table()], into=address)
    assert "s3cr" not in str(raised.value)


def test_a_wrong_password_does_not_show(table: Any, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the server puts into its message."""

    def refuse(*_: Any, **__: Any) -> None:
        raise psycopg.OperationalError('password "hunter2" is wrong')

    monkeypatch.setattr(psycopg, "connect", refuse)
    with pytest.raises(BackendError, match=r'failed: password "\*\*\*" is wrong'):
        load_files([table()], into="postgresql://me:hunter2@host/db")


def test_two_loads_of_one_table_take_turns(table: Any, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "LOCK_WAIT_S", 1)
    load_files([table()], into=place)
    with postgres.PostgresTarget(place, table="jina_clip", replace=False) as first:
        first._lock()
        with pytest.raises(BackendError, match="another program is loading into table 'data_jina_clip'"):
            load_files([table("b.parquet", first=50)], into=place)
    assert load_files([table("b.parquet", first=50)], into=place).count == 60


def test_a_table_of_someone_elses(table: Any, place: str) -> None:
    with psycopg.connect(place, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        connection.execute("CREATE TABLE data_jina_clip (embedding vector(8))")
        connection.execute("INSERT INTO data_jina_clip VALUES ('[1,2,3,4,5,6,7,8]')")
    with pytest.raises(ConfigurationError, match="does not say which model made its vectors"):
        load_files([table()], into=place)


def test_what_no_text_of_postgres_holds(table: Any, place: str) -> None:
    load_files([table(rows=2, inputs=["a\0b", "/x\0.png"])], into=place)
    with psycopg.connect(place) as connection:
        texts = connection.execute("SELECT text FROM data_jina_clip ORDER BY id").fetchall()
    assert texts == [("a\ufffdb",), ("/x\ufffd.png",)]


def test_the_indexes_come_after_the_rows(table: Any, place: str) -> None:
    load_files([table()], into=place, index=False)
    query = "SELECT indexname FROM pg_indexes WHERE tablename = 'data_jina_clip' ORDER BY 1"
    with psycopg.connect(place) as connection:
        before = [name for (name,) in connection.execute(query)]
    load_files([table()], into=place)
    with psycopg.connect(place) as connection:
        after = [name for (name,) in connection.execute(query)]
    assert set(after) - set(before) == {"data_jina_clip_hnsw", "data_jina_clip_kind"}


@pytest.mark.parametrize("statement", ["DROP TABLE data_jina_clip", "TRUNCATE data_jina_clip"])
def test_a_table_that_was_dropped_or_emptied_is_filled_again(table: Any, place: str, statement: str) -> None:
    load_files([table()], into=place)
    with psycopg.connect(place, autocommit=True) as connection:
        connection.execute(statement)
    report = load_files([table()], into=place)
    assert (report.loaded, report.count) == (30, 30)
