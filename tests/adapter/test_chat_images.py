"""Images for a chat model, in the form of either framework."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.schema import ImageNode, NodeWithScore
from PIL import Image

from jina_clip_integrations import SourcePolicy
from jina_clip_integrations.adapter.chat_images import ChatImage
from jina_clip_integrations.errors import ImageError
from jina_clip_integrations.langchain import image_block
from jina_clip_integrations.llama_index import content_blocks
from tests.expected import bytes_of

TRUSTED = SourcePolicy.trusted()
Show = Callable[..., ChatImage]


def langchain_block(uri: Any, **options: Any) -> ChatImage:
    block = image_block(uri, **options)
    assert block["type"] == "image"
    if "base64" in block:
        return ChatImage(data=base64.b64decode(block["base64"]), mime_type=block["mime_type"])
    return ChatImage(url=block["url"])


def llama_index_block(uri: Any, **options: Any) -> ChatImage:
    where = "image_url" if str(uri).startswith("http") else "image_path"
    [block] = content_blocks([NodeWithScore(node=ImageNode(**{where: str(uri)}))], on_error="raise", **options)
    if block.url is not None:
        assert block.image is None
        return ChatImage(url=str(block.url))
    return ChatImage(data=block.resolve_image().read(), mime_type=block.image_mimetype)


@pytest.fixture(params=[langchain_block, llama_index_block], ids=["langchain", "llama_index"])
def show(request: pytest.FixtureRequest) -> Show:
    """What a chat model gets of an image."""
    function: Show = request.param
    return function


def test_a_file_is_sent_as_it_is_with_its_type(show: Show, images: list[str]) -> None:
    assert show(images[0], sources=TRUSTED) == ChatImage(data=bytes_of(images[0]), mime_type="image/png")


def test_a_url_stays_a_url(show: Show) -> None:
    assert show("https://example.org/cat.png") == ChatImage(url="https://example.org/cat.png")


@pytest.mark.parametrize(
    ("written_as", "mime_type"), [("JPEG", "image/jpeg"), ("WEBP", "image/webp"), ("GIF", "image/gif")]
)
def test_the_type_follows_from_the_content_not_the_name(
    show: Show, tmp_path: Path, written_as: str, mime_type: str
) -> None:
    Image.new("RGB", (8, 8), "red").save(tmp_path / "a.png", format=written_as)
    assert show(tmp_path / "a.png", sources=TRUSTED).mime_type == mime_type


@pytest.mark.parametrize("written_as", ["BMP", "TIFF"])
def test_what_chat_models_do_not_take_is_sent_as_png(show: Show, tmp_path: Path, written_as: str) -> None:
    Image.new("RGB", (8, 8), "red").save(tmp_path / "a", format=written_as)
    sent = show(tmp_path / "a", sources=TRUSTED)
    assert sent.mime_type == "image/png"
    assert sent.data is not None
    with Image.open(io.BytesIO(sent.data)) as opened:
        assert opened.getpixel((4, 4)) == (255, 0, 0)


def test_by_default_no_file_is_read(show: Show, images: list[str]) -> None:
    with pytest.raises(ImageError, match="policy does not allow"):
        show(images[0])
    assert show(images[0], sources=SourcePolicy.agent(roots=Path(images[0]).parent)).data
    with pytest.raises(ImageError, match="schemes allowed: https"):
        show("http://example.org/cat.png")


def test_what_is_no_image_is_refused(show: Show, tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_text("a secret")
    with pytest.raises(ImageError, match="not an image"):
        show(tmp_path / "secret.png", sources=TRUSTED)
