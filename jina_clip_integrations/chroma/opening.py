"""Opening a collection such that another model or width is noticed at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chromadb.api import ClientAPI
from chromadb.api.models.Collection import Collection

from ..errors import ConfigurationError
from ..images.sources import SourcePolicy
from .embedding_function import NAME, JinaClipEmbeddingFunction, check_same_vectors
from .image_loader import ImageLoader


def open_collection(
    client: ClientAPI,
    name: str,
    embedding_function: JinaClipEmbeddingFunction | None = None,
    *,
    sources: SourcePolicy | None = None,
    metadata: Mapping[str, Any] | None = None,
    **options: Any,
) -> Collection:
    """The collection of that name, made if there is none, with its embedding function and a loader for its images.

    Chroma compares only the names of embedding functions, and notices another width at the first query; this compares
    model, width and rendering before anything is embedded. New collections also get the fingerprint as metadata.

    Args:
        client: Any client of Chroma's.
        name: Of the collection.
        embedding_function: None = the one that an existing collection was made with.
        sources: Which URIs its images may have, as for `ImageLoader`.
        metadata: Further metadata of a new collection.
        **options: More arguments of `client.get_or_create_collection`, such as `configuration`.

    Raises:
        ConfigurationError: vectors of another model or width, a collection that does not say whose its vectors are,
            or one that does not exist where no embedding function is given.
    """
    function = embedding_function or _function_of(client, name)
    fingerprint = function.fingerprint
    collection = client.get_or_create_collection(
        name,
        embedding_function=function,
        data_loader=ImageLoader(sources),
        metadata={**(metadata or {}), **({} if fingerprint is None else fingerprint.to_metadata())} or None,
        **options,
    )
    _check_vectors(collection, function)
    return collection


def _function_of(client: ClientAPI, name: str) -> JinaClipEmbeddingFunction:
    if not any(one.name == name for one in client.list_collections()):
        raise ConfigurationError(f"there is no collection {name!r}; to make one pass an embedding function")
    held = client.get_collection(name, embedding_function=None).configuration_json.get("embedding_function") or {}
    if held.get("name") != NAME:
        raise ConfigurationError(
            f"collection {name!r} was made with {held.get('name', 'no embedding function')}, not with {NAME}; "
            "pass the embedding function of its vectors"
        )
    return JinaClipEmbeddingFunction.build_from_config(held["config"])


def _check_vectors(collection: Collection, function: JinaClipEmbeddingFunction) -> None:
    where = f"collection {collection.name!r}"
    held = collection.configuration_json.get("embedding_function") or {}
    fingerprint = function.fingerprint
    if held.get("name") == NAME:
        check_same_vectors(function.get_config(), held["config"], where=where)
    elif fingerprint is not None:  # made without a function, by an integration of LangChain or LlamaIndex
        fingerprint.check(collection.metadata, where=where)
