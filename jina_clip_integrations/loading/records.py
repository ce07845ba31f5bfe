"""What stands beside a vector in a store, so that the frameworks' stores and `jina-clip search` can read it.

LangChain's stores read a text and a dict of metadata. LlamaIndex's look in the metadata for `_node_content`, the JSON
of a node, and make a node of that class from it: an `ImageNode`, so that an image is found as an image.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from .files import Batch, VectorFile

SOURCE = "jina_clip_source"
"""Which file a row came from (`VectorFile.source`)."""
ROW = "jina_clip_row"
"""Its number in that file, from 0."""
NODE_CONTENT, NODE_TYPE = "_node_content", "_node_type"
"""Where LlamaIndex keeps a node in a store's metadata (`node_to_metadata_dict` of llama-index-core 0.14)."""
KIND, URI = "kind", "uri"
"""Keys of the metadata, as in the recipes of the documentation."""

OURS = (KIND, URI, SOURCE, ROW, NODE_CONTENT, NODE_TYPE)


def carried_names(file: VectorFile) -> list[str]:
    """Columns of a file that go into the metadata. A column with the name of a field of ours stays behind."""
    return [one.name for one in file.carried if one.name not in OURS]


def make_metadata(batch: Batch) -> Iterator[dict[str, Any]]:
    """For each row: its kind, the image's address, the columns that were carried along, as JSON has them."""
    names = carried_names(batch.file)
    rows: Sequence[Mapping[str, Any]] = batch.carried.select(names).to_pylist() if names else [{}] * len(batch)
    for kind, given, row in zip(batch.kinds, batch.inputs, rows, strict=True):
        uri = {URI: given} if kind == "image" else {}
        yield {KIND: kind, **uri, **{name: to_plain(value) for name, value in row.items()}}


def make_node(id: str, given: str, metadata: Mapping[str, Any]) -> dict[str, str]:
    """`_node_content` and `_node_type` of a row."""
    content: dict[str, Any] = {"id_": id, "metadata": dict(metadata)}
    if metadata[KIND] == "image":
        content["image_url" if given.startswith(("http://", "https://")) else "image_path"] = given
        node_type = "ImageNode"
    else:
        content["text"] = given
        node_type = "TextNode"
    return {NODE_CONTENT: json.dumps(content, ensure_ascii=False), NODE_TYPE: node_type}


def to_plain(value: Any) -> Any:
    """A value of a column as JSON can hold it: moments as ISO 8601, durations in seconds, bytes in hexadecimal."""
    if isinstance(value, Mapping):
        return {str(key): to_plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(one) for one in value]
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, float) and not abs(value) < float("inf"):
        return None  # JSON has neither NaN nor infinity
    return str(value) if isinstance(value, Decimal) else value
