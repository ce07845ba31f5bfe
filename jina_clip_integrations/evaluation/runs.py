"""A task measured at every width and in every type of numbers, and what the figures recommend."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from ..types import Vectors
from ..vectors import truncate_and_normalize
from .directions import Direction, backward, forward
from .metrics import Values
from .speed import ROWS, queries_per_second
from .statistics import Interval, bootstrap, language_weights
from .storage import OVERSAMPLING, StorageType
from .task import RetrievalTask

HEADLINE = "nDCG@10"
"""The measure that quality means: it sees the first ten places and their order."""


@dataclass(frozen=True)
class Setting:
    """A width and a type of numbers."""

    dimensions: int
    storage: StorageType

    def __str__(self) -> str:
        return f"{self.dimensions} wide, {self.storage}"


@dataclass(frozen=True)
class DirectionResult:
    """The figures of one direction."""

    mean: Mapping[str, Interval]
    """Measure to its mean, with languages weighing the same."""
    languages: Mapping[str, Mapping[str, Interval]]
    """Language to its figures; empty where there is only one."""


@dataclass(frozen=True)
class Measured:
    """The figures of one setting."""

    setting: Setting
    directions: Mapping[str, DirectionResult]
    queries_per_second: float | None = None
    """Of `speed.ROWS` vectors; None where it was not measured."""

    @property
    def bytes_per_vector(self) -> int:
        """What the first search reads of a vector."""
        return self.setting.storage.bytes_per_vector(self.setting.dimensions)

    @property
    def kept_bytes(self) -> int:
        """What is kept besides, on disk if need be."""
        return self.setting.storage.kept_bytes(self.setting.dimensions)

    @property
    def quality(self) -> float:
        """The headline measure, mean of both directions."""
        return float(np.mean([direction.mean[HEADLINE].mean for direction in self.directions.values()]))


@dataclass
class Evaluation:
    """A task with its vectors, embedded once at full width: `queries` `(n, d)`, `corpus` `(m, d)`."""

    task: RetrievalTask
    queries: Vectors
    corpus: Vectors
    asking: Vectors | None = None
    """The queries with an instruction, `(n, d)`, for the direction in which they ask; None = `queries`."""
    oversampling: int = OVERSAMPLING
    search_rows: int = ROWS
    """Vectors in the measurement of speed; 0 = none."""
    directions: list[Direction] = field(init=False)

    def __post_init__(self) -> None:
        self.directions = [forward(self.task), backward(self.task)]

    def measure(self, setting: Setting) -> Measured:
        """The figures of a setting."""
        values = self.values(setting)
        results = {direction.name: summarize(direction, values[direction.name]) for direction in self.directions}
        return Measured(setting, results, self._speed(setting))

    def values(self, setting: Setting) -> dict[str, Values]:
        """Direction to every measure of every query."""
        asking, queries, corpus = self._truncate(setting.dimensions)
        sides = ((asking, corpus), (corpus, queries))
        return {
            direction.name: direction.measure(asked, candidates, setting.storage, oversampling=self.oversampling)
            for direction, (asked, candidates) in zip(self.directions, sides, strict=True)
        }

    def _speed(self, setting: Setting) -> float | None:
        if not self.search_rows:
            return None
        asking, _, corpus = self._truncate(setting.dimensions)
        return queries_per_second(asking, corpus, setting.storage, rows=self.search_rows)

    def _truncate(self, dimensions: int) -> list[Vectors]:
        """Queries as they ask, queries as they are found, documents."""
        asking = self.queries if self.asking is None else self.asking
        # Vectors are embedded once at full width; cutting them is what the Matryoshka training allows.
        return [
            truncate_and_normalize(side, dimensions=dimensions, normalized=True)
            for side in (asking, self.queries, self.corpus)
        ]


def summarize(direction: Direction, values: Values) -> DirectionResult:
    """Means, intervals and languages of a direction's values."""
    mean = bootstrap(values, language_weights(direction.languages), direction.groups)
    names = list(dict.fromkeys(direction.languages.tolist()))
    if len(names) < 2:
        return DirectionResult(mean, {})
    return DirectionResult(mean, {name: _summarize_language(direction, values, name) for name in names})


def _summarize_language(direction: Direction, values: Values, name: str) -> dict[str, Interval]:
    here = direction.languages == name
    rows = {measure: column[here] for measure, column in values.items()}
    return bootstrap(rows, np.ones(int(here.sum())), direction.groups[here])
