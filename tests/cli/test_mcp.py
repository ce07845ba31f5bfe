"""`jina-clip mcp`: options, what is refused at the start, and a store that somebody else has open."""

from __future__ import annotations

import argparse
import io
import logging
import socket
from pathlib import Path
from typing import Any

import pytest

from jina_clip_integrations import JinaClipEncoder
from jina_clip_integrations.cli import mcp as command
from jina_clip_integrations.cli.main import build_parser
from jina_clip_integrations.cli.served_folder import choose_token
from jina_clip_integrations.collections.folder import FolderCollection
from jina_clip_integrations.images.sources import AGENT_MAX_BYTES


@pytest.fixture(autouse=True)
def cache_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's cache is a folder of the test."""
    monkeypatch.setattr("jina_clip_integrations.collections.locations.cache_folder", lambda: tmp_path / "home")


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """A host that starts the server and closes the connection at once; the servers that were started."""
    started: list[Any] = []
    monkeypatch.setattr(
        "jina_clip_integrations.mcp.server.ImageSearchServer.run", lambda self, kind: started.append(self)
    )
    return started


def parse(*words: object) -> argparse.Namespace:
    arguments = ["mcp", *map(str, words)]
    return build_parser(arguments).parse_args(arguments)


def test_the_agents_policy_holds(run: Any, folder: Path, colours: Any, tmp_path: Path, stdin: list[Any]) -> None:
    ran = run("mcp", folder, "--store", tmp_path / "store", "--max-calls", 7, "--allow-embed", *colours.options)
    assert (ran.code, ran.out) == (0, "")
    [server] = stdin
    assert server.service.settings.max_calls_per_minute == 7
    assert server.service.settings.allow_embed
    with command.open_collection(parse(folder, "--store", tmp_path / "store", *colours.options)) as collection:
        policy = collection.encoder.sources
        assert policy.roots == (folder.resolve(),)
        assert policy.schemes == ()
        assert not policy.hard_links
        assert policy.max_bytes == AGENT_MAX_BYTES


def test_what_cannot_get_better_ends_it(run: Any, tmp_path: Path, folder: Path, stdin: list[Any]) -> None:
    for words, expected in (
        ((tmp_path / "nowhere",), "no folder"),
        ((folder, "--model", "nonsense-v9", "--backend", "local"), "nonsense-v9"),
        ((folder, "--http", "--port", "99999"), "'99999' is not a port number"),
    ):
        ran = run("mcp", *words)
        assert ran.code == 2
        assert ran.out == ""
        assert expected in ran.err
        assert "Traceback" not in ran.err
    assert stdin == []


def test_a_port_in_use(run: Any, folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ran = run("mcp", folder, "--http", "--port", taken.getsockname()[1], "--model", "demo")
    assert ran.code == 2
    assert "cannot listen on 127.0.0.1" in ran.err
    assert "--port 0 picks a free one" in ran.err


def test_a_store_in_use_is_said_and_tried_again(
    run: Any, folder: Path, colours: Any, tmp_path: Path, stdin: list[Any]
) -> None:
    store = tmp_path / "store"
    with FolderCollection.open(folder, encoder=JinaClipEncoder(backend=colours), store=store):
        ran = run("mcp", folder, "--store", store, *colours.options)
    assert ran.code == 0
    assert "in use by another program" in ran.err
    assert "start one server with --http" in ran.err
    assert len(stdin) == 1


def test_tokens() -> None:
    here, named = parse("x"), parse("x", "--token")
    assert choose_token(here, {}, command.TOKEN_VARIABLE) is None
    assert choose_token(here, {command.TOKEN_VARIABLE: " 'mine' "}, command.TOKEN_VARIABLE) == "mine"
    made = choose_token(named, {}, command.TOKEN_VARIABLE)
    assert made is not None
    assert len(made) >= 24
    assert choose_token(parse("x", "--host", "0.0.0.0"), {}, command.TOKEN_VARIABLE) != made


def test_logs_go_to_stderr_and_act_on_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    root, stream = logging.getLogger(), io.StringIO()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr("sys.stderr", stream)
    command.log_to_stderr()
    logging.getLogger("any").warning("name %s", "\x1b[2J")
    assert stream.getvalue() == "WARNING name \\x1b[2J\n"
    root.handlers[0].close()
