"""Print what the frameworks ask and which test answers: `python tools/contract.py`.

Fails if an entry of `tests/contract.py` names a test or a heading that is not there, or names nothing without
a reason. Nothing is collected or imported: tests are found by parsing their files.
"""

from __future__ import annotations

import ast
import re
import runpy
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
FRAMEWORKS = ("llama-index", "langchain", "stores")
LEVELS = ("MUST", "SHOULD", "TRAP")
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def entries() -> tuple[Any, ...]:
    """Every entry of the contract."""
    return tuple(runpy.run_path(str(ROOT / "tests" / "contract.py"))["ENTRIES"])


@cache
def names_in(path: Path) -> frozenset[str]:
    """Names of the tests of a file (`test_a`, `TestB`, `TestB::test_c`), or anchors of a page's headings."""
    if not path.is_file():
        return frozenset()
    text = path.read_text(encoding="utf-8")
    return frozenset(named(ast.parse(text)) if path.suffix == ".py" else anchors(text))


def named(tree: ast.Module | ast.ClassDef, within: str = "") -> Iterator[str]:
    """Test functions and classes of a module, and the test methods of its classes."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test"):
            yield within + node.name
        elif isinstance(node, ast.ClassDef) and node.name.startswith("Test"):
            yield within + node.name
            yield from named(node, f"{within}{node.name}::")


def anchors(page: str) -> Iterator[str]:
    """Anchors of a Markdown page's headings, as GitHub makes them."""
    for heading in HEADING.findall(FENCE.sub("", page)):
        yield re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def exists(reference: str) -> bool:
    """Whether a test id or `page.md#heading` is there."""
    file, _, name = reference.partition("#" if ".md" in reference else "::")
    return name in names_in(ROOT / file)


def faults(contract: Iterable[Any]) -> list[str]:
    """What is wrong with the contract, one line each."""
    found = []
    for entry in contract:
        where = f"{entry.framework} {entry.level} {entry.says!r}"
        if entry.framework not in FRAMEWORKS or entry.level not in LEVELS:
            found.append(f"{where}: unknown framework or level")
        if not entry.covered and not entry.why_not:
            found.append(f"{where}: names no test and no heading, and gives no reason")
        found += [f"{where}: {name} does not exist" for name in entry.covered if not exists(name)]
    return found


def table(contract: Iterable[Any]) -> Iterator[str]:
    """The contract as lines of a Markdown table."""
    yield "| framework | level | what it needs or does | covered by |"
    yield "| --- | --- | --- | --- |"
    for entry in contract:
        by = "<br>".join(f"`{name}`" for name in entry.covered) or entry.why_not
        yield f"| {entry.framework} | {entry.level} | {entry.says} | {by} |"


def main() -> int:
    """Print the table; 1 if something in it is wrong."""
    contract = entries()
    print("\n".join(table(contract)))
    wrong = faults(contract)
    for line in wrong:
        print(line, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
