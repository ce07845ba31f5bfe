"""Wire formats of the servers: one frozen `Dialect` each, chosen by the caller and never guessed.

Figures: the published schema of the hosted API, the SageMaker sample files, and the servers' own code (Jina's on-prem
image, infinity, Xinference). What a server does not do (instruct, truncate, normalise, pack bits) the client does, so
that every dialect gives the same vectors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import orjson

from ...catalog import ModelSpec
from ...errors import ConfigurationError
from ...types import Modality

PLACEHOLDER = "$"
"""Where the value goes in an item's form."""


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """The wire format of one kind of server. A field named `…_field` is None where the server has no such field.

    A server of your own that differs in one thing is `dataclasses.replace(DIALECTS["openai"], name="mine", path="")`.
    """

    name: str
    """For messages and cache keys."""
    path: str = "/embeddings"
    """Appended to `base_url` unless that ends with it already."""
    items_field: str = "input"
    """Name of the list of items."""
    text: str = '{"text": $}'
    """JSON of a text item; `$` stands for the quoted text."""
    image: str | None = '{"image": $}'
    """JSON of an image sent along; `$` stands for its quoted base64. None: the server takes texts only."""
    image_url: str | None = None
    """JSON of an image that the server fetches; `$` stands for the quoted URL. None: it cannot."""
    data_uri: bool = False
    """Whether base64 needs `data:image/png;base64,` in front. The hosted API wants it bare."""
    guesses_strings: bool = False
    """Whether the server takes strings that look like a data URI or a URL for images."""
    model_field: str | None = "model"
    modality_field: str | None = None
    encoding_field: str | None = None
    encodings: tuple[str, ...] = ("float",)
    """Values of `encoding_field` that the server understands."""
    task_field: str | None = None
    """Without it the client puts the instruction in front of the text."""
    dimensions_field: str | None = None
    """Without it the response has full vectors, which the client truncates."""
    normalized_field: str | None = None
    truncate_field: str | None = None
    options_field: str | None = None
    """Name of the object that holds task, dimensions and the like; None: they stand beside the items."""
    max_texts: int | None = None
    """Maximum number of texts per request."""
    max_images: int | None = None
    """Maximum number of images per request."""
    indexed: bool = True
    """Whether every row must carry the index of its item; otherwise rows without one are taken in order."""
    unit_vectors: bool = True
    """Whether the server normalises unless told otherwise."""
    environment_key: bool = False
    """Whether a key from the environment is meant for this kind of server. A key given by argument always is."""

    def __post_init__(self) -> None:
        for name in ("text", "image", "image_url"):
            form = getattr(self, name)
            if form is not None and not _is_form(form):
                raise ConfigurationError(
                    f"dialect {self.name!r}: {name} must be JSON with one {PLACEHOLDER} for the value"
                )
        if self.path and not self.path.startswith("/"):
            raise ConfigurationError(f"dialect {self.name!r}: path must begin with a slash or be empty")
        if not self.encodings:
            raise ConfigurationError(f"dialect {self.name!r}: encodings must name at least one encoding")

    def max_items(self, modality: Modality) -> int | None:
        """Maximum number of items of one kind per request, None where no cap is known."""
        return self.max_texts if modality == "text" else self.max_images

    def encoding(self, embedding_type: str) -> str:
        """The encoding to ask for: `embedding_type` if the server has it, else the most compact that keeps float32."""
        if embedding_type in self.encodings:
            return embedding_type
        return "base64" if "base64" in self.encodings else "float"

    def guard(self, text: str) -> str:
        """The text, so that the server does not take it for an image: the models' tokenizers drop a leading space."""
        looks_like_image = self.guesses_strings and text.lower().startswith(("data:", "http://", "https://"))
        return f" {text}" if looks_like_image else text

    def image_item(self, data: str, media_type: str) -> str:
        """JSON of an image given as base64 text."""
        if self.image is None:
            raise ConfigurationError(f"a server of dialect {self.name!r} takes texts only, not images")
        return fill(self.image, f"data:{media_type};base64,{data}" if self.data_uri else data)

    def url_item(self, url: str) -> str | None:
        """JSON of an image that the server fetches, or None where it cannot."""
        return None if self.image_url is None else fill(self.image_url, url)

    def instruct(self, text: str, task: str | None, spec: ModelSpec | None) -> str:
        """The text with the task's instruction in front, where the server does not do that itself."""
        if task is None or self.task_field:
            return text
        if spec is None:
            raise ConfigurationError(
                f"task={task!r}: a server of dialect {self.name!r} applies no task, and the instruction of this model "
                "is not known here; put it in front of the text yourself"
            )
        return spec.tasks[task] + text

    def head(
        self,
        *,
        model: str,
        modality: Modality,
        spec: ModelSpec | None,
        task: str | None,
        dimensions: int | None,
        normalize: bool,
        embedding_type: str,
    ) -> dict[str, Any]:
        """The request body without its items: only fields that the server and the model declare, and no nulls."""
        if not normalize and self.unit_vectors and not self.normalized_field:
            raise ConfigurationError(
                f"normalize=False: a server of dialect {self.name!r} gives unit vectors only; leave normalize out"
            )
        # Only what differs from the server's defaults: v1 and strict servers refuse fields that they do not declare.
        wanted = {  # fields that the server lacks share the name None and are dropped below
            self.task_field: task if modality == "text" else None,
            self.dimensions_field: dimensions if _may_truncate(spec, dimensions) else None,
            self.normalized_field: None if normalize else False,  # left out means true
            self.truncate_field: True if spec is not None else None,  # by default a text that is too long is refused
        }
        options = {name: value for name, value in wanted.items() if name and value is not None}
        body = {
            self.model_field: model,
            self.modality_field: modality,
            self.encoding_field: self.encoding(embedding_type),
        }
        head: dict[str, Any] = {name: value for name, value in body.items() if name}
        if self.options_field:
            return head | ({self.options_field: options} if options else {})
        return head | options

    def asks_for_dimensions(self, head: Mapping[str, Any]) -> bool:
        """Whether a request that begins like this wants truncated vectors."""
        options = head.get(self.options_field, {}) if self.options_field else head
        return self.dimensions_field in options


def fill(form: str, value: str) -> str:
    """A form with its value, as JSON."""
    return form.replace(PLACEHOLDER, orjson.dumps(value).decode(), 1)


def _is_form(form: str) -> bool:
    try:
        orjson.loads(fill(form, "x"))
    except (TypeError, ValueError, AttributeError):
        return False
    return form.count(PLACEHOLDER) == 1


def _may_truncate(spec: ModelSpec | None, dimensions: int | None) -> bool:
    """Whether `dimensions` may be sent: a model without Matryoshka has no such field, and full width needs none."""
    if spec is None:  # a model of the user's own server, which knows its widths
        return dimensions is not None
    return dimensions not in (None, spec.embed_dim) and bool(spec.matryoshka_dimensions)


JINA = Dialect(
    name="jina",
    image_url='{"image": $}',
    encoding_field="embedding_type",
    encodings=("base64", "float", "binary", "ubinary"),
    task_field="task",
    dimensions_field="dimensions",
    normalized_field="normalized",
    truncate_field="truncate",
    environment_key=True,
)

# The vendor's own image refuses the hosted API's `{"image": ...}` with a 400.
JINA_ON_PREM = Dialect(
    name="jina-onprem",
    image='{"image_base64": $}',
    image_url='{"type": "image_url", "image_url": $}',
    encoding_field="embedding_type",
    encodings=("base64", "float", "binary", "ubinary"),
    task_field="task",
    dimensions_field="dimensions",
    normalized_field="normalized",
    truncate_field="truncate",
)

# One modality per request, images as data URIs only (bare base64 is a 422), no task. The caps are its defaults.
INFINITY = Dialect(
    name="infinity",
    text="$",
    image="$",
    image_url="$",
    data_uri=True,
    modality_field="modality",
    encoding_field="encoding_format",
    encodings=("base64", "float"),
    dimensions_field="dimensions",
    max_texts=2048,
    max_images=32,
)

# Bare base64 would be taken for a URL or a path on the server. Unknown fields go to the model as keyword arguments,
# which is how `normalize_embeddings` gets there.
XINFERENCE = Dialect(
    name="xinference",
    image_url='{"image": $}',
    data_uri=True,
    normalized_field="normalize_embeddings",
)

# A string is all that an OpenAI item can be, so whether it is an image is for the server to guess.
OPENAI = Dialect(
    name="openai",
    text="$",
    image="$",
    data_uri=True,
    guesses_strings=True,
    encoding_field="encoding_format",
    encodings=("base64", "float"),
    dimensions_field="dimensions",
)

# The AWS packages: rows without an index, in the request's order, and raw vectors (norms of 12 to 33 in the samples).
INVOCATIONS = Dialect(
    name="invocations",
    path="/invocations",
    items_field="data",
    image='{"bytes": $}',
    image_url='{"url": $}',
    model_field=None,
    task_field="task",
    dimensions_field="dimensions",
    options_field="parameters",
    indexed=False,
    unit_vectors=False,
)

DIALECTS: Mapping[str, Dialect] = MappingProxyType(
    {dialect.name: dialect for dialect in (JINA, JINA_ON_PREM, INFINITY, XINFERENCE, OPENAI, INVOCATIONS)}
)
"""The dialects that may be chosen by name."""


def find_dialect(dialect: str | Dialect) -> Dialect:
    """The dialect of that name, or the object itself. Raises `ConfigurationError` for an unknown name."""
    if isinstance(dialect, Dialect):
        return dialect
    if not isinstance(dialect, str) or dialect not in DIALECTS:
        given = repr(dialect) if isinstance(dialect, str) else f"a {type(dialect).__name__}"
        raise ConfigurationError(
            f"dialect is {given}; choose one of {', '.join(map(repr, DIALECTS))} or pass a Dialect of your own"
        )
    return DIALECTS[dialect]
