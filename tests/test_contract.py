"""The tables of what is asked of this package: complete, and without a name that leads nowhere."""

from __future__ import annotations

import ast
import runpy
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

TESTS = Path(__file__).parent
TOOL = SimpleNamespace(**runpy.run_path(str(TESTS.parent / "tools" / "contract.py")))
ASKED = TOOL.read_requirements((TESTS / "requirements.toml").read_text(encoding="utf-8"))
FRAMEWORKS = TOOL.CONTRACTS["frameworks"]
STORES = FRAMEWORKS._replace(subjects=("stores",))


@pytest.mark.parametrize("name", TOOL.CONTRACTS)
def test_every_name_leads_somewhere(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = TOOL.main([name])
    printed = capsys.readouterr()
    assert (printed.err, code) == ("", 0)
    assert len(printed.out.splitlines()) == len(ASKED[name]) + 2


def test_without_a_name_all_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert TOOL.main([]) == 0
    assert capsys.readouterr().out.count("| level |") == len(TOOL.CONTRACTS)


@pytest.mark.parametrize("framework", FRAMEWORKS.subjects)
@pytest.mark.parametrize("level", FRAMEWORKS.levels)
def test_every_framework_and_level_is_there(framework: str, level: str) -> None:
    assert [asked for asked in ASKED["frameworks"] if (asked.subject, asked.level) == (framework, level)]


def test_every_obligation_is_there_once_and_in_order() -> None:
    assert [asked.name for asked in ASKED["service"]] == [str(number) for number in range(1, 41)]
    assert [asked.level for asked in ASKED["service"]] == ["MUST"] * 24 + ["SHOULD"] * 16


def test_every_obligation_has_a_test() -> None:
    tests = TOOL.read_marks(TESTS).tests["obligation"]
    assert [asked.name for asked in ASKED["service"] if asked.name not in tests or asked.reason] == []


@pytest.mark.parametrize("name", TOOL.CONTRACTS)
def test_no_statement_stands_twice(name: str) -> None:
    assert len({(asked.subject, asked.text) for asked in ASKED[name]}) == len(ASKED[name])


def store(level: str = "MUST", text: str = "a", *, name: str = "stores/one", **more: Any) -> Any:
    """A requirement of the stores."""
    return TOOL.Requirement(name, level, text, **more)


def faults_of(*asked: Any, tests: Mapping[str, Sequence[str]] | None = None) -> list[str]:
    """What is wrong with requirements of the stores."""
    found: list[str] = TOOL.find_faults(STORES, asked, tests or {})
    return found


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (store(), "gives no reason"),
        (store("TRAP", docs=("docs/stores.md#no-such-heading",)), "does not exist"),
        (store("TRAP", docs=("docs/stores.md",)), "does not exist"),
        (store("TRAP", docs=("docs/nowhere.md#chroma",)), "does not exist"),
        (store("COULD", reason="b"), "unknown framework or level"),
        (store(text="", reason="b"), "no text"),
    ],
)
def test_what_is_wrong_is_said(asked: Any, said: str) -> None:
    [fault] = faults_of(asked)
    assert said in fault


def test_subjects_without_a_requirement_and_requirements_without_a_subject() -> None:
    [unknown, missing] = faults_of(store(name="haystack/one", reason="b"))
    assert "unknown framework or level" in unknown
    assert missing == "stores: has no requirement"


def test_a_mark_that_nobody_asked_for_is_said() -> None:
    [fault] = faults_of(store(reason="b"), tests={"stores/two": ["tests/test_a.py::test_b"]})
    assert fault == "tests/test_a.py::test_b: 'stores/two' is not asked"


def test_what_is_right_is_not_said() -> None:
    tests = {"stores/one": ["tests/test_a.py::test_b"]}
    page = ("docs/stores.md#text-and-image-in-one-record",)
    others = (store("TRAP", "b", name="stores/two", reason="c"), store("TRAP", "c", name="stores/three", docs=page))
    assert faults_of(store(), *others, tests=tests) == []


def marks_of(source: str) -> Any:
    """Marks and faults of a test file."""
    marks = TOOL.Marks()
    TOOL.collect_marks(ast.parse(source), "a.py::", marks)
    return marks


@pytest.mark.parametrize(
    ("source", "test"),
    [
        ('@pytest.mark.obligation("1")\ndef test_a(): ...', "a.py::test_a"),
        ('@other\n@pytest.mark.obligation("1")\nasync def test_a(): ...', "a.py::test_a"),
        ('@pytest.mark.obligation("1", "2")\nclass TestA: ...', "a.py::TestA"),
        ('class TestA:\n  @pytest.mark.obligation("1")\n  def test_b(self): ...', "a.py::TestA::test_b"),
    ],
)
def test_marks_are_found(source: str, test: str) -> None:
    marks = marks_of(source)
    assert (marks.tests["obligation"]["1"], marks.faults) == ([test], [])


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("@pytest.mark.obligation\ndef test_a(): ...", "written out"),
        ("@pytest.mark.obligation()\ndef test_a(): ...", "written out"),
        ("@pytest.mark.obligation(1)\ndef test_a(): ...", "written out"),
        ("@pytest.mark.obligation(NUMBER)\ndef test_a(): ...", "written out"),
        ('@pytest.mark.framework("a")\ndef helper(): ...', "no test"),
        ('@pytest.mark.framework("a")\nclass Helper: ...', "no test"),
    ],
)
def test_a_mark_that_cannot_count_is_said(source: str, said: str) -> None:
    [fault] = marks_of(source).faults
    assert said in fault


def test_a_comment_in_a_code_block_is_no_heading() -> None:
    assert list(TOOL.anchors("# One & two\n```python\n# three\n```\n## `Four`: → five\n")) == ["one--two", "four--five"]
