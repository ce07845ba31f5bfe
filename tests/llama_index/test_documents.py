"""What readers give: image documents, and files that a reader took for texts."""

from __future__ import annotations

import base64
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llama_index.core import SimpleDirectoryReader, VectorStoreIndex
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.schema import (
    Document,
    ImageDocument,
    ImageNode,
    MediaResource,
    MetadataMode,
    Node,
    NodeRelationship,
    RelatedNodeInfo,
    TextNode,
)

from jina_clip_integrations.errors import InputError
from jina_clip_integrations.llama_index import JinaClipEmbedding
from tests.expected import of_images, of_texts


def base64_of(path: str) -> str:
    return base64.b64encode(Path(path).read_bytes()).decode()


class TestImageDocuments:
    async def test_they_come_back_as_image_nodes(
        self, call: Callable[..., Any], embedding: Any, images: list[str]
    ) -> None:
        data = base64_of(images[2])
        documents = [
            ImageDocument(image_path=images[0], metadata={"file_path": images[0]}, id_="first"),
            Document(text="words"),
            Document(image_resource=MediaResource(path=Path(images[1])), text="a caption"),
            ImageDocument(image=data, image_mimetype="image/png"),
            Node(image_resource=MediaResource(path=Path(images[0]))),
        ]
        nodes = await call(embedding, "__call__", documents)
        assert [type(node) for node in nodes] == [ImageNode, Document, ImageNode, ImageNode, ImageNode]
        assert nodes[1] is documents[1]
        assert [node.node_id for node in nodes] == [document.node_id for document in documents]
        rows = [node.embedding for node in nodes]
        np.testing.assert_allclose([rows[i] for i in (0, 2, 3, 4)], of_images([*images, images[0]]), atol=1e-6)
        np.testing.assert_allclose(rows[1], of_texts(["words"])[0], atol=1e-6)
        assert [nodes[0].image_path, nodes[2].image_path] == images[:2]
        assert (nodes[2].text, nodes[3].image, nodes[3].image_mimetype) == ("a caption", data, "image/png")

    async def test_all_else_is_carried_over(self, call: Callable[..., Any], embedding: Any, images: list[str]) -> None:
        document = ImageDocument(
            image_path=images[0],
            text="a caption",
            metadata={"file_path": images[0], "secret": "x"},
            excluded_embed_metadata_keys=["secret"],
            excluded_llm_metadata_keys=["file_path"],
            metadata_template="{key} = {value}",
            text_template="{metadata_str}|{content}",
            relationships={NodeRelationship.NEXT: RelatedNodeInfo(node_id="other")},
        )
        [node] = await call(embedding, "__call__", [document])
        for mode in MetadataMode:
            assert node.get_content(mode) == document.get_content(mode)
        assert node.next_node.node_id == "other"
        assert node.ref_doc_id == document.id_  # by which an index deletes and refreshes documents

    def test_a_url_stays_one(self, embedding: Any) -> None:
        url = "https://example.org/a.png"
        from jina_clip_integrations.llama_index.documents import to_nodes

        [node] = to_nodes([Document(image_resource=MediaResource(url=url))])
        assert (node.image_url, node.image_path, node.image) == (url, None, None)


def undecoded(path: str) -> str:
    """The bytes of a file as a reader without a reader for it decodes them."""
    return Path(path).read_bytes().decode("utf-8", "ignore")


class TestFilesTakenForTexts:
    @pytest.mark.parametrize(
        "text",
        [
            "\0",
            "GIF89a\x01\x00\x02\x03",
            "%PDF-1.7\n1 0 obj",
            "PK\3\4word/document.xml",
            "\ufffd\ufffd\ufffdJFIF",
            None,
        ],
    )
    async def test_they_are_refused_by_name(
        self, call: Callable[..., Any], embedding: Any, images: list[str], text: str | None
    ) -> None:
        bytes_of_a_file = Document(text=text or undecoded(images[0]), metadata={"file_path": "/data/photo.xyz"})
        with pytest.raises(InputError, match=r"/data/photo\.xyz: not a text but the bytes") as caught:
            await call(
                embedding, "__call__", [TextNode(text="words"), ImageNode(image_path=images[1]), bytes_of_a_file]
            )
        assert caught.value.index == 2
        assert "file_extractor" in str(caught.value)

    async def test_without_a_name_by_its_id(self, call: Callable[..., Any], embedding: Any) -> None:
        with pytest.raises(InputError, match="node the-id: not a text"):
            await call(embedding, "__call__", [TextNode(text="\0\1", id_="the-id")])

    @pytest.mark.parametrize(
        "text",
        ["", "words", "a\tb\r\nc\fd", "ein langes Wort \ufffd " * 20, "日本語のテキスト", "🙂" * 9, "see %PDF- and PK"],
    )
    async def test_texts_are_not(self, call: Callable[..., Any], embedding: Any, text: str) -> None:
        [node] = await call(embedding, "__call__", [TextNode(text=text)])
        np.testing.assert_allclose(node.embedding, of_texts([text])[0], atol=1e-6)

    def test_a_reader_that_does_not_know_a_format(self, embedding: Any, images: list[str], tmp_path: Path) -> None:
        folder = tmp_path / "read"
        folder.mkdir()
        (folder / "photo.bmpx").write_bytes(Path(images[0]).read_bytes())
        pipeline = IngestionPipeline(transformations=[embedding], disable_cache=True)
        with pytest.raises(InputError, match=r"photo\.bmpx: not a text"):
            pipeline.run(documents=SimpleDirectoryReader(str(folder)).load_data())


class TestImageNodesInAnIndex:
    """`VectorStoreIndex` hands an image node's metadata to the model as a text, with nothing else to see there."""

    def test_their_file_names_are_warned_of(self, embedding: JinaClipEmbedding, images: list[str]) -> None:
        nodes = [
            TextNode(text="words"),
            ImageNode(image_path=images[0], metadata={"file_path": images[0], "page_label": "3"}),
        ]
        with pytest.warns(UserWarning, match=r"only the metadata of an image node is embedded, as a text"):
            VectorStoreIndex(nodes, embed_model=embedding)

    def test_nodes_of_the_pipeline_are_not(self, embedding: JinaClipEmbedding, images: list[str]) -> None:
        nodes = [ImageNode(image_path=path, metadata={"file_path": path}) for path in images]
        VectorStoreIndex(embedding(nodes), embed_model=embedding)

    @pytest.mark.parametrize(
        "text",
        [
            "file_path: notes.txt",
            "see file_path: a.png",
            "file_path: a.png\n\nA red bicycle leans on a wall.",
            "a.png",
            "title: a.png",
            "",
        ],
    )
    async def test_texts_are_not(self, call: Callable[..., Any], embedding: Any, text: str) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            await call(embedding, "get_text_embedding_batch", [text])
