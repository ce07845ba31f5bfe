"""The tools as the official client sees them: schemas, results with structure and images, resources."""

from __future__ import annotations

import base64
import io
import json
import threading
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from PIL import Image

from jina_clip_integrations.mcp.settings import MAX_IMAGES
from tests.mcp.conftest import Connect, image_blocks, message, names


def data_uri(colour: tuple[int, int, int], size: tuple[int, int] = (24, 24)) -> str:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


async def test_what_is_offered(connect: Connect) -> None:
    async with connect() as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert set(tools) == {"describe_collection", "search_images", "find_similar", "find_duplicates"}
        for tool in tools.values():
            jsonschema.Draft202012Validator.check_schema(tool.input_schema)
            jsonschema.Draft202012Validator.check_schema(tool.output_schema)
            assert tool.description
            assert tool.annotations.read_only_hint
            assert tool.annotations.destructive_hint is False
            assert tool.annotations.open_world_hint is False
            assert all(field.get("description") for field in tool.input_schema["properties"].values())
        assert "never instructions" in client.instructions.replace("\n", " ")
        templates = (await client.list_resource_templates()).resource_templates
        assert {one.uri_template for one in templates} == {
            "jina-clip://thumbnail/{+name}{?pixels}",
            "jina-clip://full/{+name}",
        }


async def test_a_result_has_structure_text_and_images_on_request(connect: Connect) -> None:
    async with connect() as client:
        schemas = {tool.name: tool.output_schema for tool in (await client.list_tools()).tools}
        result = await client.call_tool("search_images", {"query": "red", "images": 2, "show_weak": True})
        assert names(result) == ["apple.png", "leaf.jpg", "trip/sea.png"] or names(result)[0] == "apple.png"
        jsonschema.validate(result.structured_content, schemas["search_images"])
        assert json.loads(result.content[0].text) == result.structured_content
        (kind, data), (_, second) = image_blocks(result)
        assert kind == "image/webp"
        assert Image.open(io.BytesIO(data)).convert("RGB").getpixel((5, 5))[0] > 200
        assert data != second
        hits = result.structured_content["hits"]
        assert [hit.get("image_block") for hit in hits] == [1, 2, None]
        assert (hits[0]["width"], hits[0]["height"], hits[0]["format"]) == (24, 24, "png")
        named = await client.call_tool("search_images", {"query": "red"})
        assert [block.type for block in named.content] == ["text"]


async def test_words_images_and_wishes_are_added_up(connect: Connect) -> None:
    async with connect() as client:

        async def first(**arguments: Any) -> str:
            return names(await client.call_tool("search_images", {"show_weak": True, **arguments}))[0]

        assert await first(query="green") == "leaf.jpg"
        assert await first(query="red -green +blue^3") == "trip/sea.png"
        assert await first(plus=["blue"], minus=["red"]) == "trip/sea.png"
        assert await first(image=data_uri((0, 0, 255))) == "trip/sea.png"
        assert await first(query="red", more_like=["leaf.jpg"], minus=["blue"]) == "apple.png"
        assert await first(query="blue", folder="trip") == "trip/sea.png"
        assert await first(query="red", formats=["jpg"]) == "leaf.jpg"
        assert await first(query="red", max_bytes=10**6, since="2000", until="2100") == "apple.png"


async def test_like_a_stored_image(connect: Connect, folder: Path, paint: Any) -> None:
    paint(folder / "cherry.png", "red", (9, 9))
    async with connect() as client:
        for given in ("apple.png", "jina-clip://thumbnail/apple.png", f"{folder}/apple.png"):
            found = names(await client.call_tool("find_similar", {"name": given, "top": 2}))
            assert found[0] == "cherry.png"
            assert "apple.png" not in found
        groups = (await client.call_tool("find_duplicates", {"images": 1})).structured_content["groups"]
        assert [(group["name"], group["others"], group["image_block"]) for group in groups] == [
            ("apple.png", ["cherry.png"], 1)
        ]


async def test_an_image_of_the_folder_that_is_not_indexed_yet(connect: Connect, folder: Path, paint: Any) -> None:
    async with connect() as client:
        paint(folder / "new.png", "blue")
        result = await client.call_tool("search_images", {"image": "new.png", "show_weak": True})
        assert names(result)[0] == "trip/sea.png"


async def test_the_collection_is_described(connect: Connect) -> None:
    async with connect() as client:
        about = (await client.call_tool("describe_collection", {})).structured_content
        assert (about["images"], about["folder"], about["available"]) == (3, "mine", True)
        assert about["folders"] == [{"value": "trip", "files": 2}]
        assert {"value": "png", "files": 2} in about["formats"]
        assert about["indexing"]["state"] == "done"
        assert about["since"].endswith("Z")


async def test_searchable_while_it_is_indexed(
    connect: Connect, make_source: Any, colours: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()
    embed = type(colours).embed

    def slow(backend: Any, batch: Any) -> Any:
        if batch.modality == "image":
            assert gate.wait(30)
        return embed(backend, batch)

    monkeypatch.setattr(type(colours), "embed", slow)
    source = make_source(wait=False)
    async with connect(source) as client:
        result = await client.call_tool("search_images", {"query": "red"})
        assert result.structured_content["hits"] == []
        assert "still being made" in result.structured_content["notes"][0]
        state = (await client.call_tool("describe_collection", {})).structured_content["indexing"]["state"]
        assert state in ("waiting", "running")
        gate.set()


async def test_vectors_only_where_they_are_allowed(connect: Connect) -> None:
    async with connect() as client:
        assert "no tool 'embed'" in message(await client.call_tool("embed", {"texts": ["red"]}))


async def test_vectors(connect: Connect, make_source: Any) -> None:
    async with connect(allow_embed=True) as client:
        result = await client.call_tool("embed", {"texts": ["red"], "images": ["apple.png", data_uri((255, 0, 0))]})
        red, apple, sent = result.structured_content["vectors"]
        assert len(red) == result.structured_content["dimensions"]
        assert sum(a * b for a, b in zip(apple, sent, strict=True)) > 0.98
        assert str(red[0]) not in result.content[0].text
        assert "blank" in message(await client.call_tool("embed", {"texts": [" "]}))
        assert "at most 16" in message(await client.call_tool("embed", {"texts": ["a"] * 17}))
        assert "give texts or images" in message(await client.call_tool("embed", {}))
        assert "none of the images" in message(await client.call_tool("embed", {"images": ["/etc/passwd"]}))


async def test_resources_have_their_media_type_and_a_bound(connect: Connect, folder: Path, paint: Any) -> None:
    paint(folder / "old.bmp", "red")
    async with connect(max_resource_bytes=1000) as client:
        hit = (await client.call_tool("search_images", {"query": "green"})).structured_content["hits"][0]
        for uri, kind in (
            (hit["uri"], "image/webp"),
            (f"{hit['uri']}?pixels=64", "image/webp"),
            ("jina-clip://full/leaf.jpg", "image/jpeg"),
            ("jina-clip://full/apple.png", "image/png"),
        ):
            [content] = (await client.read_resource(uri)).contents
            assert content.mime_type == kind
            assert Image.open(io.BytesIO(base64.b64decode(content.blob))).size == (24, 24)
        with pytest.raises(Exception, match=r"1,000 that are handed out; jina-clip://thumbnail/old.bmp is a small"):
            await client.read_resource("jina-clip://full/old.bmp")
        with pytest.raises(Exception, match="5 is not between 64 and 1024"):
            await client.read_resource(f"{hit['uri']}?pixels=5")


async def test_the_images_of_a_result_have_a_bound_together(connect: Connect) -> None:
    async with connect(max_result_bytes=120) as client:
        result = await client.call_tool("search_images", {"query": "red", "images": MAX_IMAGES, "show_weak": True})
        assert sum(len(data) for _, data in image_blocks(result)) <= 120
        assert "ask for fewer images" in result.structured_content["hits"][-1]["problem"]
