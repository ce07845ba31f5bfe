"""`docs/evaluation.md`: every command that it names can be given, every suite and baseline is there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from mteb.cli.build_cli import build_cli
from mteb.get_tasks import get_task

from jina_clip_integrations.cli.main import build_parser
from jina_clip_integrations.evaluation.benchmarks.suites import BASELINES, SUITES

PAGE = (Path(__file__).parents[2] / "docs" / "evaluation.md").read_text("utf-8")
OURS = sorted(set(re.findall(r"(?:^\$ |`)(jina-clip evaluate[^`\n]*)", PAGE, re.MULTILINE)))
MTEB = re.findall(r"bin/(mteb run[^\n]*)", PAGE)


@pytest.mark.parametrize("line", OURS)
def test_every_command_can_be_given(line: str) -> None:
    arguments = shlex.split(line, comments=True)[1:]
    assert build_parser(arguments).parse_args(arguments).run


def test_commands_of_mteb_can_be_given_too() -> None:
    assert MTEB
    for line in MTEB:
        arguments = build_cli().parse_args(shlex.split(line)[1:])
        assert arguments.model in BASELINES.values()
        assert [get_task(name).metadata.name for name in arguments.tasks] == arguments.tasks


def test_every_suite_and_baseline_is_explained() -> None:
    assert [name for name in SUITES if f"`{name}`" not in PAGE] == []
    assert [name for name in BASELINES.values() if name and f"`{name}`" not in PAGE] == []
    for suite in SUITES.values():
        assert all(task in PAGE for task in suite.tasks if not task.startswith("DemoGallery"))


def test_that_nothing_was_measured_here_is_said() -> None:
    assert "**None of these was measured here.**" in PAGE
