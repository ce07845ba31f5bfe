"""`POST /invocations`: requests as Jina's container images take them on SageMaker and in other clouds.

Differs from `/v1/embeddings` as those containers do: items are `{"text"}`, `{"url"}` or `{"bytes"}`, the model is not
named, vectors are not normalised, long text is truncated, and every row carries an id and its own usage. Batch
transform jobs send lines of CSV instead: id, text, url, bytes.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field
from typing import Any

from .errors import invalid_field
from .responses import new_id
from .schema import Request, Schema

CSV_TYPE = "text/csv"
CSV_COLUMNS = ("id", "text", "url", "bytes")
MAX_ID_CHARACTERS = 200
"""Longest id of a row, in characters; longer ones are shortened, since the response repeats them twice."""

PARAMETERS = ("task", "dimensions", "normalized", "truncate")
"""Parameters that are understood. The response repeats those given, with numbers as floats."""

# An image is one cell, far above the default of 128 KiB; the limit of the body applies. 2**31 - 1: a C long on Windows.
csv.field_size_limit(2**31 - 1)


@dataclass(frozen=True)
class Invocation:
    """A request, and what its response repeats."""

    request: Request
    ids: list[str]
    parameters: dict[str, Any] = field(default_factory=dict)


def read_invocation(body: Any, schema: Schema) -> Invocation:
    """Parse a JSON body. Raises `RequestError`."""
    if not isinstance(body, dict):
        raise invalid_field(message="Input should be a valid JSON object", type="model_attributes_type")
    if "data" not in body:
        raise invalid_field("data", message="Field required", type="missing")
    parameters = body.get("parameters")
    if parameters is None:
        parameters = {}
    if not isinstance(parameters, dict):
        raise invalid_field("parameters", message="Input should be a valid JSON object", type="dict_type")
    if parameters.get("embedding_type") not in (None, "float"):
        raise invalid_field("parameters", "embedding_type", message="Input should be 'float'", type="literal_error")
    known = {name: parameters[name] for name in PARAMETERS if parameters.get(name) is not None}
    return _make_invocation(body["data"], known, schema)


def read_csv(text: str, schema: Schema) -> Invocation:
    """Parse lines of CSV without a header. Raises `RequestError`."""
    try:
        lines = [line for line in csv.reader(io.StringIO(text), strict=True) if line]
    except csv.Error:
        raise invalid_field(message="Input should be valid CSV", type="csv_invalid") from None
    if any(len(line) > len(CSV_COLUMNS) for line in lines):
        raise invalid_field(message=f"A line has the columns {', '.join(CSV_COLUMNS)}", type="csv_invalid")
    rows = [{name: cell for name, cell in zip(CSV_COLUMNS, line, strict=False) if cell} for line in lines]
    ids = [row.pop("id", "") for row in rows]
    return _make_invocation(rows, {}, schema, ids=ids)


def _make_invocation(data: Any, parameters: dict[str, Any], schema: Schema, ids: list[str] | None = None) -> Invocation:
    fields = dict(parameters)
    if str(fields.get("task")) not in schema.spec.tasks:  # as text: it may be what cannot be hashed
        fields.pop("task", None)  # the published client sends tasks that these models do not have
    request = schema.read_named({"normalized": False, "truncate": True, "input": data, **fields}, at="data")
    given = ids or [""] * len(request.items)
    return Invocation(request, [name[:MAX_ID_CHARACTERS] or new_id() for name in given], _echo(parameters, request))


def _echo(parameters: dict[str, Any], request: Request) -> dict[str, Any]:
    parsed = {"task": request.task, "dimensions": request.dimensions and float(request.dimensions)}
    return {name: parsed.get(name, value) for name, value in parameters.items() if name not in parsed or parsed[name]}
