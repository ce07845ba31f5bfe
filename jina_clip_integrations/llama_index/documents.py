"""What readers give: image documents, which stores lose unless they are nodes, and files that were no texts."""

from __future__ import annotations

import unicodedata
import warnings
from collections.abc import Sequence
from typing import Any

from llama_index.core.schema import BaseNode, Document, ImageNode, MetadataMode, Node, NodeRelationship

from ..errors import InputError
from .image_inputs import has_image

FILE_KEYS = ("file_path", "file_name", "image_path")
"""Metadata in which readers put the name of a file; the first is what `SimpleDirectoryReader` shows to models."""

IMAGE_EXTENSIONS = (".avif", ".bmp", ".gif", ".heic", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
"""Ends of names that are certainly images, whatever this machine can read."""

LOOKED_AT = 4096
"""Characters of a text that are looked at: a file of another kind shows itself in its first block."""

MAX_UNDECODED = 0.1
"""Share of characters that no text has, from which on a text is taken for the bytes of another file."""

LONGEST_METADATA = 2000
"""Characters up to which a text may be metadata alone."""


def to_nodes(nodes: Sequence[BaseNode]) -> list[BaseNode]:
    """The nodes, in order, with image documents as image nodes; nodes that are right already stay the same objects."""
    return [_to_image_node(node) if isinstance(node, Node) and has_image(node) else node for node in nodes]


def _to_image_node(document: Node) -> ImageNode:
    """An image node with the id, metadata and relationships of a document that carries an image.

    Indexes keep image nodes with their images, and other nodes by their text, which an image document does not have.
    """
    resource, text = document.image_resource, document.text_resource
    assert resource is not None  # noqa: S101  # it has an image
    relationships = dict(document.relationships)
    if isinstance(document, Document):  # as a parser does it, so that deleting the document finds its node
        relationships[NodeRelationship.SOURCE] = document.as_related_node_info()
    return ImageNode(
        **{name: getattr(document, name) for name in _CARRIED_OVER},
        relationships=relationships,
        text=(text.text if text is not None else None) or "",
        image=resource.data.decode("ascii") if resource.data else None,
        image_path=str(resource.path) if resource.path else None,
        image_url=str(resource.url) if resource.url else None,
        image_mimetype=resource.mimetype,
    )


_CARRIED_OVER = (
    "id_",
    "embedding",
    "metadata",
    "excluded_embed_metadata_keys",
    "excluded_llm_metadata_keys",
    "metadata_separator",
    "metadata_template",
    "text_template",
)


def check_is_text(node: BaseNode) -> str:
    """What is embedded of a text node. Raises `InputError` for the bytes of a file that a reader took for a text."""
    if _is_undecoded(node.get_content(MetadataMode.NONE)[:LOOKED_AT]):
        raise InputError(
            f"{_name(node)}: not a text but the bytes of another kind of file, which the reader does not know; give "
            "SimpleDirectoryReader a reader for it (file_extractor={'.ext': ImageReader()}, pip install "
            "llama-index-readers-file) or leave it out (required_exts, exclude)"
        )
    return node.get_content(MetadataMode.EMBED)


def _is_undecoded(text: str) -> bool:
    """Whether this is a file decoded as a text that was none: characters that stand for nothing, in numbers."""
    if text.startswith(("%PDF-", "PK\3\4")):  # decodes well enough for a while
        return True
    strange = sum(1 for char in text if char not in "\t\n\r\f\v\x1b" and _stands_for_nothing(char))
    return "\0" in text or strange > MAX_UNDECODED * len(text)


def _stands_for_nothing(char: str) -> bool:
    return char == "\N{REPLACEMENT CHARACTER}" or unicodedata.category(char) == "Cc"


def _name(node: BaseNode) -> str:
    return next((str(node.metadata[key]) for key in FILE_KEYS if node.metadata.get(key)), f"node {node.node_id}")


def warn_of_image_nodes(texts: Sequence[Any]) -> None:
    """Warn, at the first text that is an image file's metadata alone: an index embeds an image node as a text."""
    name = next((found for text in texts if (found := _image_file_of(text)) is not None), None)
    if name is not None:
        warnings.warn(
            f"{name}: only the metadata of an image node is embedded, as a text. VectorStoreIndex gives image nodes "
            "to the model like that: embed them first: IngestionPipeline(transformations=[embed_model]).run(nodes=…),"
            " and build the index from what comes back",
            stacklevel=4,
        )


def _image_file_of(text: Any) -> str | None:
    """The image file that all of this text is the metadata of, in LlamaIndex's `key: value` lines; None for others."""
    if not isinstance(text, str) or len(text) > LONGEST_METADATA or ": " not in text:
        return None
    lines = [line.partition(": ") for line in text.strip().splitlines()]
    if not all(colon and " " not in key for key, colon, _ in lines):
        return None
    names = [value for key, _, value in lines if key in FILE_KEYS]
    return next((name for name in names if name.lower().endswith(IMAGE_EXTENSIONS)), None)
