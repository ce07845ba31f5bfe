"""What the command prints: results on stdout, for people or as JSON; notes and progress on stderr."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..printable import printable_name, printable_text, to_json

if TYPE_CHECKING:
    from ..encoder.progress import ProgressBar

PROGRESS_LINE_EVERY_S = 5.0
"""Seconds between two lines of progress where stderr is not a terminal."""


class Output:
    """Where a command prints. With `as_json`, stdout carries exactly one JSON document."""

    def __init__(self, *, as_json: bool = False, quiet: bool = False) -> None:
        self.as_json = as_json
        self.quiet = quiet

    def line(self, text: str = "") -> None:
        """Print a line for people on stdout; nothing with `--json`."""
        if not self.as_json:
            print(printable_text(text))

    def draw(self, sequence: str) -> None:
        """Send a sequence that the terminal acts on to stdout as it is; nothing with `--json`."""
        if not self.as_json:
            sys.stdout.write(sequence)

    def paths(self, paths: Iterable[str], *, end: bytes) -> None:
        """Print paths for other programs, byte by byte as the system has them, each followed by `end`.

        Where `end` is a line break, a path that holds one is left out with a warning. On a terminal they are printable.
        """
        for path in paths:
            data = os.fsencode(path)
            if end in data:
                self.warn(f"left out {path}: a line break in its name; --null separates paths with zero bytes")
            elif sys.stdout.isatty():
                print(printable_name(path))
            else:
                sys.stdout.flush()
                sys.stdout.buffer.write(data + end)

    def result(self, value: Any) -> None:
        """Print the machine-readable result on stdout; nothing without `--json`."""
        if self.as_json:
            print(to_json(value, indent=2))

    def note(self, text: str) -> None:
        """Print a remark on stderr, so that a pipe stays clean; nothing with `--quiet`."""
        if not self.quiet:
            print(printable_text(text), file=sys.stderr)

    def warn(self, text: str) -> None:
        """Say on stderr, always, what went wrong without ending the command."""
        print(f"warning: {printable_name(text)}", file=sys.stderr)

    def table(self, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Print aligned columns on stdout; nothing with `--json`."""
        for text in format_table(header, rows):
            self.line(text)

    @contextlib.contextmanager
    def progress(self, total: int, label: str, *, elapsed_s: float = 0.0) -> Iterator[Progress]:
        """Count `total` items on stderr: a bar on a terminal, now and then a line elsewhere.

        `elapsed_s` is how long the work has been going on already.
        """
        bar = Progress(total, label, quiet=self.quiet, elapsed_s=elapsed_s)
        try:
            yield bar
        finally:
            bar.close()


class Progress:
    """Counts finished items, and shows the count unless `quiet`. Not thread-safe."""

    def __init__(self, total: int, label: str, *, quiet: bool = False, elapsed_s: float = 0.0) -> None:
        self.total = total
        self.done = 0
        self._display = None if quiet else _open_display(total, label, elapsed_s)

    def advance(self, count: int = 1) -> None:
        """`count` more items are finished."""
        self.done += count
        if self._display is not None:
            self._display.advance(count)

    def skip(self, count: int) -> None:
        """`count` items were finished before this run, and say nothing of its speed."""
        self.done += count
        if self._display is not None:
            self._display.skip(count)

    def close(self) -> None:
        """Show where the count ended."""
        if self._display is not None:
            self._display.close()


class ProgressLines:
    """Progress for a log file or a pipe: a line every few seconds, and one at the end."""

    def __init__(self, total: int, label: str, elapsed_s: float = 0.0) -> None:
        self._total, self._label = total, label
        self._done, self._skipped, self._printed = 0, 0, -1
        self._last_line_s = time.monotonic()
        self._started_s = self._last_line_s - elapsed_s

    def advance(self, count: int) -> None:
        """`count` more items are finished."""
        self._done += count
        # A job that is quick enough prints one line, at its end.
        if time.monotonic() - self._last_line_s >= PROGRESS_LINE_EVERY_S:
            self._print_line()

    def skip(self, count: int) -> None:
        """`count` items were finished before."""
        self._done += count
        self._skipped += count

    def close(self) -> None:
        """Print the final count, unless the last line has said it."""
        if self._total and self._done != self._printed:
            self._print_line()

    def _print_line(self) -> None:
        self._last_line_s, self._printed = time.monotonic(), self._done
        percent = 100 * self._done // self._total if self._total else 100
        took_s = self._last_line_s - self._started_s
        rate = (self._done - self._skipped) / took_s if took_s > 0 else 0.0
        speed = f", {format_rate(rate)}" if rate else ""
        left_s = (self._total - self._done) / rate if rate else 0.0
        left = f", {format_duration(left_s)} left" if left_s else ""
        print(
            f"{self._label}: {self._done}/{self._total} ({percent}%) after {format_duration(took_s)}{speed}{left}",
            file=sys.stderr,
        )


def format_rate(rate: float) -> str:
    """`1,200 a second`, `2.5 a second`."""
    return f"{rate:,.0f} a second" if rate >= 10 else f"{rate:.2g} a second"


def format_duration(seconds: float) -> str:
    """`5.0 s`, `12 min`, `30 h`: two or three digits, in the unit that needs no more."""
    if seconds < 100:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.0f} h"


def _open_display(total: int, label: str, elapsed_s: float) -> ProgressBar | ProgressLines:
    if not sys.stderr.isatty():
        return ProgressLines(total, label, elapsed_s)  # the control characters of a bar would fill a log
    from ..encoder.progress import ProgressBar

    return ProgressBar(total, shown=True, label=label, unit="", elapsed_s=elapsed_s)


def format_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of aligned columns, the first flush left, the others flush right."""
    table = [[printable_name(cell) for cell in row] for row in (header, *rows)]
    widths = [max(len(row[column]) for row in table) for column in range(len(header))]
    return ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in table]


def plural(count: int, thing: str) -> str:
    """`1 image`, `1,200 images`."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


SHOWN_NAMES = 3
"""Files named of each kind that is not read; `--json` lists all."""


def warn_of_unread(out: Output, unread: Mapping[str, str]) -> None:
    """Say which files of other kinds were left out, a line for each reason: a folder may hold thousands of them."""
    by_reason: dict[str, list[str]] = {}
    for name, reason in unread.items():
        by_reason.setdefault(reason, []).append(name)
    for reason, names in by_reason.items():
        more = f" and {len(names) - SHOWN_NAMES:,} more" if len(names) > SHOWN_NAMES else ""
        out.warn(f"left out {', '.join(names[:SHOWN_NAMES])}{more}: {reason}")
