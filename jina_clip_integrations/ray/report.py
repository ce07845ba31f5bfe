"""What a job says of itself: while it runs, and when it is done."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class EmbedProgress:
    """How far a job is."""

    partitions: int
    """Finished partitions, those of earlier runs included."""
    total_partitions: int
    rows: int
    """Vectors so far, those of earlier runs included."""
    failed: int
    """Rows without a vector so far."""
    new_rows: int
    """Rows of this run, bad ones included."""
    seconds: float
    """Since the workers were asked for."""

    @property
    def rows_per_second(self) -> float:
        """Rows of this run per second; 0 before the first."""
        return self.new_rows / self.seconds if self.seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """An estimate, in seconds, from the partitions that are left; None before the first of this run."""
        done = self.rows + self.failed
        if not self.new_rows or not self.partitions:
            return None
        left = done / self.partitions * (self.total_partitions - self.partitions)
        return left / self.rows_per_second


@dataclass(frozen=True, kw_only=True)
class EmbedReport:
    """What a job made."""

    sink: str
    """The folder or Lance data set of the vectors."""
    failed_rows: str
    """Folder of the side table: Parquet files with the rows that have no vector, and why; not there if there are
    none."""
    model: str
    dimensions: int
    rows: int
    """Vectors."""
    failed: int
    """Rows without a vector, which are in the side table only."""
    partitions: int
    resumed_partitions: int
    """Partitions that an earlier run had finished, so that nothing of them was computed again."""
    new_rows: int
    """Rows of this run, bad ones included."""
    workers: int
    """Workers of this run; 0 where nothing was left to do."""
    seconds: float
    """Duration of this run."""

    @property
    def rows_per_second(self) -> float:
        """Rows of this run per second."""
        return self.new_rows / self.seconds if self.seconds > 0 else 0.0

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON can hold it."""
        return {**asdict(self), "rows_per_second": round(self.rows_per_second, 2)}
