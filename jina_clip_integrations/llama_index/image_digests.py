"""Image nodes that docstores and pipeline caches recognise by what their image shows, not by its path."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import partial
from typing import Any

from llama_index.core.schema import BaseNode, ImageNode, MediaResource, Node

from ..adapter.image_digests import DIGEST_KEY, content_digest, digest_each
from ..images.sources import SourcePolicy
from ..inputs import InputParser
from ..types import OnError
from .image_inputs import has_image, parse_image


class DigestedImageNode(ImageNode):
    """An `ImageNode` whose hash covers the image's digest; once stored and loaded it is an `ImageNode` like any other.

    The base class's hash leaves out metadata, so that a docstore would not see that the image has changed.
    """

    @property
    def hash(self) -> str:
        """Hash of the node and of its image's content."""
        identity = f"{super().hash}-{self.metadata.get(DIGEST_KEY)}"
        return hashlib.sha256(identity.encode()).hexdigest()


def with_image_digests(
    nodes: Iterable[BaseNode], *, sources: SourcePolicy | None = None, on_error: OnError = "raise"
) -> list[BaseNode]:
    """Copies of the nodes with a digest of their image's content in `metadata["image_digest"]`, hidden from models.

    To be called before `IngestionPipeline.run`, which asks its docstore before the first step: an image that changed
    under its path is then upserted and embedded again, and one that did not is neither. Nodes without an image are
    handed through. Nodes need an `id_` that stays the same from run to run, such as the path.

    Args:
        nodes: Nodes and documents; they stay as they are.
        sources: What may be read (None = `SourcePolicy()`, for paths that your own code names).
        on_error: `skip` leaves out nodes whose image cannot be read, with a warning that names each.

    Raises:
        ImageError: an image that cannot be read; `index` says which node.
    """
    parser = InputParser(sources=sources or SourcePolicy())
    return list(digest_each(nodes, partial(_add_digest, parser=parser), on_error))


def _add_digest(node: BaseNode, *, parser: InputParser) -> BaseNode:
    if not has_image(node):
        return node
    changes: dict[str, Any] = {
        "metadata": {**node.metadata, DIGEST_KEY: content_digest(parse_image(node, parser))},
        "excluded_embed_metadata_keys": _with_key(node.excluded_embed_metadata_keys),
        "excluded_llm_metadata_keys": _with_key(node.excluded_llm_metadata_keys),
    }
    if isinstance(node, Node) and node.text_resource is None:
        changes["text_resource"] = MediaResource(text="")  # without it the pipeline's cache looks at no metadata
    if type(node) is not ImageNode:
        return node.model_copy(update=changes)
    return DigestedImageNode(**{name: getattr(node, name) for name in type(node).model_fields} | changes)


def _with_key(keys: list[str]) -> list[str]:
    return [*(key for key in keys if key != DIGEST_KEY), DIGEST_KEY]
