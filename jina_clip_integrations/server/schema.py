"""The request body of `POST /v1/embeddings`, as the published schema of each model has it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pydantic
import pydantic_core

from ..catalog import ModelSpec
from .errors import BadFieldsError, FieldError, RequestError, bad_field, field_path, printable_name
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
"""Names that older or foreign clients use, and what they mean. Not in strict mode."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a client wants."""

    model: str
    """The name it asked with, to be echoed."""
    items: list[Item]
    embedding_type: str = "float"
    normalized: bool = True
    truncate: bool = False
    dimensions: int | None = None
    task: str | None = None


class Schema:
    """Reads request bodies for one model. Lenient about foreign names and unknown fields unless `strict`."""

    def __init__(self, spec: ModelSpec, *, names: tuple[str, ...], strict: bool, max_items: int) -> None:
        """`names` are those under which the model may be asked for, the ones for messages first."""
        self.spec = spec
        self.names = names
        self.strict = strict
        self.max_items = max_items
        self._fields = request_fields(spec, strict=strict)

    def json_schema(self) -> dict[str, Any]:
        """The body as JSON Schema."""
        return self._fields.model_json_schema()

    def read(self, body: Any) -> Request:
        """The request in a JSON body. Raises `RequestError`: 400 for an unknown model, 422 for what does not fit."""
        if not isinstance(body, dict):
            raise bad_field(message="Input should be a valid JSON object", type="model_attributes_type")
        given = body if self.strict else _resolve_aliases(body)
        name = self._known_model(given.get("model"))
        if given.get("modality") not in (None, "text"):
            message = 'write images as {"image": ...} items instead'
            raise bad_field(name, "modality", message=message, type="value_error")
        return self._read(given, name, at=(name, "input"), strict=self.strict)

    def read_named(self, body: Mapping[str, Any], *, at: str) -> Request:
        """The request in a body that need not name the model; its items stand in the field `at` of the original."""
        return self._read({"model": self.names[0], **body}, self.names[0], at=(at,), strict=False)

    def _read(self, given: Mapping[str, Any], name: str, *, at: tuple[str, ...], strict: bool) -> Request:
        fields = self._validate(given, name)
        items = read_items(fields.pop("input"), path=at, max_items=self.max_items, strict=strict)
        known = {key: value for key, value in fields.items() if value is not None and key in Request.__annotations__}
        return Request(**(known | {"model": name, "items": items, "task": self._task(known.get("task"))}))

    def _known_model(self, name: Any) -> str:
        if isinstance(name, str) and name in self.names:
            return name
        asked = f"Model '{printable_name(name)}'" if isinstance(name, str) and name else "Model"
        raise RequestError(
            400, "INPUT_MODEL_NOT_FOUND", f"{asked} not found. Available models: {', '.join(self.names)}"
        )

    def _validate(self, given: Mapping[str, Any], name: str) -> dict[str, Any]:
        try:
            return dict(self._fields.model_validate(given))
        except pydantic.ValidationError as error:
            raise BadFieldsError([_field_error(found, name) for found in error.errors(include_input=False)]) from None

    def _task(self, task: str | None) -> str | None:
        """A model without tasks has no instruction to add: where others send one all the same, it changes nothing."""
        return task if task is not None and task in self.spec.tasks else None


def request_fields(spec: ModelSpec, *, strict: bool) -> type[pydantic.BaseModel]:
    """The pydantic model of a body for this model. Items are read by `read_items`."""
    fields: dict[str, Any] = {
        "model": (str, ...),
        "input": (Any, ...),
        "embedding_type": (
            Annotated[Literal["float", "base64", "binary", "ubinary"] | None, pydantic.BeforeValidator(_one_of_list)],
            None,
        ),
        "normalized": (bool | None, None),
        "truncate": (bool | None, None),
    }
    full = spec.embed_dim
    if spec.matryoshka_dimensions:
        fields["dimensions"] = (_integer(pydantic.Field(gt=0, le=full)), None)
    elif not strict:  # the published schema of such a model has no such field, but asking for its width is harmless
        fields["dimensions"] = (_integer(pydantic.Field(ge=full, le=full)), None)
    if spec.tasks:
        fields["task"] = (Literal[tuple(spec.tasks)] | None, None)
    elif not strict:
        fields["task"] = (str | None, None)
    config = pydantic.ConfigDict(extra="forbid" if strict else "ignore", hide_input_in_errors=True)
    return pydantic.create_model(f"{spec.name} request", __config__=config, **fields)


def _integer(bounds: Any) -> Any:
    return Annotated[int, bounds, pydantic.BeforeValidator(_not_a_boolean)] | None


def _not_a_boolean(value: Any) -> Any:
    if isinstance(value, bool):
        raise pydantic_core.PydanticCustomError("int_type", "Input should be a valid integer")
    return value


def _one_of_list(value: Any) -> Any:
    """The service answers a list with an error of its own; a list of one is clear enough."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def _resolve_aliases(body: Mapping[str, Any]) -> dict[str, Any]:
    """The body under the schema's own names. Where both are given, the schema's name counts."""
    given = {name: value for name, value in body.items() if name not in ALIASES}
    for alias, name in ALIASES.items():
        if body.get(alias) is not None and given.get(name) is None:
            given[name] = body[alias]
    return given


def _field_error(found: Any, name: str) -> FieldError:
    parts = [part for part in found["loc"] if isinstance(part, (str, int))]
    return FieldError(field_path(name, *parts), found["msg"], found["type"])
