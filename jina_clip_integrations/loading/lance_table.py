"""Vectors into LanceDB: every batch is one commit, so a table holds whole batches in the order of their file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ..errors import BackendError, InputError, JinaClipError, require_extra
from ..retrieval.vector_table import list_type, to_list_array
from .files import Batch, VectorFile
from .records import KIND, NODE_CONTENT, NODE_TYPE, ROW, SOURCE, URI, carried_names, make_metadata, make_node
from .target import check_same_width

if TYPE_CHECKING:
    import pyarrow as pa

ID, TEXT, VECTOR, METADATA = "id", "text", "vector", "metadata"
"""Columns that LangChain's and LlamaIndex's classes read by default."""

INDEX_FROM_ROWS = 10_000
"""Below, going through all vectors is as fast as an index."""


class LanceTarget:
    """A table of a LanceDB. What of a file is stored is the highest row number that the table has of it."""

    def __init__(self, place: str, *, table: str, replace: bool) -> None:
        require_extra("lancedb", extra="lancedb", purpose="A LanceDB")
        require_extra("lance", extra="lancedb", purpose="A LanceDB")
        import lancedb

        if not place:
            raise InputError("--into lancedb:PATH needs the folder, or the s3:// or gs:// address, of the database")
        self._place, self._name, self._replace = place, table, replace
        with self._naming_failures():
            self._database = lancedb.connect(place)
        self._table: Any = None
        self._stored: dict[str, int] = {}

    def __enter__(self) -> LanceTarget:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        del kind, error, at

    @property
    def where(self) -> str:
        """The table and its database."""
        return f"table {self._name!r} in {self._place}"

    def prepare(self, file: VectorFile) -> None:
        """Make the table, or check the fingerprint and the columns of the one that is there."""
        ours = file.fingerprint
        with self._naming_failures():
            if self._name not in self._database.list_tables().tables:
                self._table = self._database.create_table(self._name, schema=make_table_schema(file))
            else:
                self._table = self._database.open_table(self._name)
        schema = self._table.schema
        missing = {ID, TEXT, VECTOR, METADATA, SOURCE, ROW} - set(schema.names)
        ours.check(schema.metadata, where=self.where)
        if missing:
            raise InputError(f"{self.where} was not made by jina-clip load: it has no column {', '.join(missing)}")
        check_same_width(schema.field(VECTOR).type.list_size, ours, where=self.where)
        self._stored = self._scan_stored()

    def _scan_stored(self) -> dict[str, int]:
        """Each file to the row after its last one, from one pass over two narrow columns."""
        stored: dict[str, int] = {}
        for part in self._table.to_lance().scanner(columns=[SOURCE, ROW]).to_batches():
            from pyarrow import Table

            highest = Table.from_batches([part]).group_by(SOURCE).aggregate([(ROW, "max")])
            for row in highest.to_pylist():
                stored[row[SOURCE]] = max(stored.get(row[SOURCE], 0), row[f"{ROW}_max"] + 1)
        return stored

    def next_row(self, file: VectorFile) -> int:
        """The row after the last one of the file that is in the table."""
        return self._stored.get(file.source, 0)

    def write(self, batches: Iterator[Batch], on_stored: Callable[[int, int], None]) -> None:
        """Append each batch in one commit, or replace rows by their ids."""
        for batch in batches:
            rows = batch.last_of_each_id() if self._replace else batch
            if len(rows):
                with self._naming_failures():
                    self._put(make_table(rows, self._table.schema))
            on_stored(len(batch), 0)

    def _put(self, rows: pa.Table) -> None:
        if not self._replace:
            self._table.add(rows)
            return
        self._table.merge_insert(ID).when_matched_update_all().when_not_matched_insert_all().execute(rows)

    def finish(self) -> None:
        """Compact the commits, and index the vectors where there are enough of them."""
        from lancedb.index import BTree, HnswSq

        with self._naming_failures():
            self._table.optimize()
            indexed = {tuple(index.columns) for index in self._table.list_indices()}
            if (VECTOR,) not in indexed and self._table.count_rows() >= INDEX_FROM_ROWS:
                self._table.create_index(VECTOR, config=HnswSq(distance_type="cosine"))
            if self._replace and (ID,) not in indexed:
                self._table.create_index(ID, config=BTree())

    def count(self) -> int:
        """Rows of the table."""
        with self._naming_failures():
            return int(self._table.count_rows())

    @contextmanager
    def _naming_failures(self) -> Iterator[None]:
        try:
            yield
        except (RuntimeError, ValueError) as error:
            if isinstance(error, JinaClipError):
                raise
            raise BackendError(f"the database {self._place} failed: {' '.join(str(error).split())[:300]}") from error


def make_table_schema(file: VectorFile) -> pa.Schema:
    """The columns of a table for rows like those of `file`, with its fingerprint in the metadata."""
    import pyarrow as pa

    carried = {one.name: one for one in file.carried}
    metadata = [
        pa.field(KIND, pa.string()),
        pa.field(URI, pa.string()),
        *(carried[name] for name in carried_names(file)),
        pa.field(NODE_CONTENT, pa.string()),
        pa.field(NODE_TYPE, pa.string()),
    ]
    columns = [
        pa.field(ID, pa.string()),
        pa.field(TEXT, pa.string()),
        pa.field(VECTOR, list_type(file.info.dimensions)),
        pa.field(METADATA, pa.struct(metadata)),
        pa.field(SOURCE, pa.string()),
        pa.field(ROW, pa.int64()),
    ]
    return pa.schema(columns, metadata={key: str(value) for key, value in file.fingerprint.to_metadata().items()})


def make_table(batch: Batch, schema: pa.Schema) -> pa.Table:
    """A batch in the columns of the table. Raises `InputError` for columns that the table has no place for."""
    import pyarrow as pa

    columns = {
        ID: pa.array(batch.ids, pa.string()),
        TEXT: pa.array(batch.inputs, pa.string()),
        VECTOR: to_list_array(batch.vectors, schema.field(VECTOR).type),
        METADATA: _make_struct(batch, schema.field(METADATA).type),
        SOURCE: pa.array([batch.file.source] * len(batch), pa.string()),
        ROW: pa.array(batch.rows, pa.int64()),
    }
    return pa.table([columns[name] for name in schema.names], schema=schema)


def _make_struct(batch: Batch, kind: pa.StructType) -> pa.StructArray:
    import pyarrow as pa

    metadata = list(make_metadata(batch))
    nodes = [make_node(id, given, one) for id, given, one in zip(batch.ids, batch.inputs, metadata, strict=True)]
    ours: dict[str, Any] = {
        KIND: batch.kinds,
        URI: [one.get(URI) for one in metadata],
        NODE_CONTENT: [node[NODE_CONTENT] for node in nodes],
        NODE_TYPE: [node[NODE_TYPE] for node in nodes],
    }
    ours |= {name: batch.carried.column(name).combine_chunks() for name in carried_names(batch.file)}
    extra = [name for name in ours if kind.get_field_index(name) < 0]
    if extra:
        raise InputError(
            f"{batch.file.name} has columns that the table has not ({', '.join(extra)}); load it into another table"
        )
    arrays = []
    for one in kind:
        values = ours.get(one.name, [None] * len(batch))
        arrays.append(values.cast(one.type) if isinstance(values, pa.Array) else pa.array(values, one.type))
    return pa.StructArray.from_arrays(arrays, fields=list(kind))
