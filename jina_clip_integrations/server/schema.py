"""The request body of `POST /v1/embeddings`, by the published schema of each model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pydantic
import pydantic_core

from ..catalog import ModelSpec
from .errors import FieldError, InvalidFieldsError, RequestError, field_path, invalid_field, printable_name
from .items import Item, read_items

ALIASES = {
    "encoding_type": "embedding_type",
    "encoding_format": "embedding_type",
    "task_type": "task",
    "output_dimensionality": "dimensions",
    "truncation": "truncate",
    "texts": "input",
    "content": "input",
}
"""Field names of older clients and of other services, by the schema's own. Not in strict mode."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """A parsed request for embeddings."""

    model: str
    """The name under which the client asked for the model; the response repeats it."""
    items: list[Item]
    embedding_type: str = "float"
    normalized: bool = True
    truncate: bool = False
    dimensions: int | None = None
    task: str | None = None


class Schema:
    """Parses request bodies for one model. Accepts aliases and ignores unknown fields unless `strict`."""

    def __init__(self, spec: ModelSpec, *, names: tuple[str, ...], strict: bool, max_items: int) -> None:
        """`names` are all that clients may use for the model, the one for messages first."""
        self.spec = spec
        self.names = names
        self.strict = strict
        self.max_items = max_items
        self._fields = request_fields(spec, strict=strict)

    def json_schema(self) -> dict[str, Any]:
        """The body as JSON Schema."""
        return self._fields.model_json_schema()

    def read(self, body: Any) -> Request:
        """Parse a JSON body. Raises `RequestError`: 400 for an unknown model, 422 for invalid fields."""
        if not isinstance(body, dict):
            raise invalid_field(message="Input should be a valid JSON object", type="model_attributes_type")
        given = body if self.strict else _resolve_aliases(body)
        name = self.check_model(given.get("model"))
        # Infinity's field, which makes any plain string an image, URLs too.
        if given.get("modality") not in (None, "text"):
            message = 'write images as {"image": ...} items instead'
            raise invalid_field(name, "modality", message=message, type="value_error")
        return self._read(given, name, at=(name, "input"), strict=self.strict)

    def read_named(self, body: Mapping[str, Any], *, at: str) -> Request:
        """Parse a body that need not name the model; errors locate its items in the field `at`."""
        return self._read({"model": self.names[0], **body}, self.names[0], at=(at,), strict=False)

    def _read(self, given: Mapping[str, Any], name: str, *, at: tuple[str, ...], strict: bool) -> Request:
        fields = self._validate(given, name)
        items = read_items(fields.pop("input"), path=at, max_items=self.max_items, strict=strict)
        # A null means the default, as in the published schema.
        known = {key: value for key, value in fields.items() if value is not None and key in Request.__annotations__}
        return Request(**(known | {"model": name, "items": items, "task": self._applicable_task(known.get("task"))}))

    def check_model(self, name: Any, *, status: int = 400) -> str:
        """`name`, if the model answers to it. Raises `RequestError` with the names that there are."""
        if isinstance(name, str) and name in self.names:
            return name
        asked = f"Model '{printable_name(name)}'" if isinstance(name, str) and name else "Model"
        raise RequestError(
            status, "INPUT_MODEL_NOT_FOUND", f"{asked} not found. Available models: {', '.join(self.names)}"
        )

    def _validate(self, given: Mapping[str, Any], name: str) -> dict[str, Any]:
        try:
            return dict(self._fields.model_validate(given))
        except pydantic.ValidationError as error:
            raise InvalidFieldsError(
                [_to_field_error(found, name) for found in error.errors(include_input=False)]
            ) from None

    def _applicable_task(self, task: str | None) -> str | None:
        # A model without tasks has no instruction to add, so a task changes nothing; clients send one all the same.
        return task if task is not None and task in self.spec.tasks else None


def request_fields(spec: ModelSpec, *, strict: bool) -> type[pydantic.BaseModel]:
    """The pydantic model of a body for this model. `input` is left to `read_items`, whose errors name the item."""
    fields: dict[str, Any] = {
        "model": (str, ...),
        "input": (Any, ...),
        "embedding_type": (
            Annotated[
                Literal["float", "base64", "binary", "ubinary"] | None, pydantic.BeforeValidator(_unwrap_list_of_one)
            ],
            None,
        ),
        "normalized": (bool | None, None),
        "truncate": (bool | None, None),
    }
    full = spec.embed_dim
    if spec.matryoshka_dimensions:
        fields["dimensions"] = (_integer(pydantic.Field(gt=0, le=full)), None)
    elif not strict:  # not in the published schema of such a model, but asking for its own width is harmless
        fields["dimensions"] = (_integer(pydantic.Field(ge=full, le=full)), None)
    if spec.tasks:
        fields["task"] = (Literal[tuple(spec.tasks)] | None, None)
    elif not strict:
        fields["task"] = (str | None, None)
    # Inputs stay out of errors: what a client sent is never repeated.
    config = pydantic.ConfigDict(extra="forbid" if strict else "ignore", hide_input_in_errors=True)
    return pydantic.create_model(f"{spec.name} request", __config__=config, **fields)


def _integer(bounds: Any) -> Any:
    return Annotated[int, bounds, pydantic.BeforeValidator(_reject_boolean)] | None


def _reject_boolean(value: Any) -> Any:
    # pydantic reads true as 1.
    if isinstance(value, bool):
        raise pydantic_core.PydanticCustomError("int_type", "Input should be a valid integer")
    return value


def _unwrap_list_of_one(value: Any) -> Any:
    """Unwrap a list of one, which is unambiguous; a longer one stays, and fails as it does at the hosted service."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def _resolve_aliases(body: Mapping[str, Any]) -> dict[str, Any]:
    """The body with aliases replaced by the schema's own names, which win where both are given."""
    given = {name: value for name, value in body.items() if name not in ALIASES}
    for alias, name in ALIASES.items():
        if body.get(alias) is not None and given.get(name) is None:
            given[name] = body[alias]
    return given


def _to_field_error(found: Any, name: str) -> FieldError:
    parts = [part for part in found["loc"] if isinstance(part, (str, int))]
    return FieldError(field_path(name, *parts), found["msg"], found["type"])
