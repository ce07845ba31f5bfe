"""Blocks of MCP results: every kind, and what is broken. The real tool spec is asked in tests/mcp."""

from __future__ import annotations

import base64
from types import SimpleNamespace
from typing import Any

from llama_index.core.tools import FunctionTool, ToolOutput

from jina_clip_integrations.llama_index import mcp_content_blocks, with_mcp_images

PNG = b"\x89PNG rest"


def text(content: str) -> SimpleNamespace:
    return SimpleNamespace(type="text", text=content)


def image(data: str) -> SimpleNamespace:
    return SimpleNamespace(type="image", data=data, mime_type="image/png")


def test_blocks_in_order() -> None:
    encoded = base64.b64encode(PNG).decode()
    result = SimpleNamespace(content=[text("a"), image(encoded), image("%%"), SimpleNamespace(type="audio")])
    first, shown, broken, other = mcp_content_blocks(result)
    assert (first.text, shown.resolve_image().read(), shown.image_mimetype) == ("a", PNG, "image/png")
    assert "broken" in broken.text
    assert "'audio'" in other.text
    wrapped = ToolOutput(tool_name="t", content="flat", raw_input={}, raw_output=result)
    assert mcp_content_blocks(wrapped)[0].text == "a"


async def test_a_wrapped_tool_keeps_its_arguments_and_its_name() -> None:
    async def call(**arguments: Any) -> Any:
        return SimpleNamespace(content=[text(str(sorted(arguments.items())))], is_error="bad" in arguments)

    tool = FunctionTool.from_defaults(async_fn=call, name="search", description="d", partial_params={"top": 3})
    [wrapped] = with_mcp_images([tool])
    assert wrapped.metadata.name == "search"
    output = await wrapped.acall(query="x")
    assert output.blocks[0].text == "[('query', 'x'), ('top', 3)]"
    assert output.raw_input["kwargs"] == {"query": "x", "top": 3}
    assert (await wrapped.acall(bad=1)).is_error
    assert wrapped.call(query="y").blocks[0].text == "[('query', 'y'), ('top', 3)]"
