"""`docs/command-line.md` says what the command does."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from jina_clip_integrations.cli.main import COMMANDS, build_parser
from jina_clip_integrations.cli.messages import BROKEN_PIPE, EXIT_CODES

PAGE = (Path(__file__).parents[2] / "docs" / "command-line.md").read_text("utf-8")
BLOCKS = re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL)
SHOWN = [line for block in BLOCKS for line in block.splitlines() if line.startswith("$ ")]


@pytest.mark.parametrize("line", SHOWN)
def test_every_command_that_is_shown_can_be_given(line: str) -> None:
    words = next(part.strip() for part in line[2:].split("|") if part.strip().startswith("jina-clip"))
    arguments = shlex.split(words, comments=True)[1:]
    assert build_parser(arguments).parse_args(arguments).run


def test_every_command_is_in_the_table() -> None:
    table = PAGE.split("## ")[0]
    for name in COMMANDS:
        assert f"`{name}`" in table, name


def test_every_exit_code_is_explained() -> None:
    codes = re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE)
    assert [int(code) for code in codes] == [*EXIT_CODES, BROKEN_PIPE]


def test_every_model_option_is_explained(run: Any) -> None:
    help_of_embed = run("embed", "--help").out
    for option in (
        "--model",
        "--backend",
        "--dimensions",
        "--device",
        "--dtype",
        "--batch-size",
        "--cache",
        "--base-url",
        "--endpoint-name",
        "--region-name",
    ):
        assert option in help_of_embed
        assert f"`{option}" in PAGE
