"""Rows of the files that data sets come in: UTF-8 text, CSV, JSON lines, Parquet. Every error names file and line."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import InputError, require_extra

Row = Mapping[str, Any]

NumberedRows = Iterator[tuple[int, Row]]
"""Line in the file, from 1 (in Parquet: the row), and what stands there by column."""

CSV_FIELD_CHARACTERS = 1 << 20
"""The longest field of a CSV file; Python's own limit is smaller than a caption of a page."""


def read_text(path: Path) -> str:
    """A file in UTF-8, with or without a byte order mark. Raises `InputError` that names the first line that is not."""
    content = path.read_bytes()
    try:
        return content.decode("utf-8-sig")  # spreadsheets put a byte order mark first
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}, line {line}: not UTF-8 ({error.reason}); save the file in UTF-8") from None


def read_rows(path: Path) -> NumberedRows:
    """Rows of a .csv, .tsv, .jsonl or .parquet file. Raises `InputError` for another kind."""
    readers = {".csv": read_csv, ".tsv": read_tsv, ".jsonl": read_jsonl, ".parquet": read_parquet}
    if path.suffix.lower() not in readers:
        raise InputError(f"{path}: the file must end in {', '.join(readers)}")
    return readers[path.suffix.lower()](path)


def read_csv(path: Path, *, delimiter: str = ",") -> NumberedRows:
    """Rows by the names in the first line."""
    csv.field_size_limit(CSV_FIELD_CHARACTERS)
    reader = csv.DictReader(read_text(path).splitlines(keepends=True), delimiter=delimiter)
    try:
        for row in reader:
            if None in row:
                raise InputError(f"{path}, line {reader.line_num}: more fields than the first line has names")
            yield reader.line_num, row
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.line_num}: not CSV ({error})") from error


def read_tsv(path: Path) -> NumberedRows:
    """As `read_csv`, with tabs."""
    return read_csv(path, delimiter="\t")


def read_jsonl(path: Path) -> NumberedRows:
    """One JSON object per line; blank lines are no rows."""
    for number, line in enumerate(read_text(path).split("\n"), 1):  # not splitlines: a text may hold U+2028
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise InputError(f"{path}, line {number}: not JSON ({error.msg})") from error
        if not isinstance(row, dict):
            raise InputError(f"{path}, line {number}: an object {{...}} is needed")
        yield number, row


def read_parquet(path: Path) -> NumberedRows:
    """Rows of a Parquet file. Raises `ImportError` without the extra `parquet`."""
    require_extra("pyarrow", extra="parquet", purpose=f"Reading {path.name}")
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            number = 0
            for batch in file.iter_batches():
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except pyarrow.ArrowException as error:
        raise InputError(f"{path}: not a Parquet file that can be read ({error})") from error


def find_image(file: Path, line: int, name: str) -> str:
    """Where an image named in a file is: a path, or the URL as it is. Raises `InputError` if there is no such file."""
    if name.startswith(("http://", "https://", "data:")):
        return name
    # Relative to the file, so that a folder of captions can be moved as a whole.
    found = file.parent / os.path.expanduser(name)
    if not found.is_file():
        raise InputError(f"{file}, line {line}: there is no image {found}")
    return str(found)
