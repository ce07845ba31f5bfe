"""Print what is asked of this package and which test answers: `python tools/contract.py [frameworks | service]`.

`frameworks` is what LlamaIndex, LangChain and the stores ask, `service` what a client of a remote service owes. What is
asked stands in `tests/requirements.toml`, who answers at the tests themselves: `@pytest.mark.framework("...")` and
`@pytest.mark.obligation("...")`. Without an argument both tables are printed. Fails if a requirement has no test, no
heading and no reason, if a mark or a heading leads nowhere, or if a subject has no requirement. No test is collected or
imported: marks are found by parsing the files.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
TESTS = ROOT / "tests"
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


class Contract(NamedTuple):
    """One table: the mark of its tests, and the subjects and levels that its requirements may have."""

    mark: str
    column: str
    subjects: tuple[str, ...]
    levels: tuple[str, ...]


CONTRACTS = {
    "frameworks": Contract(
        "framework", "framework", ("llama-index", "langchain", "stores"), ("MUST", "SHOULD", "TRAP")
    ),
    "service": Contract("obligation", "#", tuple(str(number) for number in range(1, 41)), ("MUST", "SHOULD")),
}


@dataclass(frozen=True)
class Requirement:
    """One demand; `name` is what a mark says: `13`, or `llama-index/all-hooks`."""

    name: str
    level: str = ""
    text: str = ""
    docs: Sequence[str] = ()
    reason: str = ""

    @property
    def subject(self) -> str:
        """The framework that asks, or the obligation's number."""
        return self.name.partition("/")[0]


@dataclass
class Marks:
    """Marks of the tests: name of the mark -> name of the requirement -> tests; and what is wrong with them."""

    tests: dict[str, dict[str, list[str]]] = field(
        default_factory=lambda: {contract.mark: {} for contract in CONTRACTS.values()}
    )
    faults: list[str] = field(default_factory=list)


def read_requirements(text: str) -> dict[str, list[Requirement]]:
    """Requirements per contract, in the order of the file."""
    tables = tomllib.loads(text)
    frameworks = {
        f"{subject}/{name}": row for subject, rows in tables["frameworks"].items() for name, row in rows.items()
    }
    named = {"frameworks": frameworks, "service": tables["service"]}
    return {kind: [Requirement(name, **row) for name, row in rows.items()] for kind, rows in named.items()}


def read_marks(folder: Path) -> Marks:
    """The marks of every test file below a folder."""
    marks = Marks()
    for path in sorted(folder.rglob("test_*.py")):
        collect_marks(ast.parse(path.read_text(encoding="utf-8")), f"{path.relative_to(ROOT).as_posix()}::", marks)
    return marks


def collect_marks(tree: ast.Module | ast.ClassDef, prefix: str, marks: Marks) -> None:
    """Add the marks of a module's tests, of its test classes and of their methods."""
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        is_class = isinstance(node, ast.ClassDef)
        collected = node.name.startswith("Test" if is_class else "test")
        for mark, arguments in marks_on(node):
            note_mark(mark, arguments, prefix + node.name, marks, collected=collected)
        if isinstance(node, ast.ClassDef) and collected:
            collect_marks(node, f"{prefix}{node.name}::", marks)


def marks_on(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> Iterator[tuple[str, list[ast.expr]]]:
    """Name and arguments of the decorators `@pytest.mark.NAME(...)` that are ours."""
    ours = {contract.mark for contract in CONTRACTS.values()}
    for decorator in node.decorator_list:
        call = decorator if isinstance(decorator, ast.Call) else ast.Call(decorator, [], [])
        prefix, _, mark = ast.unparse(call.func).rpartition(".")
        if prefix == "pytest.mark" and mark in ours:
            yield mark, call.args


def note_mark(mark: str, arguments: Sequence[ast.expr], test: str, marks: Marks, *, collected: bool) -> None:
    """Add one decorator's requirements, or what is wrong with it."""
    names = [argument.value for argument in arguments if isinstance(argument, ast.Constant)]
    if not collected:
        marks.faults.append(f"{test}: is marked and no test")
    elif not names or len(names) < len(arguments) or not all(isinstance(name, str) for name in names):
        marks.faults.append(f"{test}: {mark} takes names of requirements, written out")
    else:
        for name in names:
            marks.tests[mark].setdefault(str(name), []).append(test)


@cache
def headings_of(path: Path) -> frozenset[str]:
    """Anchors of a page's headings; none if there is no such page."""
    return frozenset(anchors(path.read_text(encoding="utf-8"))) if path.is_file() else frozenset()


def anchors(page: str) -> Iterator[str]:
    """Anchors of a Markdown page's headings, as GitHub makes them."""
    for heading in HEADING.findall(FENCE.sub("", page)):
        yield re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def has_heading(reference: str) -> bool:
    """Whether `page.md#heading` is there."""
    page, _, heading = reference.partition("#")
    return heading in headings_of(ROOT / page)


def find_faults(
    contract: Contract, requirements: Sequence[Requirement], tests: Mapping[str, Sequence[str]]
) -> list[str]:
    """What is wrong with a contract, one line each; `tests` has the marked tests per requirement."""
    found = []
    for asked in requirements:
        where = f"{asked.name} {asked.level} {asked.text!r}"
        if asked.subject not in contract.subjects or asked.level not in contract.levels or not asked.text:
            found.append(f"{where}: unknown {contract.column} or level, or no text")
        if not (tests.get(asked.name) or asked.docs or asked.reason):
            found.append(f"{where}: has no test and no heading, and gives no reason")
        found += [f"{where}: {name} does not exist" for name in asked.docs if not has_heading(name)]
    known = {asked.name for asked in requirements}
    found += [f"{test}: {name!r} is not asked" for name in tests if name not in known for test in tests[name]]
    answered = {asked.subject for asked in requirements}
    return found + [f"{subject}: has no requirement" for subject in contract.subjects if subject not in answered]


def table(contract: Contract, requirements: Sequence[Requirement], tests: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """A contract as lines of a Markdown table."""
    yield f"| {contract.column} | level | what is asked | covered by |"
    yield "| --- | --- | --- | --- |"
    for asked in requirements:
        names = (*tests.get(asked.name, ()), *asked.docs)
        by = "<br>".join(f"`{name}`" for name in names) or asked.reason
        yield f"| {asked.subject} | {asked.level} | {asked.text} | {by} |"


def main(arguments: list[str] | None = None) -> int:
    """Print the tables that are asked for; 1 if something in them is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="?", choices=CONTRACTS, help="which one (default: all)")
    name = parser.parse_args(arguments).name
    requirements = read_requirements((TESTS / "requirements.toml").read_text(encoding="utf-8"))
    marks = read_marks(TESTS)
    chosen: list[tuple[Contract, list[Requirement], Any]] = [
        (contract, requirements[kind], marks.tests[contract.mark])
        for kind, contract in CONTRACTS.items()
        if name in (kind, None)
    ]
    print("\n\n".join("\n".join(table(*one)) for one in chosen))
    wrong = [*marks.faults, *(line for one in chosen for line in find_faults(*one))]
    for line in wrong:
        print(line, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
