"""Every form in which LlamaIndex carries an image reaches the model as the same pixels."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llama_index.core.base.llms.types import ImageBlock
from llama_index.core.schema import (
    Document,
    ImageDocument,
    ImageNode,
    IndexNode,
    MediaResource,
    Node,
    NodeWithScore,
    TextNode,
)
from PIL import Image

from jina_clip_integrations import SourcePolicy
from jina_clip_integrations.errors import ImageError, InputError
from jina_clip_integrations.images.encoded import InputImage
from jina_clip_integrations.inputs import InputParser
from jina_clip_integrations.llama_index import JinaClipEmbedding, image_inputs
from jina_clip_integrations.llama_index.image_inputs import has_image
from tests.expected import assert_same, of_images


def forms(path: str) -> dict[str, Any]:
    """One image, however it may be carried."""
    data = Path(path).read_bytes()
    encoded = base64.b64encode(data).decode()
    uri = f"data:image/png;base64,{encoded}"
    with Image.open(path) as opened:
        pixels = opened.copy()
    return {
        "path": path,
        "Path": Path(path),
        "file URL": Path(path).as_uri(),
        "bytes": data,
        "BytesIO": io.BytesIO(data),
        "data URI": uri,
        "PIL": pixels,
        "array": np.asarray(pixels),
        "ImageNode path": ImageNode(image_path=path),
        "ImageNode base64": ImageNode(image=encoded),
        "ImageNode data URI": ImageNode(image=uri),
        "ImageNode data URL": ImageNode(image_url=uri),
        "ImageNode resource": ImageNode(image_resource=MediaResource(path=Path(path))),
        "ImageNode captioned": ImageNode(image_path=path, text="a caption"),
        "NodeWithScore": NodeWithScore(node=ImageNode(image_path=path), score=0.5),
        "ImageDocument path": ImageDocument(image_path=path),
        "ImageDocument bytes": ImageDocument(image=data),
        "ImageDocument base64": ImageDocument(image=encoded),
        "Node path": Node(image_resource=MediaResource(path=Path(path))),
        "Node data": Node(image_resource=MediaResource(data=data)),
        "Document": Document(image_resource=MediaResource(data=data)),
        "MediaResource path": MediaResource(path=Path(path)),
        "MediaResource data": MediaResource(data=data),
        "MediaResource url": MediaResource(url=uri),
        "ImageBlock path": ImageBlock(path=Path(path)),
        "ImageBlock bytes": ImageBlock(image=data),
        "ImageBlock stream": ImageBlock(image=io.BytesIO(data)),
        "ImageBlock url": ImageBlock(url=uri),
    }


@pytest.mark.framework("llama-index/image-forms", "llama-index/data-uri-node")
async def test_every_form_is_the_same_image(call: Callable[..., Any], embedding: Any, images: list[str]) -> None:
    given = forms(images[0])
    vectors = await call(embedding, "get_image_embedding_batch", list(given.values()))
    expected = of_images(images[:1])
    right = {name: np.allclose([vector], expected, atol=1e-6) for name, vector in zip(given, vectors, strict=True)}
    assert [name for name in given if not right[name]] == []


@pytest.mark.framework("llama-index/image-forms")
@pytest.mark.parametrize("form", ["ImageNode path", "ImageDocument bytes", "Node data", "ImageBlock bytes"])
async def test_a_form_alone_and_one_in_place_of_a_list(
    call: Callable[..., Any], embedding: Any, images: list[str], form: str
) -> None:
    given = forms(images[1])[form]
    assert_same([await call(embedding, "get_image_embedding", given)], of_images(images[1:2]))
    assert_same([await call(embedding, "_get_image_embedding", given)], of_images(images[1:2]))
    with pytest.raises(InputError, match="expected a list of images"):
        await call(embedding, "get_image_embeddings", given)


@dataclass
class Parses:
    """What was looked at to find out what image it means."""

    nodes: list[Any] = field(default_factory=list)
    raw: list[Any] = field(default_factory=list)

    def clear(self) -> None:
        self.nodes, self.raw = [], []


@pytest.fixture
def parses(monkeypatch: pytest.MonkeyPatch) -> Parses:
    seen = Parses()
    item, image = image_inputs.image_item, InputParser.image

    def image_item(given: Any) -> Any:
        seen.nodes.append(given)
        return item(given)

    def parse(parser: InputParser, given: Any) -> Any:
        if not isinstance(given, InputImage):
            seen.raw.append(given)
        return image(parser, given)

    monkeypatch.setattr(image_inputs, "image_item", image_item)
    monkeypatch.setattr(InputParser, "image", parse)
    return seen


@pytest.mark.parametrize("prefix", ["", "_"], ids=["method", "hook"])
async def test_an_image_is_parsed_once(
    call: Callable[..., Any], embedding: Any, images: list[str], parses: Parses, prefix: str
) -> None:
    await call(embedding, "get_image_embedding", images[0])  # builds the encoder
    parses.clear()
    await call(embedding, f"{prefix}get_image_embedding", images[0])
    assert parses == Parses(nodes=images[:1], raw=images[:1])
    node = ImageNode(image_path=images[1])
    parses.clear()
    await call(embedding, f"{prefix}get_image_embedding", node)
    assert parses == Parses(nodes=[node], raw=[images[1]])


@pytest.mark.parametrize("method", ["get_image_embedding_batch", "get_image_embeddings", "_get_image_embeddings"])
async def test_every_image_of_a_list_is_parsed_once(
    call: Callable[..., Any], embedding: Any, images: list[str], parses: Parses, method: str
) -> None:
    await call(embedding, "get_image_embedding", images[0])
    parses.clear()
    await call(embedding, method, images)
    assert parses == Parses(nodes=images, raw=images)


async def test_another_policy_counts_from_the_next_image_on(
    call: Callable[..., Any], embedding: Any, images: list[str]
) -> None:
    await call(embedding, "get_image_embedding", images[0])
    strict = embedding.model_copy(update={"sources": SourcePolicy.agent()})
    embedding.sources = SourcePolicy.agent()
    for changed in (embedding, strict):
        with pytest.raises(ImageError, match="policy does not allow"):
            await call(changed, "get_image_embedding", images[0])


EMPTY = [ImageNode(), Node(), TextNode(text="words"), MediaResource(text="words"), ImageBlock(), Document(text="a")]


@pytest.mark.framework("llama-index/image-forms")
@pytest.mark.parametrize("empty", EMPTY, ids=lambda empty: type(empty).__name__)
async def test_what_carries_no_image_is_refused_by_index(call: Callable[..., Any], embedding: Any, empty: Any) -> None:
    with pytest.raises(InputError, match=f"input 0: this {type(empty).__name__} carries no image"):
        await call(embedding, "get_image_embedding_batch", [empty])


def test_a_url_field_never_names_a_file(embedding: Any, images: list[str]) -> None:
    with pytest.raises(ImageError, match="must start with http"):
        embedding.get_image_embedding(ImageNode(image_url=Path(images[0]).as_uri()))


def test_the_source_policy_holds_for_nodes(backend: Any, images: list[str], tmp_path: Path) -> None:
    (tmp_path / "allowed").mkdir()
    strict = JinaClipEmbedding(backend=backend, sources=SourcePolicy.agent(roots=tmp_path / "allowed"))
    with pytest.raises(ImageError, match="outside the folders"):
        strict.get_image_embedding(ImageNode(image_path=images[0]))


@pytest.mark.framework("llama-index/pipeline-order")
@pytest.mark.parametrize(
    ("node", "expected"),
    [
        (ImageNode(image_path="a.png"), True),
        (ImageNode(image_url="https://example.org/a.png", text="caption"), True),
        (Node(image_resource=MediaResource(path=Path("a.png"))), True),
        (Node(image_resource=MediaResource()), False),
        (Node(text_resource=MediaResource(text="words")), False),
        (ImageNode(text="a caption without an image"), False),
        (ImageNode(image_path="", image=""), False),
        (TextNode(text="words"), False),
        (IndexNode(text="words", index_id="a"), False),
        (Document(text="words"), False),
    ],
    ids=[
        "image node",
        "captioned URL",
        "resource with a path",
        "empty resource",
        "text resource",
        "caption alone",
        "empty image node",
        "text node",
        "index node",
        "document",
    ],
)
def test_nodes_with_an_image_are_recognised(node: Any, expected: bool) -> None:
    assert has_image(node) is expected
