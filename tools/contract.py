"""Print what is asked of this package and which test answers: `python tools/contract.py [frameworks | service]`.

`frameworks` is what LlamaIndex, LangChain and the stores ask (`tests/contract.py`), `service` what a client of a remote
service owes (`tests/obligations.py`); without an argument both are printed. Fails if an entry names a test or a heading
that is not there, or names nothing without a reason, or if a subject has no entry. No test is collected or imported:
they are found by parsing their files.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
CONTRACTS = {"frameworks": "tests.contract", "service": "tests.obligations"}
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def contract(name: str) -> Any:
    """The module of one contract: its `ENTRIES`, and the `SUBJECTS` and `LEVELS` that they may have."""
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    return importlib.import_module(CONTRACTS[name])


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


def faults(contract: Any) -> list[str]:
    """What is wrong with a contract, one line each."""
    found = []
    for entry in contract.ENTRIES:
        where = f"{entry.subject} {entry.level} {entry.says!r}"
        if entry.subject not in contract.SUBJECTS or entry.level not in contract.LEVELS:
            found.append(f"{where}: unknown {contract.SUBJECT} or level")
        if not entry.covered and not entry.why_not:
            found.append(f"{where}: names no test and no heading, and gives no reason")
        found += [f"{where}: {name} does not exist" for name in entry.covered if not exists(name)]
    answered = {entry.subject for entry in contract.ENTRIES}
    return found + [f"{subject}: has no entry" for subject in contract.SUBJECTS if subject not in answered]


def table(contract: Any) -> Iterator[str]:
    """A contract as lines of a Markdown table."""
    yield f"| {contract.SUBJECT} | level | what is asked | covered by |"
    yield "| --- | --- | --- | --- |"
    for entry in contract.ENTRIES:
        by = "<br>".join(f"`{name}`" for name in entry.covered) or entry.why_not
        yield f"| {entry.subject} | {entry.level} | {entry.says} | {by} |"


def main(arguments: list[str] | None = None) -> int:
    """Print the tables that are asked for; 1 if something in them is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="?", choices=CONTRACTS, help="which one (default: all)")
    name = parser.parse_args(arguments).name
    chosen = [contract(one) for one in CONTRACTS if name in (one, None)]
    print("\n\n".join("\n".join(table(one)) for one in chosen))
    wrong = [line for one in chosen for line in faults(one)]
    for line in wrong:
        print(line, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
