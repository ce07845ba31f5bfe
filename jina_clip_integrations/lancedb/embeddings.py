"""The embedding function that LanceDB keeps in a table's metadata and builds anew at every call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
from lancedb.embeddings import EmbeddingFunction, get_registry, register
from pydantic import PrivateAttr

from ..adapter.stored_options import IN_THIS_PROCESS, VECTORS_KEY, StoredOptions, is_plain
from ..credentials import drop_sensitive
from ..errors import ConfigurationError, InputError
from ..settings import reject_unknown

if TYPE_CHECKING:
    from typing_extensions import Self

ALIAS = "jina-clip"
"""What people ask the registry for."""

MODULE = "jina_clip_integrations.lancedb"
"""What tables keep: where it has not been imported, the registry's `KeyError` says what to import."""

VARIABLE = "$var:"
"""In front of the name of one of the registry's variables."""


@register(MODULE)
@register(ALIAS)
class JinaClipEmbeddings(StoredOptions, EmbeddingFunction):  # type: ignore[misc]  # LanceDB is untyped
    """Jina CLIP for LanceDB's tables: source columns of images or of texts, vectors of one space.

        images = get_registry().get("jina-clip").create(model="jina-clip-v2")

        class Photo(LanceModel):
            uri: str = images.SourceField()
            vector: list[float] = images.VectorField()

    The table keeps model, width and options, and never a key: who opens it needs this package imported, and a key in
    the environment. Objects and credentials are given as variables of the registry: `registry.set_var("key", …)` and
    `create(api_key="$var:key")`; the table keeps the variable's name.

    Args:
        model: `jina-clip-v1`, `jina-clip-v2`, `demo`, a checkpoint folder or a Hub id (`model_name` works too).
        source: What the source column holds: `image` (paths, URLs, data URIs or bytes) or `text`.
        backend: `api`, `local` or `sagemaker`, or a variable that holds an `EmbeddingBackend` object.
        dimensions: Width of the vectors; None = the model's own.
        api_key_env_var: Environment variable that holds the key, if under another name than usual.
        query_task: `auto` gives queries the model's instruction where it has one; None turns it off.
        max_retries: Attempts of the backend after the first, as everywhere in this package; LanceDB's own repetition of
            whole calls is left out, since it would wait for minutes over a file that is broken.
        **options: Every option of the encoder and of the chosen backend, under its own name.

    Raises:
        pydantic.ValidationError: an unknown option, or one that the chosen backend cannot honour.
        ConfigurationError: an object in place of a variable; on first use, a missing key, or vectors that are not those
            of the table.
    """

    source: Literal["image", "text"] = "image"
    """What the source column holds."""
    max_retries: int | None = None  # type: ignore[assignment]  # ours, not how often LanceDB repeats a call

    _references: dict[str, str] = PrivateAttr(default_factory=dict)
    """Options that were given as variables of the registry, with their names there."""

    # Making one

    @classmethod
    def create(cls, **options: Any) -> Self:
        """The function with these options, as given in code or kept by a table.

        Raises:
            ConfigurationError: an option that a table cannot keep or must not, or a variable that is not set.
        """
        given = cls._own_names(options)
        held = given.pop(VECTORS_KEY, None) or {}
        reject_unknown(given, cls.model_fields, where=cls.__name__)
        references = {name: value for name, value in given.items() if _is_reference(value)}
        for name in given.keys() - references.keys():
            _refuse_what_no_table_keeps(name, given[name])
        function = cls(**{**given, **{name: _variable(value) for name, value in references.items()}})
        function._references = references
        return function._tie_to_store(held)

    def safe_model_dump(self) -> dict[str, Any]:
        """What the table keeps: model, width, fingerprint, plain options and names of variables; no key, no object."""
        return {**self.to_config(), **self._references}

    def __getstate__(self) -> dict[Any, Any]:
        # What a variable holds stays behind, since the receiving process has a registry of its own.
        state = {name: value for name, value in super().__getstate__().items() if name not in self._references}
        return {**state, "_references": self._references}

    def __setstate__(self, state: dict[Any, Any]) -> None:
        references = state.pop("_references", {})
        super().__setstate__({**state, **{name: _variable(value) for name, value in references.items()}})
        self._references = references

    # A function is compared and looked up by what a table keeps of it: LanceDB's own way cannot hash a list.

    def __eq__(self, other: object) -> bool:
        return isinstance(other, JinaClipEmbeddings) and self.safe_model_dump() == other.safe_model_dump()

    def __hash__(self) -> int:
        return hash((self.model, self.source, self.dimensions))

    # Vectors

    def ndims(self) -> int:
        """Width of the vectors. Raises `ConfigurationError` where only a server knows it."""
        known = self.fingerprint
        if known is None:
            raise ConfigurationError(f"only the server knows the width of {self.model!r}; give dimensions=...")
        return known.dimensions

    def compute_source_embeddings(self, values: Any, *args: Any, **kwargs: Any) -> list[Any]:  # noqa: ARG002
        """One float32 vector per row of a source column, None for a row without value.

        Raises `InputError`, for an image `ImageError`, with the `index` of the bad row in its batch.
        """
        listed = _rows_of(values)
        places = [place for place, value in enumerate(listed) if value is not None]
        if not places:
            return [None] * len(listed)
        encoder = self._encoder()
        encode = encoder.encode_image if self.source == "image" else encoder.encode_text
        try:
            rows = encode([listed[place] for place in places])
        except InputError as error:
            raise error.at(places[error.index or 0]) from None
        found = dict(zip(places, rows, strict=True))
        return [found.get(place) for place in range(len(listed))]

    def compute_query_embeddings(self, query: Any, *args: Any, **kwargs: Any) -> list[Any]:  # noqa: ARG002
        """The vector of what is searched for: a `str` is words, anything else an image (a `Path`, bytes, PIL)."""
        encoder = self._encoder()
        if isinstance(query, str):
            return [encoder.encode_text(query, task=self._task_of_queries(encoder))]
        return [encoder.encode_image(query)]

    def compute_source_embeddings_with_retry(self, *args: Any, **kwargs: Any) -> list[Any]:
        """Once: the backend itself repeats what may pass, and what is broken is said at once."""
        return self.compute_source_embeddings(*args, **kwargs)

    def compute_query_embeddings_with_retry(self, *args: Any, **kwargs: Any) -> list[Any]:
        """Once, as for the source column."""
        return self.compute_query_embeddings(*args, **kwargs)


def _rows_of(values: Any) -> list[Any]:
    """The rows of an Arrow column, or of what else LanceDB takes for one."""
    if isinstance(values, str | bytes):
        return [values]
    return values.to_pylist() if isinstance(values, pa.Array | pa.ChunkedArray) else list(values)


def _is_reference(value: Any) -> bool:
    return isinstance(value, str) and value.startswith(VARIABLE)


def _variable(reference: str) -> Any:
    """What a variable of the registry holds, or the default behind its name."""
    name, colon, default = reference.removeprefix(VARIABLE).partition(":")
    try:
        return get_registry().get_var(name)
    except KeyError:
        if colon:
            return default
        raise ConfigurationError(
            f"LanceDB's registry has no variable {name!r}; set it in every process: registry.set_var({name!r}, value)"
        ) from None


def _refuse_what_no_table_keeps(name: str, value: Any) -> None:
    sensitive = name == "headers" and is_plain(value) and drop_sensitive(value or {}) != (value or {})
    if value is not None and (sensitive or name in IN_THIS_PROCESS - {"headers"} or not is_plain(value)):
        raise ConfigurationError(
            f"a table cannot keep {name!r}, and builds its function anew at every call; put the value into LanceDB's "
            f'registry: registry.set_var("{name}", value) and create({name}="{VARIABLE}{name}")'
        )
