"""One command line and one form of report for every benchmark.

A script has a function that measures and returns Markdown, and ends with

    if __name__ == "__main__":
        run(report, doc=__doc__, rows=Option(50_000, "vectors to write and read"))

which gives it `--rows N`, `--write [FILE]` (alone: `benchmarks/results/<script>.md`, `<script>_v1.md` with `--version
v1`) and `--help`, prints the report and writes it where asked. What has to be measured in a process of its own goes
into a second function:

    def case(folder: str, dtype: str) -> dict[str, float]: ...

    figures = in_own_process(__file__, folder, dtype)      # runs `case(folder, dtype)` in a new interpreter
    run(report, doc=__doc__, case=case)
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from machine import describe

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Option:
    """An option of a script, handed to its report by name."""

    default: Any
    """Also says the type: a whole number, a number, a text; None is a text that may be left out; False is a switch."""
    help: str


def run(
    report: Callable[..., str],
    *,
    doc: str | None,
    case: Callable[..., Any] | None = None,
    arguments: Sequence[str] | None = None,
    **options: Option,
) -> None:
    """The command line of a benchmark.

    Args:
        report: Called with the values of `options` by name; what it returns is printed, and written with `--write`.
        doc: The script's docstring, shown by `--help`.
        case: What `in_own_process` calls in a process of its own; it takes strings and returns what JSON can say.
        arguments: Instead of the process's own.
        options: By their Python name; `max_rows` becomes `--max-rows`.
    """
    script = Path(sys.modules[report.__module__].__file__ or sys.argv[0])
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, option in options.items():
        parser.add_argument(f"--{name.replace('_', '-')}", default=option.default, help=option.help, **_kind(option))
    parser.add_argument(
        "--write", nargs="?", type=Path, const=RESULTS, metavar="FILE", help="write the report there too"
    )
    parser.add_argument("--case", nargs="*", help=argparse.SUPPRESS)
    given = vars(parser.parse_args(arguments))
    file, values = given.pop("write"), given.pop("case")
    if file == RESULTS:  # without a name
        file = RESULTS / f"{script.stem}{'_v1' if given.get('version') == 'v1' else ''}.md"
    if values is not None and case is not None:
        print(json.dumps(case(*values)))
        return
    text = report(**given)
    print(text)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text.rstrip("\n") + "\n", encoding="utf-8")


def _kind(option: Option) -> dict[str, Any]:
    if option.default is False:
        return {"action": "store_true"}
    return {"type": str if option.default is None else type(option.default)}


def in_own_process(script: str, *values: str, package: str | None = None) -> Any:
    """What the `case` of `script` returns for `values`, measured in a new interpreter. Raises what ended it.

    `package` is a folder with another version of the package to measure instead of the one installed.
    """
    command = [sys.executable, script, "--case", *map(str, values)]
    environment = os.environ | ({"PYTHONPATH": package} if package else {})
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True, env=environment)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}")
    return json.loads(done.stdout.splitlines()[-1])


def heading(title: str, script: str) -> str:
    """The title, the command, the machine and the versions: what every report begins with."""
    command = " ".join(["python", f"benchmarks/{Path(script).name}", *_measured_with()])
    return f"# {title}\n\n`{command}`, {describe()}.\n"


def _measured_with() -> list[str]:
    """The words of the command line that a measurement depends on: all but `--write` and its file."""
    words = sys.argv[1:]
    if "--write" in words:
        start = words.index("--write")
        file_too = len(words) > start + 1 and not words[start + 1].startswith("--")
        del words[start : start + 1 + file_too]
    return words


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table. A column whose name begins with `>` is set to the right (figures)."""
    names = [column.removeprefix(">") for column in columns]
    rule = ["---:" if column.startswith(">") else "---" for column in columns]
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in [names, rule, *rows]) + "\n"
