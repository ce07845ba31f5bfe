"""`docs/reliability.md` promises nothing without a test, and names no test that is not there."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")

TEST_ID = re.compile(r"`(tests/[\w/]+\.py)::([\w:]+)`")
ROWS = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith(("| Promise", "| ---"))]


@cache
def find_tests(file: str) -> set[str]:
    """Names of the tests of a file, and of its classes of tests; tests of a class as `Class::test`."""
    names = set()
    for node in ast.parse((ROOT / file).read_text(encoding="utf-8")).body:
        members = node.body if isinstance(node, ast.ClassDef) else [node]
        prefix = f"{node.name}::" if isinstance(node, ast.ClassDef) else ""
        names |= {prefix + one.name for one in members if isinstance(one, (ast.FunctionDef, ast.AsyncFunctionDef))}
        names |= {node.name} if isinstance(node, ast.ClassDef) else set()
    return {name for name in names if name.rpartition("::")[2].startswith(("test", "Test"))}


def test_every_promise_has_a_test() -> None:
    assert len(ROWS) > 30
    assert not [row for row in ROWS if not TEST_ID.search(row)]


def test_every_test_is_there() -> None:
    named = TEST_ID.findall(PAGE)
    assert not [
        f"{file}::{name}" for file, name in named if not (ROOT / file).is_file() or name not in find_tests(file)
    ]
    assert len(named) == PAGE.count("`tests/")  # each is written so that it can be checked


def test_the_threat_model_leads_here() -> None:
    assert "docs/reliability.md" in (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    assert "SECURITY.md" in PAGE
