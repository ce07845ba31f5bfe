"""What the command prints: results on stdout, for people or as JSON; notes and progress on stderr."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

PROGRESS_LINE_EVERY_S = 5.0
"""Where stderr is not a terminal, a line of progress is due this often, in seconds."""


class Output:
    """One command's voice. With `as_json`, stdout carries exactly one JSON document."""

    def __init__(self, *, as_json: bool = False, quiet: bool = False) -> None:
        self.as_json = as_json
        self.quiet = quiet

    def line(self, text: str = "") -> None:
        """A line for people on stdout; nothing with `--json`."""
        if not self.as_json:
            print(text)

    def result(self, value: Any) -> None:
        """The machine-readable result on stdout; nothing without `--json`."""
        if self.as_json:
            print(json.dumps(value, ensure_ascii=False, indent=2))

    def note(self, text: str) -> None:
        """A remark on stderr, so that a pipe stays clean."""
        if not self.quiet:
            print(text, file=sys.stderr)

    def warn(self, text: str) -> None:
        """Something that went wrong without ending the command: always on stderr."""
        print(f"warning: {text}", file=sys.stderr)

    def table(self, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Aligned columns on stdout: the first to the left, the others to the right."""
        for text in format_table(header, rows):
            self.line(text)

    @contextlib.contextmanager
    def progress(self, total: int, label: str) -> Iterator[Progress]:
        """Count `total` items on stderr: a bar on a terminal, now and then a line elsewhere."""
        bar = Progress(total, label, quiet=self.quiet)
        try:
            yield bar
        finally:
            bar.close()


class Progress:
    """A count that shows itself. `advance` says that items are finished."""

    def __init__(self, total: int, label: str, *, quiet: bool = False) -> None:
        self.total = total
        self.done = 0
        self._label = label
        self._bar: Any = None
        self._shows_lines = False
        self._shown = -1
        self._last_line_s = self._started_s = time.monotonic()
        if quiet:
            return
        if sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(total=total, desc=label, unit="", file=sys.stderr, dynamic_ncols=True, leave=True)
        else:
            self._shows_lines = True

    def advance(self, count: int = 1) -> None:
        """`count` more items are finished."""
        self.done += count
        if self._bar is not None:
            self._bar.update(count)
        elif self._shows_lines and time.monotonic() - self._last_line_s >= PROGRESS_LINE_EVERY_S:
            self._line()

    def close(self) -> None:
        """Show where the count ended."""
        if self._bar is not None:
            self._bar.close()
        elif self._shows_lines and self.total and self.done != self._shown:
            self._line()

    def _line(self) -> None:
        self._last_line_s, self._shown = time.monotonic(), self.done
        share = 100 * self.done // self.total if self.total else 100
        took_s = self._last_line_s - self._started_s
        print(f"{self._label}: {self.done}/{self.total} ({share}%) after {took_s:.1f} s", file=sys.stderr)


def format_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of aligned columns: the first to the left, the others to the right."""
    table = [list(header), *map(list, rows)]
    widths = [max(len(row[column]) for row in table) for column in range(len(header))]
    return ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in table]


def plural(count: int, thing: str) -> str:
    """`1 image`, `1,200 images`."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"
