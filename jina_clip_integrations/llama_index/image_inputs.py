"""The forms in which LlamaIndex carries an image, turned into images. Nothing is opened here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from llama_index.core.base.llms.types import ImageBlock
from llama_index.core.schema import BaseNode, ImageNode, MediaResource, Node, NodeWithScore

from ..errors import InputError
from ..images.encoded import InputImage
from ..inputs import InputParser, all_valid, many_items, parse


def parse_image(given: Any, parser: InputParser) -> InputImage:
    """The image that a node, a block, a resource or a plain image means. Raises `InputError`.

    Text that a node carries decides nothing here: data beats path beats URL, as in LlamaIndex itself. A URL is left to
    `parser`, which fetches it under its source policy and checks the answer.
    """
    if isinstance(given, InputImage):
        return given  # parsed by the public method already
    item = image_item(given)
    if item is None:
        return parser.image(given)
    if not item:
        raise InputError(f"this {type(_unwrap(given)).__name__} carries no image: neither data nor path nor URL")
    image = parser.item(item)
    assert isinstance(image, InputImage)  # noqa: S101  # an item without text is never a str
    return image


def parse_images(given: Iterable[Any], parser: InputParser) -> list[InputImage]:
    """The images, in order. Raises `InputError` naming the index of what carries none."""
    return all_valid(parse(given, partial(parse_image, parser=parser)))


def has_image(node: BaseNode) -> bool:
    """Whether a node carries an image, captioned or not."""
    return bool(image_item(node))


def node_list(nodes: Any) -> Sequence[BaseNode]:
    """The nodes of an ingestion step. Raises `InputError` for anything else, naming its index."""
    if isinstance(nodes, (str, BaseNode)):
        raise InputError(f"expected a list of nodes, got one {type(nodes).__name__}; pass [node]")
    listed = nodes if isinstance(nodes, list) else list(many_items(nodes))
    for index, node in enumerate(listed):
        if not isinstance(node, BaseNode):
            hint = "its .node" if isinstance(node, NodeWithScore) else 'TextNode(text="…") or ImageNode(image_path="…")'
            raise InputError(f"an ingestion step takes nodes, not a {type(node).__name__}; pass {hint}", index=index)
    return listed


def image_item(given: Any) -> Mapping[str, Any] | None:
    """An item of the encoder for what LlamaIndex's objects carry, empty if nothing; None for anything else."""
    given = _unwrap(given)
    if isinstance(given, ImageNode):  # has fields of its own, and puts an `image_resource` into them
        return _make_item(given.image, given.image_path, given.image_url)
    if isinstance(given, ImageBlock):
        return _block_item(given)
    if isinstance(given, Node):
        return {} if given.image_resource is None else _resource_item(given.image_resource)
    if isinstance(given, MediaResource):
        return _resource_item(given)
    return {} if isinstance(given, BaseNode) else None


def _unwrap(given: Any) -> Any:
    return given.node if isinstance(given, NodeWithScore) else given


def _resource_item(resource: MediaResource) -> Mapping[str, Any]:
    return _make_item(resource.data, resource.path, resource.url)


def _block_item(block: ImageBlock) -> Mapping[str, Any]:
    if block.image is not None and not isinstance(block.image, bytes):
        return {"image": block.image}  # an open file; the block itself has turned bytes into base64
    return _make_item(block.image, block.path, block.url)


def _make_item(encoded: str | bytes | None, path: Any, url: Any) -> Mapping[str, Any]:
    if encoded:
        return {"type": "image", "base64": encoded.decode("ascii") if isinstance(encoded, bytes) else encoded}
    if path:
        return {"image": str(path)}
    # As a content block, so that a URL that names a file is refused: nodes come from stores, which strangers may fill.
    return {"type": "image", "url": str(url)} if url else {}
