"""Results of MCP tools for a model that sees: LlamaIndex's own tool flattens an image to text with base64 in it.

Works on the tools of `llama_index.tools.mcp.McpToolSpec` and asks for no package of the protocol: a result is known by
its fields.
"""

from __future__ import annotations

import binascii
from collections.abc import Iterable
from typing import Any

import pybase64
from llama_index.core.base.llms.types import ContentBlock, ImageBlock, TextBlock
from llama_index.core.tools import FunctionTool, ToolOutput


def mcp_content_blocks(result: Any) -> list[ContentBlock]:
    """The blocks of a tool's result: its texts, and an `ImageBlock` for each of its images, in order.

    Args:
        result: A `CallToolResult`, or the `ToolOutput` whose `raw_output` it is.

    Blocks of other kinds, and an image whose base64 is broken, are a text that says so.
    """
    raw = result.raw_output if isinstance(result, ToolOutput) else result
    return [_make_block(block) for block in raw.content]


def with_mcp_images(tools: Iterable[FunctionTool]) -> list[FunctionTool]:
    """The tools of a `McpToolSpec`, with an output that has a block for every image, and that tells an error as one.

    tools = with_mcp_images(await McpToolSpec(client).to_tool_list_async())
    """
    return [
        _ImageTool(async_fn=tool.async_fn, metadata=tool.metadata, partial_params=tool.partial_params) for tool in tools
    ]


class _ImageTool(FunctionTool):
    """A tool whose function gives the result of an MCP tool."""

    def call(self, *args: Any, **kwargs: Any) -> ToolOutput:
        return _add_blocks(super().call(*args, **kwargs))

    async def acall(self, *args: Any, **kwargs: Any) -> ToolOutput:
        return _add_blocks(await super().acall(*args, **kwargs))


def _add_blocks(output: ToolOutput) -> ToolOutput:
    failed = bool(getattr(output.raw_output, "is_error", False))
    return output.model_copy(update={"blocks": mcp_content_blocks(output), "is_error": failed})


def _make_block(block: Any) -> ContentBlock:
    kind = getattr(block, "type", None)
    if kind == "text":
        return TextBlock(text=block.text)
    if kind != "image":
        return TextBlock(text=f"[a block of the kind {kind!r}, which is not shown]")
    try:
        data = pybase64.b64decode(block.data, validate=True)
    except (binascii.Error, ValueError):
        return TextBlock(text="[an image whose base64 is broken]")
    return ImageBlock(image=data, image_mimetype=block.mime_type)
