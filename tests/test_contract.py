"""The table of what the frameworks ask: complete, and without a name that leads nowhere."""

from __future__ import annotations

import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.contract import ENTRIES, Entry

TOOL = SimpleNamespace(**runpy.run_path(str(Path(__file__).parent.parent / "tools" / "contract.py")))
HERE = "tests/test_contract.py"


def test_every_name_leads_somewhere(capsys: pytest.CaptureFixture[str]) -> None:
    code = TOOL.main()
    shown = capsys.readouterr()
    assert (shown.err, code) == ("", 0)
    assert len(shown.out.splitlines()) == len(ENTRIES) + 2


@pytest.mark.parametrize("framework", ["llama-index", "langchain", "stores"])
@pytest.mark.parametrize("level", ["MUST", "SHOULD", "TRAP"])
def test_every_framework_and_level_is_there(framework: str, level: str) -> None:
    assert [entry for entry in ENTRIES if (entry.framework, entry.level) == (framework, level)]


def test_no_statement_stands_twice() -> None:
    assert len({(entry.framework, entry.says) for entry in ENTRIES}) == len(ENTRIES)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (Entry("stores", "MUST", "a"), "gives no reason"),
        (Entry("stores", "MUST", "a", (f"{HERE}::test_that_nobody_wrote",)), "does not exist"),
        (Entry("stores", "MUST", "a", (f"{HERE}::TestNobody::test_x",)), "does not exist"),
        (Entry("stores", "MUST", "a", ("tests/test_nowhere.py::test_x",)), "does not exist"),
        (Entry("stores", "MUST", "a", (HERE,)), "does not exist"),
        (Entry("stores", "TRAP", "a", ("docs/stores.md#no-such-heading",)), "does not exist"),
        (Entry("stores", "TRAP", "a", ("docs/stores.md",)), "does not exist"),
        (Entry("stores", "COULD", "a", why_not="b"), "unknown framework or level"),
        (Entry("haystack", "MUST", "a", why_not="b"), "unknown framework or level"),
    ],
)
def test_what_is_wrong_is_said(entry: Any, said: str) -> None:
    [fault] = TOOL.faults([entry])
    assert said in fault


def test_what_is_right_is_not_said() -> None:
    names = (
        f"{HERE}::test_what_is_right_is_not_said",
        "tests/test_cache.py::TestKeys",
        "tests/test_cache.py::TestKeys::test_do_not_show_content",
        "docs/stores.md#text-and-image-in-one-record",
    )
    assert TOOL.faults([Entry("stores", "MUST", "a", names), Entry("stores", "TRAP", "b", why_not="c")]) == []


def test_a_comment_in_a_code_block_is_no_heading() -> None:
    assert list(TOOL.anchors("# One & two\n```python\n# three\n```\n## `Four`: → five\n")) == ["one--two", "four--five"]
