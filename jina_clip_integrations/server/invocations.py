"""`POST /invocations`: the request and answer of Jina's container images on SageMaker and in other clouds.

Differs from `/v1/embeddings` in what the images do: items are `{"text"}`, `{"url"}` or `{"bytes"}`, the model is not
named, vectors are not normalised, long text is cut, and every row carries an id and its own usage. Batch transform
jobs send lines of CSV instead: id, text, url, bytes.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field
from typing import Any

from .errors import bad_field
from .responses import new_id
from .schema import Request, Schema

CSV_TYPE = "text/csv"
CSV_COLUMNS = ("id", "text", "url", "bytes")
MAX_ID_CHARACTERS = 200

PARAMETERS = ("task", "dimensions", "normalized", "truncate")
"""Parameters that change an answer; they are echoed, with numbers as floats."""

csv.field_size_limit(2**31 - 1)  # an image is one cell; the body's own limit applies


@dataclass(frozen=True)
class Invocation:
    """A request and what its answer repeats."""

    request: Request
    ids: list[str]
    parameters: dict[str, Any] = field(default_factory=dict)


def read_invocation(body: Any, schema: Schema) -> Invocation:
    """The invocation in a JSON body. Raises `RequestError`."""
    if not isinstance(body, dict):
        raise bad_field(message="Input should be a valid JSON object", type="model_attributes_type")
    if "data" not in body:
        raise bad_field("data", message="Field required", type="missing")
    parameters = body.get("parameters")
    if parameters is None:
        parameters = {}
    if not isinstance(parameters, dict):
        raise bad_field("parameters", message="Input should be a valid JSON object", type="dict_type")
    if parameters.get("embedding_type") not in (None, "float"):
        raise bad_field("parameters", "embedding_type", message="Input should be 'float'", type="literal_error")
    wanted = {name: parameters[name] for name in PARAMETERS if parameters.get(name) is not None}
    return _invocation(body["data"], wanted, schema)


def read_csv(text: str, schema: Schema) -> Invocation:
    """The invocation in lines of CSV without a header. Raises `RequestError`."""
    try:
        lines = [line for line in csv.reader(io.StringIO(text), strict=True) if line]
    except csv.Error:
        raise bad_field(message="Input should be valid CSV", type="csv_invalid") from None
    if any(len(line) > len(CSV_COLUMNS) for line in lines):
        raise bad_field(message=f"A line has the columns {', '.join(CSV_COLUMNS)}", type="csv_invalid")
    rows = [{name: cell for name, cell in zip(CSV_COLUMNS, line, strict=False) if cell} for line in lines]
    ids = [row.pop("id", "") for row in rows]
    return _invocation(rows, {}, schema, ids=ids)


def _invocation(data: Any, parameters: dict[str, Any], schema: Schema, ids: list[str] | None = None) -> Invocation:
    wanted = dict(parameters)
    if wanted.get("task") not in schema.spec.tasks:
        wanted.pop("task", None)  # the published client sends tasks that these models do not have
    request = schema.read_named({"normalized": False, "truncate": True, "input": data, **wanted}, at="data")
    given = ids or [""] * len(request.items)
    return Invocation(request, [name[:MAX_ID_CHARACTERS] or new_id() for name in given], _echo(parameters, request))


def _echo(parameters: dict[str, Any], request: Request) -> dict[str, Any]:
    read = {"task": request.task, "dimensions": request.dimensions and float(request.dimensions)}
    return {name: read.get(name, value) for name, value in parameters.items() if name not in read or read[name]}
