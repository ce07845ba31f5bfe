"""`jina-clip mcp` as a real program with the demo model, as hosts start it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import anyio
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

from jina_clip_integrations.demo import gallery
from tests.mcp.conftest import image_blocks, message, names

HELLO = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}},
}


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    """The command that serves three images."""
    chosen = {image.names["en"]: image for image in gallery()}
    (tmp_path / "photos").mkdir()
    for name in ("dog face", "castle", "rocket"):
        (tmp_path / "photos" / f"{name}.webp").write_bytes(chosen[name].data())
    program = [sys.executable, "-m", "jina_clip_integrations.cli", "mcp", str(tmp_path / "photos")]
    return [*program, "--model", "demo", "--store", str(tmp_path / "store")]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """The environment, with a cache of its own."""
    return {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}


async def test_the_official_client(command: list[str], environment: dict[str, str]) -> None:
    server = StdioServerParameters(command=command[0], args=[*command[1:], "--allow-embed"], env=environment)
    with open(os.devnull, "w") as log:  # noqa: ASYNC230
        async with Client(stdio_client(server, errlog=log)) as client:
            assert "embed" in {tool.name for tool in (await client.list_tools()).tools}
            with anyio.fail_after(120):
                while (await client.call_tool("describe_collection", {})).structured_content["images"] < 3:  # noqa: ASYNC110
                    await anyio.sleep(1)
            result = await client.call_tool("search_images", {"query": "a castle", "images": 1, "show_weak": True})
            assert names(result)[0] == "castle.webp"
            assert image_blocks(result)[0][0] == "image/webp"
            assert "none of the images" in message(await client.call_tool("find_similar", {"name": "x"}))


def test_stdout_is_the_protocols_alone(command: list[str], environment: dict[str, str]) -> None:
    said = f"{json.dumps(HELLO)}\nno json\n"
    ran = subprocess.run(
        [*command, "--no-index"], input=said, capture_output=True, text=True, timeout=120, env=environment
    )
    assert ran.returncode == 0
    lines = [json.loads(line) for line in ran.stdout.splitlines()]
    assert lines[0]["result"]["serverInfo"]["name"] == "jina-clip"
    assert all(line["jsonrpc"] == "2.0" for line in lines)
