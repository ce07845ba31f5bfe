"""Both frameworks as they are, asking a server on loopback."""

from __future__ import annotations

import json
from typing import Any

from jina_clip_integrations.llama_index import mcp_content_blocks, with_mcp_images


async def test_langchain(serve: Any) -> None:
    from langchain_core._api import suppress_langchain_beta_warning

    with suppress_langchain_beta_warning():
        from langchain.mcp import MCPAdapter
    async with MCPAdapter(serve()) as adapter:
        tools = {tool.name: tool for tool in await adapter.list_tools()}
        assert tools["search_images"].metadata["mcp"]["tool"]["annotations"]["read_only_hint"] is True
        call = {"name": "search_images", "args": {"query": "blue", "images": 1}, "id": "1", "type": "tool_call"}
        answer = await tools["search_images"].ainvoke(call)
        assert [block["type"] for block in answer.content] == ["text", "text", "image"]
        assert answer.content[2]["mime_type"] == "image/webp"
        assert answer.artifact["structured_content"]["hits"][0]["name"] == "trip/sea.png"
        wrong = await tools["search_images"].ainvoke({**call, "args": {"query": "+"}})
        assert wrong.status == "error"
        assert "not understood at character 1" in str(wrong.content)


async def test_llama_index(serve: Any) -> None:
    from llama_index.tools.mcp import BasicMCPClient, McpToolSpec

    client = BasicMCPClient(serve(), timeout=60)
    plain = await McpToolSpec(client, allowed_tools=["search_images"]).to_tool_list_async()
    [tool] = with_mcp_images(plain)
    assert tool.metadata == plain[0].metadata
    output = await tool.acall(query="blue", images=1)
    assert [block.block_type for block in output.blocks] == ["text", "text", "image"]
    assert output.blocks[2].image_mimetype == "image/webp"
    assert json.loads(output.blocks[0].text)["hits"][0]["name"] == "trip/sea.png"
    assert not output.is_error
    wrong = await tool.acall(query="+")
    assert wrong.is_error
    assert "not understood" in wrong.content
    flat = await plain[0].acall(query="blue", images=1)  # what the framework does by itself
    assert [block.block_type for block in flat.blocks] == ["text"]
    assert [block.block_type for block in mcp_content_blocks(flat)] == ["text", "text", "image"]
    await client.http_client.aclose()
