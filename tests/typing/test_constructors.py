"""What mypy says of constructor calls: good ones pass, an unknown argument and a wrong type are errors.

The lines that must be refused say so in the files beside this one: `# error: call-arg`.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from mypy import api

FILES = sorted(Path(__file__).parent.glob("*_constructor.py"))
EXPECTED = re.compile(r"# error: ([a-z-]+)$")
REPORTED = re.compile(r":(\d+): error: .*\[([a-z-]+)\]$")


def expected_errors(path: Path) -> list[tuple[int, str]]:
    """Line and code of the errors that a file asks for."""
    lines = path.read_text(encoding="utf-8").splitlines()
    found = ((number, EXPECTED.search(line)) for number, line in enumerate(lines, start=1))
    return [(number, match[1]) for number, match in found if match]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_mypy_refuses_what_it_should_and_nothing_else(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])  # where its configuration is
    report, failure, _ = api.run(["--no-error-summary", "--hide-error-context", str(path)])
    assert failure == ""
    reported = [(int(match[1]), match[2]) for match in map(REPORTED.search, report.splitlines()) if match]
    assert reported == expected_errors(path), report
    assert len({code for _, code in reported}) > 1
