"""The tables of what is asked of this package: complete, and without a name that leads nowhere."""

from __future__ import annotations

import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests import contract, obligations
from tests.contract import Entry

TOOL = SimpleNamespace(**runpy.run_path(str(Path(__file__).parent.parent / "tools" / "contract.py")))
HERE = "tests/test_contract.py"
BOTH = {"frameworks": contract, "service": obligations}


@pytest.mark.parametrize("name", BOTH)
def test_every_name_leads_somewhere(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = TOOL.main([name])
    shown = capsys.readouterr()
    assert (shown.err, code) == ("", 0)
    assert len(shown.out.splitlines()) == len(BOTH[name].ENTRIES) + 2


def test_without_a_name_all_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert TOOL.main([]) == 0
    assert capsys.readouterr().out.count("| level |") == len(BOTH)


@pytest.mark.parametrize("framework", contract.SUBJECTS)
@pytest.mark.parametrize("level", contract.LEVELS)
def test_every_framework_and_level_is_there(framework: str, level: str) -> None:
    assert [entry for entry in contract.ENTRIES if (entry.subject, entry.level) == (framework, level)]


def test_every_obligation_is_there_once_and_in_order() -> None:
    assert [entry.subject for entry in obligations.ENTRIES] == [str(number) for number in range(1, 41)]
    assert [entry.level for entry in obligations.ENTRIES] == ["MUST"] * 24 + ["SHOULD"] * 16
    assert not [entry for entry in obligations.ENTRIES if entry.why_not]


@pytest.mark.parametrize("one", BOTH.values(), ids=BOTH)
def test_no_statement_stands_twice(one: Any) -> None:
    assert len({(entry.subject, entry.says) for entry in one.ENTRIES}) == len(one.ENTRIES)


def faults_of(*entries: Entry, subjects: tuple[str, ...] = ("stores",)) -> list[str]:
    return TOOL.faults(SimpleNamespace(ENTRIES=entries, SUBJECT="framework", SUBJECTS=subjects, LEVELS=contract.LEVELS))


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
    ],
)
def test_what_is_wrong_is_said(entry: Entry, said: str) -> None:
    [fault] = faults_of(entry)
    assert said in fault


def test_subjects_without_an_entry_and_entries_without_a_subject() -> None:
    [unknown, missing] = faults_of(Entry("haystack", "MUST", "a", why_not="b"))
    assert "unknown framework or level" in unknown
    assert missing == "stores: has no entry"


def test_what_is_right_is_not_said() -> None:
    names = (
        f"{HERE}::test_what_is_right_is_not_said",
        "tests/test_cache.py::TestKeys",
        "tests/test_cache.py::TestKeys::test_do_not_show_content",
        "docs/stores.md#text-and-image-in-one-record",
    )
    assert faults_of(Entry("stores", "MUST", "a", names), Entry("stores", "TRAP", "b", why_not="c")) == []


def test_a_comment_in_a_code_block_is_no_heading() -> None:
    assert list(TOOL.anchors("# One & two\n```python\n# three\n```\n## `Four`: → five\n")) == ["one--two", "four--five"]
