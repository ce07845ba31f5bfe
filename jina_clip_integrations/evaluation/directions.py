"""The two directions of a task: queries against the corpus, and the corpus against the queries of one language."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..types import Vectors
from .metrics import DEPTH, MEASURES, Values, measure
from .search import Answers
from .storage import OVERSAMPLING, StorageType
from .task import Grades, RetrievalTask


@dataclass(frozen=True)
class Part:
    """Some queries, and the candidates among which their answers are sought."""

    asking: NDArray[np.int64]
    """Positions of the queries among all items of their side."""
    candidates: NDArray[np.int64]
    """Positions of the candidates among all items of the other side."""
    relevance: Sequence[Grades]
    """For every query the answers, as positions in `candidates`."""


@dataclass(frozen=True)
class Direction:
    """What asks what, in parts that are searched one by one."""

    name: str
    parts: Sequence[Part]
    ids: Sequence[str]
    """For every query of all parts its id."""
    languages: NDArray[np.str_]
    """For every query of all parts its language."""
    groups: NDArray[np.int64]
    """For every query of all parts the document that it is about, which is what is drawn at random."""

    def measure(
        self, asking: Vectors, candidates: Vectors, storage: StorageType, *, oversampling: int = OVERSAMPLING
    ) -> Values:
        """Every measure of every query, with the candidates in this type of numbers; both sides are unit vectors."""
        values = []
        for part in self.parts:
            whole = len(part.candidates) == len(candidates)
            stored = storage.store(
                candidates if whole else candidates[part.candidates], sample=candidates, oversampling=oversampling
            )
            found = stored.search(asking[part.asking], DEPTH, Answers(part.relevance))
            values.append(measure(found, part.relevance))
        return {name: np.concatenate([part[name] for part in values]) for name in MEASURES}


def forward(task: RetrievalTask) -> Direction:
    """All queries against the whole corpus."""
    about = [min(grades, default=-1) for grades in task.relevance]
    part = Part(np.arange(len(task.queries)), np.arange(len(task.corpus)), task.relevance)
    languages = np.array(task.languages, dtype=np.str_)
    return Direction(task.forward_name, [part], task.query_ids, languages, _number(np.array(about, np.int64)))


def backward(task: RetrievalTask) -> Direction:
    """Every document against the queries of one language after another, since with all languages together it would
    be the languages that are compared.
    """
    parts, ids, languages, about = [], [], [], []
    for language in task.language_names:
        part = _turn(task, language)
        parts.append(part)
        ids += [task.corpus_ids[document] for document in part.asking]
        languages += [language] * len(part.asking)
        about.append(part.asking)
    groups = _number(np.concatenate(about))
    return Direction(task.backward_name, parts, ids, np.array(languages, dtype=np.str_), groups)


def _turn(task: RetrievalTask, language: str) -> Part:
    """The documents that some query of the language is about, with those queries as their answers."""
    candidates = [position for position, name in enumerate(task.languages) if name == language]
    answers: dict[int, dict[int, int]] = {}
    for place, query in enumerate(candidates):
        for document, grade in task.relevance[query].items():
            answers.setdefault(document, {})[place] = grade
    asking = sorted(answers)
    relevance = [answers[document] for document in asking]
    return Part(np.array(asking, np.int64), np.array(candidates, np.int64), relevance)


def _number(groups: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.unique(groups, return_inverse=True)[1].ravel().astype(np.int64)
