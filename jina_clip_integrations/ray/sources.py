"""What is to be embedded, cut into partitions that are the same at every run: files, rows of files, bytes of files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.fs as arrow_fs
from pyarrow import parquet

from ..collections.names import decode_name, encode_name
from ..collections.scan import file_modality, scan
from ..errors import ConfigurationError, InputError
from .storage import Storage

FORMATS = {
    "parquet": (".parquet", ".pq"),
    "jsonl": (".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz", ".jsonl.zst", ".ndjson.zst"),
    "text": (".txt", ".txt.gz", ".txt.zst"),
}
"""Extensions of the tables; everything that Pillow opens is an image."""

COMPRESSED = (".gz", ".zst")
"""Files that can only be read from their start, so that each is one piece."""

MIN_PARTITIONS = 16
"""A source is cut into at least so many partitions per worker, as far as they do not become too small."""

ROW_BOUNDS = {"images": (32, 1024), "parquet": (256, 4096)}
BYTE_BOUNDS = (16 << 10, 1 << 20)
"""Smallest and largest partition, in rows or bytes: large enough that its file and its receipt cost little, small
enough that little is computed again after a kill."""

FOOTER_THREADS = 16

PIECES = pa.schema(
    [("path", pa.string()), ("size", pa.int64()), ("mtime_ns", pa.int64()), ("start", pa.int64()), ("stop", pa.int64())]
)
"""Columns of the list of pieces."""


@dataclass(frozen=True)
class SourceFile:
    """A file of the source."""

    path: str
    """Below the source's folder, as `encode_name` writes it."""
    size: int
    mtime_ns: int


@dataclass(frozen=True)
class Piece:
    """A part of a file: an image whole, rows of a Parquet file, or the lines that begin in a range of bytes."""

    path: str
    size: int
    mtime_ns: int
    start: int
    stop: int


@dataclass(frozen=True)
class Source:
    """Where the rows come from."""

    storage: Storage
    format: str
    """`images`, `parquet`, `jsonl` or `text`."""
    files: tuple[SourceFile, ...]


def find_source(
    source: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    format: str | None = None,
    filesystem: arrow_fs.FileSystem | None = None,
) -> Source:
    """The files of a folder, one file or several.

    Raises:
        InputError: nothing there, or nothing of the format.
        ConfigurationError: an unknown format, or a folder with several of them.
    """
    if format is not None and format not in ("images", *FORMATS):
        raise ConfigurationError(f"format={format!r}; choose one of 'images', {', '.join(map(repr, FORMATS))}")
    storage, found = _list_all(source, filesystem)
    by_format: dict[str, list[SourceFile]] = {}
    for file in found:
        if (kind := file_format(file.path, format)) is not None:
            by_format.setdefault(kind, []).append(file)
    if not by_format:
        raise InputError(f"{storage.show('')}: there is nothing to embed" + (f" as {format}" if format else ""))
    if len(by_format) > 1:
        counts = ", ".join(f"{kind} ({len(files)})" for kind, files in by_format.items())
        raise ConfigurationError(
            f"{storage.show('')} holds files of several formats: {counts}; choose one with format="
        )
    [(kind, files)] = by_format.items()
    return Source(storage, kind, tuple(files))


def file_format(path: str, asked: str | None) -> str | None:
    """The format of a file by its name, if it is the one that was asked for; None for what is not read."""
    name = path.lower()
    tables = (kind for kind, extensions in FORMATS.items() if name.endswith(extensions))
    found = next(tables, "images" if file_modality(path) == "image" else None)
    return found if asked is None or found == asked else None


def _list_all(source: Any, filesystem: arrow_fs.FileSystem | None) -> tuple[Storage, list[SourceFile]]:
    if isinstance(source, (str, os.PathLike)):
        storage = Storage.of(source, filesystem)
        state = storage.state()
        if state.type == arrow_fs.FileType.NotFound:
            raise InputError(f"{storage.show('')}: there is no such file or folder")
        if state.type == arrow_fs.FileType.File:
            return _list_files([source], filesystem)
        return storage, sorted(_list_folder(storage), key=lambda file: file.path.split("/"))
    return _list_files(list(source), filesystem)


def _list_files(paths: Sequence[Any], filesystem: arrow_fs.FileSystem | None) -> tuple[Storage, list[SourceFile]]:
    """Files in the order in which they were given."""
    if not paths:
        raise InputError("the source is an empty list; name a folder or files")
    opened = [Storage.of(path, filesystem) for path in paths]
    common = os.path.commonpath([os.path.dirname(one.root) or "." for one in opened])
    if any(one.filesystem != opened[0].filesystem for one in opened) or common == ".":
        raise InputError("the files of a source have to be in one filesystem, named by whole paths")
    shown = opened[0].name.removesuffix(opened[0].root[len(common) :])
    storage = Storage(opened[0].filesystem, common, shown)
    files = []
    for one in opened:
        state = one.state()
        if state.type != arrow_fs.FileType.File:
            raise InputError(f"{one.show('')}: there is no such file")
        name = one.root[len(common) :].lstrip("/")
        files.append(SourceFile(encode_name(name), state.size, state.mtime_ns or 0))
    return storage, files


def _list_folder(storage: Storage, folder: str = "") -> Iterator[SourceFile]:
    """Files of a folder and those below, without what begins with a dot or an underscore, as Parquet readers do."""
    if storage.is_local:
        yield from _list_local(Path(storage.root))
        return
    for info in storage.list(folder):
        name = f"{folder}/{info.base_name}" if folder else str(info.base_name)
        if info.base_name.startswith((".", "_")):
            continue
        if info.type == arrow_fs.FileType.Directory:
            yield from _list_folder(storage, name)
        elif info.type == arrow_fs.FileType.File:
            yield SourceFile(encode_name(name), info.size, info.mtime_ns or 0)


def _list_local(root: Path) -> Iterator[SourceFile]:
    # With the system's own calls: names that are no UTF-8 stay what they are.
    images = {file.name for file in scan(root)}
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith((".", "_")))
        for name in sorted(names):
            path = Path(folder, name)
            relative = path.relative_to(root).as_posix()
            table = file_format(name, None) in FORMATS and path.is_file()
            if (table or relative in images) and not name.startswith((".", "_")):
                status = path.stat()
                yield SourceFile(encode_name(relative), status.st_size, status.st_mtime_ns)


def size_of_partitions(source: Source, workers: int) -> int:
    """Rows (images, Parquet) or bytes (lines) of a partition that suit the source and so many workers."""
    at_least = MIN_PARTITIONS * workers
    if source.format == "images":
        total, bounds = len(source.files), ROW_BOUNDS["images"]
    elif source.format == "parquet":
        total, bounds = sum(count for _, count in _count_rows(source)), ROW_BOUNDS["parquet"]
    else:
        total, bounds = sum(file.size for file in source.files), BYTE_BOUNDS
    return min(max(-(-total // at_least), bounds[0]), bounds[1])


def cut(source: Source, size: int) -> Iterator[list[Piece]]:
    """The partitions: pieces of up to `size` rows or bytes, in the order of the source."""
    partition: list[Piece] = []
    filled = 0
    for piece in _pieces(source, size):
        extent = 1 if source.format == "images" else max(piece.stop - piece.start, 1)
        if partition and filled + extent > size:
            yield partition
            partition, filled = [], 0
        partition.append(piece)
        filled += extent
    if partition:
        yield partition


def _pieces(source: Source, size: int) -> Iterator[Piece]:
    if source.format == "images":
        for file in source.files:
            yield Piece(file.path, file.size, file.mtime_ns, 0, 1)
        return
    whole = _count_rows(source) if source.format == "parquet" else ((file, file.size) for file in source.files)
    for file, extent in whole:
        if file.path.lower().endswith(COMPRESSED):
            yield Piece(file.path, file.size, file.mtime_ns, 0, extent)
            continue
        for start in range(0, extent, size):
            yield Piece(file.path, file.size, file.mtime_ns, start, min(start + size, extent))


def _count_rows(source: Source) -> Iterable[tuple[SourceFile, int]]:
    """Every Parquet file with the rows that its footer tells. Raises `InputError` for a damaged one."""
    with ThreadPoolExecutor(FOOTER_THREADS) as pool:
        return list(
            zip(source.files, pool.map(lambda file: rows_of(source.storage, file.path), source.files), strict=True)
        )


def rows_of(storage: Storage, path: str) -> int:
    """Rows of a Parquet file. Raises `InputError` where it is none."""
    try:
        with storage.filesystem.open_input_file(storage.path(decode_name(path))) as file:
            return int(parquet.ParquetFile(file).metadata.num_rows)
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{storage.show(path)} is no Parquet file that can be read: {error}") from error


def to_table(partition: Iterable[Piece]) -> pa.Table:
    """A partition as a table of `PIECES`."""
    return pa.Table.from_pylist([vars(piece) for piece in partition], schema=PIECES)


def from_table(table: pa.Table) -> list[Piece]:
    """What `to_table` was given."""
    return [Piece(**row) for row in table.to_pylist()]
