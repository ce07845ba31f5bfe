"""Exact search in blocks: the best documents of every query, in bounded memory, ties against us.

A document that answers the query gives way to every document that answers it less and scores as high, so that a model
that gives everything the same vector finds nothing. Tools that break ties by id give half of such finds to chance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..types import Vectors
from .task import Grades

TIE = 1e-6
"""Cosines closer than this are a tie: float32 sums of the same products differ by as much, depending on their order."""

QUERIES_PER_BLOCK = 256
DOCUMENTS_PER_BLOCK = 16_384
"""Scores in memory at a time: 256 queries times 16,384 documents are 16 MB."""

Decode = Callable[[int, int], Vectors]
"""The rows of a corpus from one position up to another, as the float32 numbers that are multiplied."""


@dataclass(frozen=True)
class Found:
    """The best documents of every query."""

    positions: NDArray[np.int64]
    """`(n, k)`, best first; -1 where there is nothing more."""
    scores: NDArray[np.float32]
    """`(n, k)`; a right answer's is lowered by the tie tolerance; -inf where there is nothing more."""


class Answers:
    """The right answers of all queries as arrays, to lower their scores by the tolerance of ties."""

    def __init__(self, relevance: Sequence[Grades]) -> None:
        rows = [(query, *answer) for query, grades in enumerate(relevance) for answer in sorted(grades.items())]
        table = np.array(rows, np.int64).reshape(-1, 3)
        self._queries, self._documents = table[:, 0], table[:, 1]
        self._keys = _keys(self._queries, self._documents)
        # By grade: of two right answers that tie, the better one stands behind.
        grades, steps = np.unique(table[:, 2], return_inverse=True)
        self._shares = ((steps.ravel() + 1) / max(len(grades), 1)).astype(np.float32)

    def lower(self, scores: Vectors, query: int, document: int, tie: float) -> None:
        """Subtract from the scores `(n, m)` of the queries from `query` on against the documents from `document` on."""
        first, last = np.searchsorted(self._queries, [query, query + len(scores)])
        columns = self._documents[first:last] - document
        here = (columns >= 0) & (columns < scores.shape[1])
        scores[self._queries[first:last][here] - query, columns[here]] -= tie * self._shares[first:last][here]

    def lower_found(self, scores: Vectors, positions: NDArray[np.int64], query: int, tie: float) -> None:
        """Subtract from the scores `(n, k)` of what the queries from `query` on found at `positions` `(n, k)`."""
        if not len(self._keys):
            return
        asked = _keys(np.arange(query, query + len(positions))[:, None], positions)
        places = np.minimum(np.searchsorted(self._keys, asked), len(self._keys) - 1)
        scores -= np.where(self._keys[places] == asked, tie * self._shares[places], np.float32(0))


def _keys(queries: NDArray[np.int64], documents: NDArray[np.int64]) -> NDArray[np.int64]:
    return queries * (1 << 32) + documents


def search(
    queries: Vectors, decode: Decode, documents: int, k: int, answers: Answers | None = None, *, tie: float = TIE
) -> Found:
    """The `k` documents with the highest inner product of every query, over `documents` rows given by `decode`.

    Rows with NaN, on either side, are never found.
    """
    found = [
        _search_block(queries[start : start + QUERIES_PER_BLOCK], start, decode, documents, k, answers, tie)
        for start in range(0, len(queries), QUERIES_PER_BLOCK)
    ]
    if not found:
        return Found(np.empty((0, k), np.int64), np.empty((0, k), np.float32))
    positions, scores = zip(*found, strict=True)
    return Found(np.concatenate(positions), np.concatenate(scores))


def search_rows(queries: Vectors, rows: Vectors, k: int, relevance: Sequence[Grades] | None = None) -> Found:
    """`search` of float32 rows `(m, d)` in memory."""
    answers = Answers(relevance) if relevance is not None else None
    return search(queries, lambda start, stop: rows[start:stop], len(rows), k, answers)


def rescore(
    queries: Vectors,
    found: Found,
    decode_rows: Callable[[NDArray[np.int64]], Vectors],
    k: int,
    answers: Answers,
    *,
    tie: float = TIE,
) -> Found:
    """The best `k` of what a coarse search found, ordered anew by `decode_rows`: positions `(p,)` to rows `(p, d)`."""
    positions, scores = found.positions.copy(), found.scores.copy()
    for start in range(0, len(queries), QUERIES_PER_BLOCK):
        block = slice(start, start + QUERIES_PER_BLOCK)
        scores[block] = _score_found(queries[block], positions[block], decode_rows)
        answers.lower_found(scores[block], positions[block], start, tie)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return Found(np.take_along_axis(positions, order, axis=1), np.take_along_axis(scores, order, axis=1))


def _score_found(
    queries: Vectors, positions: NDArray[np.int64], decode_rows: Callable[[NDArray[np.int64]], Vectors]
) -> Vectors:
    rows = decode_rows(np.maximum(positions, 0).ravel()).reshape(*positions.shape, -1)
    scores = np.einsum("nkd,nd->nk", rows, queries)
    return np.where(positions >= 0, scores, -np.inf).astype(np.float32)


def _search_block(
    queries: Vectors, first: int, decode: Decode, documents: int, k: int, answers: Answers | None, tie: float
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    positions = np.full((len(queries), k), -1, np.int64)
    best = np.full((len(queries), k), -np.inf, np.float32)
    for start, rows in _blocks(decode, documents):
        scores = queries @ rows.T
        if answers is not None:
            answers.lower(scores, first, start, tie)
        # Only what beats the worst of the best so far is sorted in: after the first blocks that is next to nothing.
        places = _candidates(scores, best[:, -1], k)
        positions, best = _merge(positions, best, *places, scores[places], start)
    return positions, best


def _blocks(decode: Decode, documents: int) -> Iterator[tuple[int, Vectors]]:
    for start in range(0, documents, DOCUMENTS_PER_BLOCK):
        yield start, decode(start, min(start + DOCUMENTS_PER_BLOCK, documents))


def _candidates(scores: Vectors, worst: NDArray[np.float32], k: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and columns of the scores that may be among the best `k`; NaN never is."""
    if np.isneginf(worst).any() and scores.shape[1] > k:
        top = np.argpartition(np.where(np.isnan(scores), -np.inf, scores), -k, axis=1)[:, -k:]
        rows = np.repeat(np.arange(len(scores)), k)
        columns = top.ravel()
        better = scores[rows, columns] > worst[rows]
        return rows[better], columns[better]
    rows, columns = np.nonzero(scores > worst[:, None])
    return rows, columns


def _merge(
    positions: NDArray[np.int64],
    best: NDArray[np.float32],
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    scores: NDArray[np.float32],
    start: int,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    count, k = positions.shape
    if not len(rows):
        return positions, best
    all_rows = np.concatenate([np.repeat(np.arange(count), k), rows])
    all_positions = np.concatenate([positions.ravel(), columns + start])
    all_scores = np.concatenate([best.ravel(), scores])
    order = np.lexsort((all_positions, -all_scores, all_rows))
    # Every row has at least its k old entries, so the first k of each are there.
    starts = np.searchsorted(all_rows[order], np.arange(count))
    kept = order[starts[:, None] + np.arange(k)]
    return all_positions[kept], all_scores[kept]
