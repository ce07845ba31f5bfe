"""Which store an address names."""

from __future__ import annotations

import re
from contextlib import AbstractContextManager

from ..credentials import public_url
from ..errors import InputError
from .target import Target

COLLECTION = "jina-clip"
"""Of a Qdrant, as `jina-clip search` expects it."""

TABLE = "jina_clip"
"""Of LanceDB and PostgreSQL, whose names have no hyphens."""

_TABLE_NAME = re.compile(r"[a-z_][a-z0-9_]{0,40}")
_POSTGRES = re.compile(r"(postgres(ql)?(\+\w+)?://|(\S+\s*=.*\s)?(host|dbname|password|user)\s*=)")
"""An address, or a connection string of libpq's other form, which may hold a password and is no path."""


def open_target(
    into: str, *, collection: str | None = None, replace: bool = False, parallel: int = 1
) -> AbstractContextManager[Target]:
    """The store behind an address.

    Args:
        into: `http(s)://…` (a Qdrant server), `postgresql://…` or `host=… dbname=…` (pgvector), `lancedb:PATH`,
            `qdrant:PATH` or just a path (an embedded Qdrant).
        collection: Name of the collection or table; None = `jina-clip`, or `jina_clip` where a hyphen is none.
        replace: A row replaces one that has its id but not its content, because ids come from the user's column.
        parallel: Requests to a Qdrant server at a time.

    Raises `InputError` for an address that names none of them, `ImportError` for a missing extra.
    """
    if _POSTGRES.match(into):
        from .postgres import PostgresTarget

        return PostgresTarget(into, table=check_table(collection), replace=replace)
    kind, _, place = into.partition(":")
    if kind == "lancedb":
        from .lance_table import LanceTarget

        return LanceTarget(place.removeprefix("//"), table=check_table(collection), replace=replace)
    if kind not in ("qdrant", "http", "https") and "://" in into:
        raise InputError(
            f"--into {public_url(into)}: no store is known for this address; give http(s)://HOST of a Qdrant server, "
            "postgresql://HOST/DATABASE, lancedb:PATH, or the folder of an embedded Qdrant"
        )
    from .qdrant import QdrantTarget

    location = place if kind == "qdrant" else into
    return QdrantTarget(location, collection=collection or COLLECTION, parallel=parallel)


def check_table(name: str | None) -> str:
    """The name of a table. Raises `InputError` for one that not every reader could use unquoted."""
    if name is None:
        return TABLE
    if not _TABLE_NAME.fullmatch(name):
        raise InputError(
            f"--collection {name!r}: a table's name has small letters, digits and underscores, at most 41 of them, and "
            "no digit in front"
        )
    return name
