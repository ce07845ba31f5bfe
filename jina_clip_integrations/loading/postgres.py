"""Vectors into PostgreSQL with pgvector: binary COPY, a transaction per batch that also notes how far it has come."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ..errors import BackendError, InputError, require_extra
from .files import Batch, VectorFile
from .records import KIND, ROW, SOURCE, make_metadata, make_node
from .target import check_same_width

if TYPE_CHECKING:
    from psycopg import Connection

NOTES = "jina_clip_loads"
"""Table with a row per table and file: how many rows of the file are in it."""

BATCH = "jina_clip_batch"
"""Temporary table for rows that replace others."""

MAX_INDEXED_DIMENSIONS = 2000
"""pgvector indexes no wider `vector`."""

WIDTH = "SELECT atttypmod FROM pg_attribute WHERE attrelid = {name}::regclass AND attname = 'embedding'"
"""Asks for the dimensions of the table's vectors."""

LOCK_WAIT_S = 30
"""How long to wait for another load of the same table: the server takes a moment to notice that a client was killed."""


class PostgresTarget:
    """A table of a database, in the form of LlamaIndex's `PGVectorStore`.

    It is called `data_<name>` and has the columns `node_id`, `text`, `metadata_` and `embedding`. A batch and the note
    of its file's next row are committed together, so no row of a file is ever stored twice.
    """

    def __init__(self, address: str, *, table: str, replace: bool) -> None:
        require_extra("psycopg", extra="pgvector", purpose="PostgreSQL")
        require_extra("pgvector", extra="pgvector", purpose="PostgreSQL")
        import psycopg

        self._table, self._replace = f"data_{table}", replace
        address = re.sub(r"\Apostgres(ql)?(\+\w+)?://", "postgresql://", address)  # SQLAlchemy names a driver, too
        try:
            parts = psycopg.conninfo.conninfo_to_dict(address)
        except psycopg.ProgrammingError:
            # Without its cause, which quotes the address with the password.
            raise InputError("--into: the address of the PostgreSQL database is malformed") from None
        self._secret = str(parts.get("password") or "")
        self._place = f"database {parts.get('dbname') or parts.get('user') or 'postgres'!s}"
        if parts.get("host"):
            self._place += f" on {parts['host']}"
        with self._naming_failures():
            self._connection: Connection = psycopg.connect(address, autocommit=True)

    def __enter__(self) -> PostgresTarget:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._connection.close()

    @property
    def where(self) -> str:
        """The table and its database, without user name and password."""
        return f"table {self._table!r} in {self._place}"

    def prepare(self, file: VectorFile) -> None:
        """Make the table and that of notes, or check the fingerprint in the table's comment."""
        from pgvector.psycopg import register_vector

        ours = file.fingerprint
        with self._naming_failures():
            self._execute("CREATE EXTENSION IF NOT EXISTS vector")
            register_vector(self._connection)
            self._lock()
            self._execute(
                "CREATE TABLE IF NOT EXISTS {notes} (target VARCHAR, source VARCHAR, next_row BIGINT NOT NULL, "
                "PRIMARY KEY (target, source))"
            )
            if not self._one("SELECT to_regclass({name}) IS NOT NULL"):
                self._create(ours.dimensions, json.dumps(ours.to_metadata()))
            held = self._one("SELECT obj_description({name}::regclass)")
            is_empty = self._one("SELECT NOT EXISTS (SELECT FROM {table})")
            if is_empty:  # of a table that was dropped or emptied since, nothing is loaded
                self._execute("DELETE FROM {notes} WHERE target = {name}")
            width = self._one(WIDTH)
        if held is not None or not is_empty:
            ours.check(_read_comment(held), where=self.where)
        check_same_width(width, ours, where=self.where)

    def _lock(self) -> None:
        import psycopg

        self._execute(f"SET lock_timeout = '{LOCK_WAIT_S}s'")
        try:
            self._execute("SELECT pg_advisory_lock(hashtext({name}))")
        except psycopg.errors.LockNotAvailable as error:
            raise BackendError(f"another program is loading into {self.where}; wait for it") from error

    def _create(self, dimensions: int, comment: str) -> None:
        with self._connection.transaction():
            self._execute(
                "CREATE TABLE {table} (id BIGSERIAL PRIMARY KEY, text VARCHAR NOT NULL, metadata_ JSONB, "
                f"node_id VARCHAR UNIQUE, embedding VECTOR({dimensions}))"
            )
            self._execute("COMMENT ON TABLE {table} IS {comment}", comment=comment)

    def next_row(self, file: VectorFile) -> int:
        """The row that the note of the file names."""
        with self._naming_failures():
            query = "SELECT next_row FROM {notes} WHERE target = {name} AND source = {source}"
            return int(self._one(query, source=file.source) or 0)

    def write(self, batches: Iterator[Batch], on_stored: Callable[[int, int], None]) -> None:
        """Copy each batch and note it, in one transaction."""
        for batch in batches:
            with self._naming_failures(), self._connection.transaction():
                if self._replace:
                    self._merge(batch.last_of_each_id())
                else:
                    self._copy(batch, "{table}")
                self._execute(
                    "INSERT INTO {notes} VALUES ({name}, {source}, {row}) "
                    "ON CONFLICT (target, source) DO UPDATE SET next_row = EXCLUDED.next_row",
                    source=batch.file.source,
                    row=batch.end,
                )
            on_stored(len(batch), 0)

    def _merge(self, batch: Batch) -> None:
        self._execute(
            "CREATE TEMPORARY TABLE IF NOT EXISTS {batch} (LIKE {table} INCLUDING DEFAULTS) ON COMMIT DELETE ROWS"
        )
        self._copy(batch, "{batch}")
        self._execute(
            "INSERT INTO {table} (node_id, text, metadata_, embedding) "
            "SELECT node_id, text, metadata_, embedding FROM {batch} ON CONFLICT (node_id) DO UPDATE "
            "SET text = EXCLUDED.text, metadata_ = EXCLUDED.metadata_, embedding = EXCLUDED.embedding"
        )

    def _copy(self, batch: Batch, table: str) -> None:
        from psycopg.types.json import Jsonb

        copying = self._compose(f"COPY {table} (node_id, text, metadata_, embedding) FROM STDIN (FORMAT BINARY)")
        with self._connection.cursor() as cursor, cursor.copy(copying) as copy:
            copy.set_types(["varchar", "varchar", "jsonb", "vector"])
            for id, given, metadata, vector in zip(
                batch.ids, batch.inputs, _make_metadata(batch), batch.vectors, strict=True
            ):
                copy.write_row((id, given.replace("\0", "\ufffd"), Jsonb(metadata, _dump), vector))

    def finish(self) -> None:
        """Index vectors and kinds; both come after the rows, since building is much faster than adding."""
        with self._naming_failures():
            if self._one(WIDTH) <= MAX_INDEXED_DIMENSIONS:
                self._execute(
                    f"CREATE INDEX IF NOT EXISTS {self._table}_hnsw ON {{table}} "
                    "USING hnsw (embedding vector_cosine_ops)"
                )
            self._execute(f"CREATE INDEX IF NOT EXISTS {self._table}_kind ON {{table}} ((metadata_->>'{KIND}'))")
            self._execute("ANALYZE {table}")

    def count(self) -> int:
        """Rows of the table."""
        with self._naming_failures():
            return int(self._one("SELECT count(*) FROM {table}"))

    def _compose(self, query: str, **values: Any) -> Any:
        """The statement with tables as names, and `{name}` (of the table) and every value as literals."""
        from psycopg import sql

        tables = {"table": self._table, "notes": NOTES, "batch": BATCH}
        parts: dict[str, Any] = {key: sql.Identifier(name) for key, name in tables.items()}
        parts |= {key: sql.Literal(value) for key, value in {"name": self._table, **values}.items()}
        return sql.SQL(query).format(**parts)

    def _execute(self, query: str, **values: Any) -> Any:
        return self._connection.execute(self._compose(query, **values))

    def _one(self, query: str, **values: Any) -> Any:
        found = self._execute(query, **values).fetchone()
        return found[0] if found else None

    @contextmanager
    def _naming_failures(self) -> Iterator[None]:
        """Raise what the database says as `BackendError`, without the password."""
        import psycopg

        try:
            yield
        except psycopg.Error as error:
            reason = " ".join(str(error).split())[:300]
            if self._secret:
                reason = reason.replace(self._secret, "***")
            raise BackendError(f"the {self._place} failed: {reason}") from None


def _make_metadata(batch: Batch) -> Iterator[dict[str, Any]]:
    rows = zip(batch.ids, batch.inputs, batch.rows, make_metadata(batch), strict=True)
    for id, given, row, metadata in rows:
        yield {**metadata, SOURCE: batch.file.source, ROW: row, **make_node(id, given, metadata)}


def _dump(metadata: Any) -> str:
    """JSON without the zero character, of which PostgreSQL has none in its texts."""
    return json.dumps(metadata).replace("\\u0000", "\\ufffd")


def _read_comment(held: str | None) -> dict[str, Any] | None:
    try:
        comment = json.loads(held or "")
    except ValueError:
        return None
    return comment if isinstance(comment, dict) else None
