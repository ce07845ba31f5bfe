"""What has become of the rows of one call: finished, failed, or still to come."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from numpy.typing import NDArray

from ..backends.base import Usage
from ..errors import InputError, JinaClipError
from .items import Unit
from .rows import Table


class Outcome:
    """Rows, errors under the caller's indices, and what it cost.

    `isolate` reports a failed row and goes on, otherwise its error is raised. `offset` is the caller's index of the
    first row; `single` means that the item stood alone and so has no index. `errors` may collect those of several
    calls. `progress` is called with the number of rows that were settled.
    """

    def __init__(
        self,
        table: Table,
        *,
        isolate: bool = False,
        offset: int = 0,
        single: bool = False,
        errors: dict[int, JinaClipError] | None = None,
        progress: Callable[[int], Any] | None = None,
    ) -> None:
        self.table = table
        self.isolate = isolate
        self.offset = offset
        self.single = single
        self.errors: dict[int, JinaClipError] = {} if errors is None else errors
        self.progress = progress
        self.usage = Usage()
        self.raised: JinaClipError | None = None

    def result(self) -> NDArray[Any]:
        """`(n, d)`, or `(d,)` for an item that stood alone."""
        rows = self.table.array()
        return rows[0] if self.single else rows

    def attach_partial(self, error: BaseException) -> None:
        """Let `error` carry the rows that were finished before it."""
        with suppress(AttributeError):
            error.partial = self.table.array()  # type: ignore[attr-defined]

    def deliver(self, units: Sequence[Unit], vectors: NDArray[Any]) -> None:
        """Put one vector per unit into every row of the unit."""
        if not units:
            return
        self.table.put([unit.row for unit in units], vectors)
        count = len(units)
        for unit in units:
            unit.settle()
            for row in unit.repeats or ():
                self.table.repeat(unit.row, row)
                count += 1
        self._count(count)

    def repeat(self, unit: Unit, row: int) -> None:
        """Give `row` what the other rows of a settled unit have got."""
        if unit.error is not None:
            self.fail_row(row, unit.error)
        else:
            self.table.repeat(unit.row, row)
            self._count(1)

    def fail(self, unit: Unit, error: JinaClipError) -> None:
        """Fail every row of a unit."""
        unit.settle(error)
        for row in unit.rows:
            self.fail_row(row, error)

    def fail_row(self, row: int, error: JinaClipError) -> None:
        """Report `error` under the caller's index, or raise it if bad items are not isolated."""
        if not self.isolate:
            self.raised = self._named(error, row)
            raise self.raised
        copied = copy.copy(error)  # the same content may have failed in several rows
        copied.__cause__ = error.__cause__
        self.errors[row + self.offset] = self._named(copied, row)
        self._show(1)

    def _named(self, error: JinaClipError, row: int) -> JinaClipError:
        if isinstance(error, InputError):
            error.index = None if self.single else row + self.offset
        return error

    def _count(self, rows: int) -> None:
        self.usage += Usage(items=rows)
        self._show(rows)

    def _show(self, rows: int) -> None:
        if self.progress is not None:
            self.progress(rows)
