"""The rows of a partition, some at a time: what is embedded, what it is called, and the columns carried along."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
from pyarrow import parquet

from ..collections.names import decode_name, encode_name
from ..errors import ConfigurationError, InputError
from ..images.objects import Readable
from ..images.sources import SourcePolicy, show_url
from .rows import BLOCK_BYTES, Inputs, open_storage, read_inputs
from .sources import COMPRESSED, Piece
from .storage import Storage

CHUNK_ROWS = {"images": 256, "parquet": 256, "jsonl": 1024, "text": 1024}
"""Rows that are read and embedded at a time."""

CHUNK_BYTES = 64 << 20
"""Bytes of image files that are read and embedded at a time: all of them may be in memory at once."""

MAX_LINE_BYTES = 64 << 20
"""Longest line that is read; a file without line breaks would not fit into memory."""

NUMBERS = {bool: pa.bool_(), int: pa.int64(), float: pa.float64(), str: pa.string()}
"""Types of values in JSON that are carried as they are; others are carried as JSON."""


@dataclass(frozen=True)
class Columns:
    """Which columns of a table are embedded and which are carried along."""

    text: str | None = None
    image: str | None = None
    carried: tuple[pa.Field, ...] = ()

    @property
    def names(self) -> list[str]:
        """Every column that is read."""
        named = [name for name in (self.text, self.image) if name is not None]
        return list(dict.fromkeys([*named, *(field.name for field in self.carried)]))


@dataclass
class Chunk:
    """Rows on their way, in the order of the source."""

    inputs: Inputs
    names: list[str]
    """What the row was made from: the text, or the image's path or address."""
    files: list[str]
    positions: list[int]
    """Row of a Parquet file, offset in bytes of a line, 0 for an image file."""
    carried: list[pa.Array]


def find_columns(
    storage: Storage, format: str, path: str, *, text: str | None, image: str | None, carry: Sequence[str]
) -> Columns:
    """The columns that were asked for, with the types that the first file gives those that are carried.

    Raises:
        ConfigurationError: columns of a source that has none, or no column to embed.
        InputError: a column that is not there.
    """
    if format in ("images", "text"):
        if text or image or carry:
            raise ConfigurationError(f"a source of {format} has no columns; leave out text=, image= and carry=")
        return Columns()
    if text is None and image is None:
        raise ConfigurationError("name the column to embed: text=..., image=..., or both")
    reserved = {"kind", "input", "embedding", "reason", "file", "position"} & set(carry)
    if reserved:
        raise ConfigurationError(f"carry={sorted(reserved)}: these are columns of the output")
    types = _parquet_types(storage, path) if format == "parquet" else _json_types(storage, path, carry)
    missing = [name for name in (text, image, *carry) if name is not None and name not in types]
    if missing and format == "parquet":
        raise InputError(f"{storage.show(path)} has no column {missing[0]!r}; it has {', '.join(map(repr, types))}")
    fields = tuple(pa.field(name, types.get(name, pa.string())) for name in carry)
    return Columns(text, image, fields)


def _parquet_types(storage: Storage, path: str) -> dict[str, pa.DataType]:
    with storage.filesystem.open_input_file(storage.path(decode_name(path))) as file:
        return {field.name: field.type for field in parquet.ParquetFile(file).schema_arrow}


def _json_types(storage: Storage, path: str, carry: Sequence[str]) -> dict[str, pa.DataType]:
    """Types of the carried values, from the first lines; JSON where they are neither numbers nor texts of one kind."""
    seen: dict[str, set[Any]] = {name: set() for name in carry}
    head = Piece(path, 0, 0, 0, BLOCK_BYTES)
    for _, line in read_lines(storage, head):
        row = _parse(line)
        for name in carry:
            if isinstance(row, dict) and row.get(name) is not None:
                seen[name].add(NUMBERS.get(type(row[name])))
    return {name: _common_type(kinds) for name, kinds in seen.items()}


def _common_type(kinds: set[Any]) -> pa.DataType:
    """The type of a column whose values are of these; None among them stands for what is no number."""
    if kinds == {pa.int64(), pa.float64()}:
        return pa.float64()
    [kind] = kinds if len(kinds) == 1 else [None]
    return kind or pa.string()


def read_chunks(
    storage: Storage, format: str, pieces: Sequence[Piece], columns: Columns, sources: SourcePolicy
) -> Iterator[Chunk]:
    """The rows of a partition in order."""
    if format == "images":
        yield from _read_images(storage, pieces)
        return
    read = {"parquet": _read_parquet, "jsonl": _read_jsonl, "text": _read_text}[format]
    for piece in pieces:
        yield from read(storage, piece, columns, sources)


def _read_images(storage: Storage, pieces: Sequence[Piece]) -> Iterator[Chunk]:
    some: list[Piece] = []
    held = 0
    for piece in pieces:
        if some and (held + piece.size > CHUNK_BYTES or len(some) >= CHUNK_ROWS["images"]):
            yield _image_chunk(storage, some)
            some, held = [], 0
        some.append(piece)
        held += piece.size
    if some:
        yield _image_chunk(storage, some)


def _image_chunk(storage: Storage, pieces: Sequence[Piece]) -> Chunk:
    inputs, names = Inputs(), []
    for piece in pieces:
        name = decode_name(piece.path)
        inputs.add("image", _open_image(storage, name))
        names.append(encode_name(storage.show(name)))
    return Chunk(inputs, names, [piece.path for piece in pieces], [0] * len(pieces), [])


def _open_image(storage: Storage, name: str) -> Any:
    if storage.is_local:
        return Path(storage.path(name))
    return Readable(storage.show(name), _FileBlocks(storage, name), "check that it is still there and may be read")


class _FileBlocks:
    """The content of a file of a storage, opened when it is called."""

    def __init__(self, storage: Storage, name: str) -> None:
        self.storage, self.name = storage, name

    def __call__(self) -> Iterator[bytes]:
        with self.storage.filesystem.open_input_stream(self.storage.path(self.name)) as stream:
            while block := stream.read(BLOCK_BYTES):
                yield block


def _read_parquet(storage: Storage, piece: Piece, columns: Columns, sources: SourcePolicy) -> Iterator[Chunk]:
    with storage.filesystem.open_input_file(storage.path(decode_name(piece.path))) as opened:
        file = parquet.ParquetFile(opened)
        groups, first = _row_groups(file.metadata, piece)
        row = first
        for batch in file.iter_batches(CHUNK_ROWS["parquet"], row_groups=groups, columns=columns.names):
            begin, end = max(row, piece.start), min(row + batch.num_rows, piece.stop)
            if begin < end:
                table = pa.Table.from_batches([batch.slice(begin - row, end - begin)])
                yield _table_chunk(storage, piece, table, columns, list(range(begin, end)), sources)
            row += batch.num_rows
            if row >= piece.stop:
                return


def _row_groups(metadata: Any, piece: Piece) -> tuple[list[int], int]:
    """The row groups that hold the rows of a piece, and the first row of the first of them."""
    groups: list[int] = []
    first = row = 0
    for number in range(metadata.num_row_groups):
        rows = metadata.row_group(number).num_rows
        if row < piece.stop and row + rows > piece.start:
            first = first if groups else row
            groups.append(number)
        row += rows
    return groups, first


def _table_chunk(
    storage: Storage, piece: Piece, table: pa.Table, columns: Columns, positions: list[int], sources: SourcePolicy
) -> Chunk:
    inputs = read_inputs(table, columns.text, columns.image, sources)
    where = storage.show(decode_name(piece.path))
    names = [name_of(value, f"{where}#{at}") for value, at in zip(inputs.values, positions, strict=True)]
    carried = [table.column(field.name).cast(field.type).combine_chunks() for field in columns.carried]
    return Chunk(inputs, names, [piece.path] * len(positions), positions, carried)


def name_of(value: Any, otherwise: str) -> str:
    """What a row says of its input: a text or path is itself, bytes and arrays are named by their place."""
    if isinstance(value, dict) and isinstance(value.get("path"), str) and value["path"]:
        return encode_name(value["path"])
    if isinstance(value, Readable) and value.name:
        return encode_name(value.name)
    if isinstance(value, str) and not value.startswith("data:"):
        text = show_url(value) if value.startswith(("http://", "https://")) else value
        return text.encode("utf-8", "replace").decode()
    return encode_name(otherwise)


def _read_jsonl(storage: Storage, piece: Piece, columns: Columns, sources: SourcePolicy) -> Iterator[Chunk]:
    some: list[tuple[int, Any]] = []
    for at, line in read_lines(storage, piece):
        some.append((at, _parse(line)))
        if len(some) == CHUNK_ROWS["jsonl"]:
            yield _json_chunk(storage, piece, some, columns, sources)
            some = []
    if some:
        yield _json_chunk(storage, piece, some, columns, sources)


def _parse(line: bytes) -> Any:
    """The value of a line, or the error that says why it has none."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return InputError("the line is no JSON")
    return row if isinstance(row, dict) else InputError("the line is no JSON object")


def _json_chunk(
    storage: Storage, piece: Piece, lines: Sequence[tuple[int, Any]], columns: Columns, sources: SourcePolicy
) -> Chunk:
    inputs, rows = Inputs(), [row if isinstance(row, dict) else {} for _, row in lines]
    values = {field.name: [_carry(row.get(field.name), field) for row in rows] for field in columns.carried}
    for number, (_, row) in enumerate(lines):
        wrong = next((name for name, column in values.items() if isinstance(column[number], InputError)), None)
        if isinstance(row, InputError):
            inputs.add_bad("text" if columns.text else "image", row.message)
        elif wrong is not None:
            inputs.add_bad("text" if columns.text else "image", values[wrong][number].message)
        else:
            words, pixels = (row.get(name) if name else None for name in (columns.text, columns.image))
            inputs.add_one(words, open_storage(pixels, sources), columns.text, columns.image)
    where = storage.show(decode_name(piece.path))
    names = [name_of(value, f"{where}#{at}") for value, (at, _) in zip(inputs.values, lines, strict=True)]
    arrays = [pa.array(_without_errors(values[field.name]), field.type) for field in columns.carried]
    return Chunk(inputs, names, [piece.path] * len(lines), [at for at, _ in lines], arrays)


def _carry(value: Any, field: pa.Field) -> Any:
    """A carried value as its column keeps it, or the error for one of another kind."""
    if value is None:
        return None
    kind = NUMBERS.get(type(value))
    if field.type == pa.string():
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if kind == field.type or (kind == pa.int64() and field.type == pa.float64()):
        return value if kind != pa.int64() or -(2**63) <= value < 2**63 else InputError(f"{field.name}: too large")
    return InputError(f"{field.name}: a {type(value).__name__}, but the column holds {field.type}")


def _without_errors(values: Sequence[Any]) -> list[Any]:
    return [None if isinstance(value, InputError) else value for value in values]


def _read_text(storage: Storage, piece: Piece, _columns: Columns, _sources: SourcePolicy) -> Iterator[Chunk]:
    some: list[tuple[int, bytes]] = []
    for line in read_lines(storage, piece):
        some.append(line)
        if len(some) == CHUNK_ROWS["text"]:
            yield _text_chunk(piece, some)
            some = []
    if some:
        yield _text_chunk(piece, some)


def _text_chunk(piece: Piece, lines: Sequence[tuple[int, bytes]]) -> Chunk:
    inputs = Inputs()
    for _, line in lines:
        try:
            inputs.add("text", line.decode())
        except UnicodeDecodeError as error:  # noqa: PERF203
            inputs.add_bad("text", f"the line is no UTF-8 (byte {error.start})")
    names = [line.decode("utf-8", "replace") for _, line in lines]
    return Chunk(inputs, names, [piece.path] * len(lines), [at for at, _ in lines], [])


def read_lines(storage: Storage, piece: Piece) -> Iterator[tuple[int, bytes]]:
    """The lines that begin in a piece, each with its offset, without blank ones; one may end after the piece.

    Raises `InputError` for a line of more than 64 MiB.
    """
    compressed = piece.path.lower().endswith(COMPRESSED)
    path = storage.path(decode_name(piece.path))
    opened = storage.filesystem.open_input_stream(path) if compressed else storage.filesystem.open_input_file(path)
    with opened as plain:
        at = _skip_to_line(plain, piece.start)
        stop = None if compressed else piece.stop
        first = at == 0
        for offset, line in _split(plain, at, stop, storage.show(piece.path)):
            # A byte order mark, which Windows editors write, is no part of the first line.
            bare = line.removeprefix(b"\xef\xbb\xbf") if first else line
            first = False
            if bare.strip():
                yield offset, bare.rstrip(b"\r")


def _skip_to_line(stream: Any, start: int) -> int:
    """The offset of the first line that begins at `start` or after it; the stream stands there."""
    if start == 0:
        return 0
    at = start - 1
    stream.seek(at)
    while block := bytes(stream.read(BLOCK_BYTES)):
        end = block.find(b"\n")
        if end >= 0:
            stream.seek(at + end + 1)
            return at + end + 1
        at += len(block)
    return at


def _split(stream: BinaryIO, at: int, stop: int | None, name: str) -> Iterator[tuple[int, bytes]]:
    """Lines from offset `at` on, as far as they begin before `stop`."""
    rest = b""
    while stop is None or at < stop:
        block = stream.read(BLOCK_BYTES)
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            if stop is not None and at >= stop:
                return
            yield at, line
            at += len(line) + 1
        if not block:
            if rest and (stop is None or at < stop):
                yield at, rest
            return
        if len(rest) > MAX_LINE_BYTES:
            raise InputError(f"{name}: a line of more than {MAX_LINE_BYTES:,} bytes at byte {at}")
