"""The tables of options in `docs/backends.md`, made from the settings classes: `python tools/options.py [--write]`.

Name and default come from the fields of `jina_clip_integrations/settings.py`, the meaning from the docstring below each
of them. Without `--write` nothing is changed; it fails if the page says something else.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "backends.md"
BLOCK = re.compile(r"(<!-- options of (\w+) -->\n).*?(<!-- end of options -->)", re.DOTALL)


def read_docstrings(source: str) -> dict[str, dict[str, str]]:
    """Class to field to the docstring below it."""
    found: dict[str, dict[str, str]] = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef):
            found[node.name] = dict(_docstrings_of(node))
    return found


def _docstrings_of(node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for statement, below in zip(node.body, node.body[1:], strict=False):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            text = below.value if isinstance(below, ast.Expr) else None
            if isinstance(text, ast.Constant) and isinstance(text.value, str):
                yield statement.target.id, " ".join(text.value.split())


def find_settings(backend: str) -> type:
    """The settings class of a backend, by its name in the registry."""
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    from jina_clip_integrations.backends.registry import BACKENDS

    return BACKENDS[backend].settings


def make_table(settings: type) -> str:
    """One row per option, the options of its own first."""
    docstrings = read_docstrings((ROOT / "jina_clip_integrations" / "settings.py").read_text(encoding="utf-8"))
    own = {name for name in settings.__annotations__ if name in docstrings[settings.__name__]}
    ordered = sorted(fields(settings), key=lambda field: field.name not in own)
    lines = ["| option | default | meaning |", "| --- | --- | --- |"]
    for field in ordered:
        meaning = next(docstrings[cls.__name__][field.name] for cls in settings.__mro__ if _has(docstrings, cls, field))
        lines.append(f"| `{field.name}` | {show_default(field.default)} | {meaning} |")
    return "\n".join(lines)


def _has(docstrings: dict[str, dict[str, str]], cls: type, field: Any) -> bool:
    return field.name in docstrings.get(cls.__name__, {})


def show_default(value: Any) -> str:
    """A default for a table: numbers with their thousands apart, text as in a program."""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return f"`{value!r}`".replace("'", '"')


def fill(page: str) -> str:
    """The page with its tables as they should be."""
    return BLOCK.sub(lambda found: f"{found[1]}\n{make_table(find_settings(found[2]))}\n\n{found[3]}", page)


def main(arguments: list[str] | None = None) -> int:
    """Check the page, or write it; 1 if it says something else than the settings classes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="bring the page up to date")
    write = parser.parse_args(arguments).write
    page = PAGE.read_text(encoding="utf-8")
    wanted = fill(page)
    if write:
        PAGE.write_text(wanted, encoding="utf-8")
    elif page != wanted:
        print(f"{PAGE.relative_to(ROOT)} is out of date: python tools/options.py --write", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
