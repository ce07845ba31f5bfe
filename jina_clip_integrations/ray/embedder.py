"""`JinaClipBatchEmbedder`: the encoder as a callable class for `ray.data.Dataset.map_batches`."""

from __future__ import annotations

import os
from typing import Any

import pyarrow as pa

from ..encoder import JinaClipEncoder
from ..errors import ConfigurationError, InputError
from ..retrieval.fingerprint import model_fingerprint
from ..retrieval.vector_table import EMBEDDING, TableInfo, list_type, to_list_array
from ..settings import DEFAULT_MODEL
from .recipe import BackendFactory, EncoderRecipe
from .rows import embed_inputs, read_inputs

ERROR = "error"
"""Name of the column that says why a row has no vector."""


class JinaClipBatchEmbedder:
    """Adds vectors to the rows of a Ray dataset.

        plan = WorkerPlan.for_cluster(backend="local")
        dataset.map_batches(
            JinaClipBatchEmbedder,
            fn_constructor_kwargs={"image": "photo", "model": "jina-clip-v2", "backend": "local"},
            batch_format="pyarrow", batch_size=256, **plan.map_arguments(),
        )

    Each actor loads its own encoder with its first batch, and computes with as many threads as it has CPUs. A text
    column holds strings; an image column paths, URLs, `s3://` and `gs://` addresses, encoded bytes, rows of `datasets`
    (`bytes` and `path`), or arrays `(H, W, 3)` uint8, also of differing sizes. With both columns a row has a value in
    one of them. A row that cannot be embedded gets a null vector and its reason in the column `error`; nothing else is
    lost of its batch. Rows stay what and where they are within their batch; that batches stay in order is for
    `DataContext.execution_options.preserve_order` to say.
    """

    def __init__(
        self,
        *,
        text: str | None = None,
        image: str | None = None,
        output: str = EMBEDDING,
        error: str = ERROR,
        task: str | None = None,
        dtype: str = "float32",
        model: str | os.PathLike[str] = DEFAULT_MODEL,
        backend: str | BackendFactory = "api",
        **encoder_options: Any,
    ) -> None:
        """
        Args:
            text: Name of the column of texts; None = none.
            image: Name of the column of images; None = none.
            output: Name of the new column of vectors: a list of fixed width, null for a row without one.
            error: Name of the new column of reasons: a string, null for a row with a vector.
            task: None, or a task of the model for the texts, such as `retrieval.query`.
            dtype: `float32` or `float16`.
            model: As for `JinaClipEncoder`.
            backend: A backend's name, or a function or class that makes one in the actor.
            encoder_options: More options of `JinaClipEncoder` and of the backend.

        Raises:
            ConfigurationError: no column, an unknown dtype, a live object that cannot travel.
        """
        if text is None and image is None:
            raise ConfigurationError("name the column to embed: text=..., image=..., or both")
        self.text, self.image = text, image
        self.output, self.error, self.task, self.dtype = output, error, task, dtype
        list_type(-1, dtype)  # an unknown one is refused here, not in an actor
        self.recipe = EncoderRecipe(model, backend, **encoder_options)
        self._encoder: JinaClipEncoder | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}(text={self.text!r}, image={self.image!r}, recipe={self.recipe!r})"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_encoder": None}

    @property
    def encoder(self) -> JinaClipEncoder:
        """The encoder of this process, opened when it is first asked for."""
        if self._encoder is None:
            self._encoder = self.recipe.open_in_worker()
        return self._encoder

    def __call__(self, table: pa.Table) -> pa.Table:
        """The table with the two new columns, in the order of its rows; model and width in the schema's metadata.

        Raises:
            ConfigurationError: a batch that is no Arrow table; options that the encoder refuses.
            InputError: a column that is not there.
            BackendError: the backend failed, which is no fault of a row.
        """
        if not isinstance(table, pa.Table):
            raise ConfigurationError(
                'JinaClipBatchEmbedder takes Arrow tables: map_batches(..., batch_format="pyarrow")'
            )
        for name in (self.output, self.error):
            if name in table.column_names:
                raise InputError(f"the table has a column {name!r} already; choose another name with output= or error=")
        encoder = self.encoder
        inputs = read_inputs(table, self.text, self.image, encoder.sources)
        vectors, errors = embed_inputs(encoder, inputs, self.task, lambda: known_width(encoder))
        reasons = pa.array([errors.get(row) for row in range(len(inputs))], pa.string())
        column = to_list_array(vectors, list_type(vectors.shape[1], self.dtype))
        table = table.append_column(self.output, column).append_column(self.error, reasons)
        metadata = table_info(encoder, vectors.shape[1], self.task).to_metadata()
        return table.replace_schema_metadata({**(table.schema.metadata or {}), **metadata})


def known_width(encoder: JinaClipEncoder) -> int:
    """Width of the encoder's vectors; where only a server knows it, one short text is embedded."""
    return encoder.dimensions or int(encoder.encode_text("width").shape[-1])


def table_info(encoder: JinaClipEncoder, width: int, task: str | None) -> TableInfo:
    """What a table of this encoder's vectors says in its metadata."""
    colors, normalized = str(encoder.rendering.colors), encoder.normalize
    size = encoder.reduced_image_size
    fingerprint = model_fingerprint(encoder.model, width, normalize=normalized, colors=colors, image_size=size)
    return TableInfo(model=encoder.model, dimensions=width, normalized=normalized, task=task, fingerprint=fingerprint)
