"""Rows of a table as inputs of the encoder, and the vectors and errors that they become."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.fs

from ..encoder import JinaClipEncoder
from ..errors import InputError
from ..images.objects import Readable
from ..images.sources import SourcePolicy, show_url
from ..types import Modality, Vectors

STORAGE_SCHEMES = frozenset({"s3", "gs", "gcs", "abfs", "abfss", "hdfs", "viewfs"})
"""Addresses that Arrow's filesystems open, with the credentials of the worker's environment."""

BLOCK_BYTES = 1 << 20


@dataclass
class Inputs:
    """Inputs in the order of their rows: what each is, and the errors of those that are none."""

    kinds: list[Modality] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)
    errors: dict[int, str] = field(default_factory=dict)

    def add(self, kind: Modality, value: Any) -> None:
        """Add a text or an image."""
        self.kinds.append(kind)
        self.values.append(value)

    def add_bad(self, kind: Modality, reason: str) -> None:
        """Add a row that cannot be embedded."""
        self.errors[len(self.values)] = reason
        self.add(kind, None)

    def add_one(self, words: Any, pixels: Any, text: str | None, image: str | None) -> None:
        """Add what a row holds in its columns `text` and `image`: one of the two."""
        if words is not None and pixels is not None:
            self.add_bad("text", f"both {text!r} and {image!r} are given; a row is a text or an image")
        elif words is not None:
            self.add("text", words)
        elif pixels is not None:
            self.add("image", pixels)
        else:
            named = " and ".join(repr(name) for name in (text, image) if name)
            self.add_bad("text" if image is None else "image", f"{named} is null")

    def __len__(self) -> int:
        return len(self.values)


def read_inputs(table: pa.Table, text: str | None, image: str | None, sources: SourcePolicy) -> Inputs:
    """The inputs in the columns `text` and `image`, either of which may be None; of both, a row has one.

    Raises `InputError` for a column that is not there.
    """
    texts = column_values(table, text)
    images = [open_storage(value, sources) for value in column_values(table, image)]
    inputs = Inputs()
    for row in range(table.num_rows):
        inputs.add_one(texts[row] if texts else None, images[row] if images else None, text, image)
    return inputs


def column_values(table: pa.Table, name: str | None) -> list[Any]:
    """The values of a column as the encoder takes them: strings, bytes, arrays `(H, W, 3)`, rows of `datasets`."""
    if name is None:
        return []
    if name not in table.column_names:
        raise InputError(f"there is no column {name!r}; the table has {', '.join(map(repr, table.column_names))}")
    values: list[Any] = []
    for chunk in table.column(name).chunks:
        # Ray's tensors: arrays of one size or of differing ones, `(H, W, 3)` each.
        tensors = isinstance(chunk, pa.ExtensionArray)
        values += list(_tensors(chunk)) if tensors else [_as_array(value) for value in chunk.to_pylist()]
    return values


def _tensors(chunk: Any) -> Any:
    valid = chunk.is_valid().to_pylist()
    if hasattr(chunk, "to_numpy_ndarray") and all(valid):
        return chunk.to_numpy_ndarray()
    # Null rows have no shape, so the arrays are taken one by one.
    return [_as_array(chunk[row].as_py()) if valid[row] else None for row in range(len(chunk))]


def _as_array(value: Any) -> Any:
    """Nested lists as the array that they were; everything else as it is."""
    return np.asarray(value, np.uint8) if isinstance(value, list) else value


def open_storage(value: Any, sources: SourcePolicy) -> Any:
    """An address of an object store as something that the encoder reads when it comes to it."""
    scheme = urlsplit(value).scheme.lower() if isinstance(value, str) and "://" in value[:16] else ""
    # A policy that confines paths says nothing of buckets, so under one none is opened.
    if scheme not in STORAGE_SCHEMES or not sources.paths or sources.roots is not None:
        return value
    return Readable(show_url(value), _StorageBlocks(value), "check the address and the credentials of the workers")


class _StorageBlocks:
    """The content of an address, opened when it is called."""

    def __init__(self, address: str) -> None:
        self.address = address

    def __call__(self) -> Any:
        opened, path = pyarrow.fs.FileSystem.from_uri(self.address)
        with opened.open_input_stream(path) as stream:
            while block := stream.read(BLOCK_BYTES):
                yield block


def embed_inputs(
    encoder: JinaClipEncoder, inputs: Inputs, task: str | None, width: Callable[[], int]
) -> tuple[Vectors, dict[int, str]]:
    """Vectors of all inputs, `(n, d)` float32, NaN where there is none, and why, by row.

    Bad inputs are left out. Raises `BackendError` and `ConfigurationError` for what is no fault of an input.
    """
    errors = dict(inputs.errors)
    parts: list[tuple[list[int], Vectors]] = []
    for kind in ("text", "image"):
        rows = [row for row, this in enumerate(inputs.kinds) if this == kind and row not in inputs.errors]
        if rows:
            parts.append((rows, _embed_kind(encoder, kind, [inputs.values[row] for row in rows], task)))
            errors |= {rows[at]: describe(error) for at, error in encoder.last_errors.items()}
    # Rows of a width that is not known yet are rows without a vector.
    dimensions = max((part.shape[1] for _, part in parts), default=0) or width()
    vectors = np.full((len(inputs), dimensions), np.nan, np.float32)
    for rows, part in parts:
        if part.shape[1]:
            vectors[rows] = part
    return vectors, dict(sorted(errors.items()))


def _embed_kind(encoder: JinaClipEncoder, kind: str, values: Sequence[Any], task: str | None) -> Vectors:
    if kind == "text":
        return encoder.encode_text(values, task=task, on_error="skip")
    return encoder.encode_image(values, on_error="skip")


def describe(error: BaseException) -> str:
    """The reason in an error's message, for a table."""
    return str(getattr(error, "message", error)).encode("utf-8", "replace").decode()
