"""The embedding function that Chroma keeps by name and options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from chromadb.api.types import Embeddable, Embeddings, Space
from chromadb.utils.embedding_functions import register_embedding_function

from ..adapter.stored_options import VECTORS_KEY, StoredOptions
from ..errors import ConfigurationError, InputError
from ..inputs import InputParser, all_valid, parse
from ..retrieval.fingerprint import VectorFingerprint
from .image_loader import LoadedImages

NAME = "jina_clip"
"""Under which Chroma finds this class again; `jina` is its own class for texts."""


@register_embedding_function
class JinaClipEmbeddingFunction(StoredOptions):
    """Jina CLIP for Chroma: documents and images as vectors of one space.

        client.create_collection("photos", embedding_function=JinaClipEmbeddingFunction(model="jina-clip-v2"))

    The collection keeps model, width and options, and never a key: who opens it needs this package imported, and a key
    in the environment. Construction opens nothing. Options that are left out have the backend's defaults.

    Args:
        model: `jina-clip-v1`, `jina-clip-v2`, `demo`, a checkpoint folder or a Hub id (`model_name` works too).
        backend: `api`, `local`, `onnx`, `openvino`, `sagemaker` or an `EmbeddingBackend` object; no collection can keep
            that one.
        dimensions: Width of the vectors; None = the model's own.
        api_key_env_var: Environment variable that holds the key, if under another name than usual.
        query_task: `auto` gives queries the model's instruction where it has one; None turns it off.
        **options: Every option of the encoder and of the chosen backend, under its own name.

    Raises:
        pydantic.ValidationError: an unknown option, or one that the chosen backend cannot honour.
        ConfigurationError: on first use, a missing key, or vectors that are not those of the collection.
    """

    def __call__(self, input: Embeddable) -> Embeddings:  # the name that Chroma calls it by
        """One float32 vector per document (a `str`) or image (an array, or whatever else `encode_image` takes).

        Raises `InputError`, for an image `ImageError`, with the `index` of the one that cannot be embedded.
        """
        return list(self._encoder().encode(self._items(input)))

    def embed_query(self, input: Embeddable) -> Embeddings:
        """The same for queries: texts get the model's query instruction where `query_task` asks for it."""
        encoder = self._encoder()
        return list(encoder.encode(self._items(input), task=self._task_of_queries(encoder)))

    def embed_with_retries(self, input: Embeddable, **retry_kwargs: Any) -> Embeddings:  # noqa: ARG002  # as Chroma's
        """The same as a call: the backend repeats what may pass, and a bad image stays bad."""
        return self(input)

    def _items(self, given: Any) -> list[dict[str, Any]]:
        if isinstance(given, LoadedImages):
            parser = InputParser(sources=given.sources, rendering=self.rendering)
            return [{"image": image} for image in all_valid(parse(given.uris, parser.image))]
        if isinstance(given, str) or not isinstance(given, Sequence | np.ndarray):
            raise InputError(f"expected a list of documents and images, not one {type(given).__name__}")
        return [{"text": item} if isinstance(item, str) else {"image": item} for item in given]

    # What Chroma keeps

    @staticmethod
    def name() -> str:
        """The name in Chroma's registry."""
        return NAME

    def default_space(self) -> Space:
        """Cosine."""
        return "cosine"

    def supported_spaces(self) -> list[Space]:
        """Vectors of unit length rank alike in all three; those of raw length by direction only."""
        return ["cosine", "l2", "ip"] if self.normalize else ["cosine"]

    def is_legacy(self) -> bool:
        """Never: there is always a configuration to keep."""
        return False

    def get_config(self) -> dict[str, Any]:
        """What the collection keeps: model, width, fingerprint and plain options; no key, no header, no object."""
        return self.to_config()

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> JinaClipEmbeddingFunction:
        """The function that a collection was made with. Raises `ConfigurationError` for what no store may say."""
        return JinaClipEmbeddingFunction.from_config(config)

    @staticmethod
    def validate_config(config: dict[str, Any]) -> None:
        """Raise `ConfigurationError` for a configuration that `build_from_config` would not take."""
        JinaClipEmbeddingFunction.from_config(config)

    def validate_config_update(self, old_config: dict[str, Any], new_config: dict[str, Any]) -> None:
        """Raise `ConfigurationError` if the vectors would no longer compare with those that are stored."""
        check_same_vectors(new_config, old_config, where="the collection")


def check_same_vectors(ours: Mapping[str, Any], held: Mapping[str, Any], *, where: str) -> None:
    """Raise `ConfigurationError` unless vectors of these two configurations can be compared."""
    fingerprint = VectorFingerprint.from_metadata(ours.get(VECTORS_KEY))
    if fingerprint is not None and VECTORS_KEY in held:
        fingerprint.check(held[VECTORS_KEY], where=where)
        return
    for name in ("model", "dimensions"):  # a server's model, whose width nobody knows here
        if ours.get(name) != held.get(name):
            raise ConfigurationError(
                f"{where} has {name}={held.get(name)!r}, and the embedding function {name}={ours.get(name)!r}: "
                "use the one it was made with, or start a new collection"
            )
