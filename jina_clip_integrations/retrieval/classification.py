"""Zero-shot classification as arithmetic on vectors, and what comes out of it.

As in Radford et al., "Learning Transferable Visual Models From Natural Language Supervision" (2021), 3.1.2 to 3.1.4: a
label is the mean of its prompts' unit vectors, and probabilities are a softmax over the labels of the cosines times
the model's logit scale. A softmax because these models are trained with one (InfoNCE): an input has exactly one label,
and a cosine by itself is no probability.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import ConfigurationError
from ..types import Vectors
from ..vectors import normalize, similarity
from .prompts import LabelPrompts

SHOWN_ROWS = 10
"""Rows that `repr` shows."""

SHOWN_LABELS = 3
"""Labels of each row that `repr` shows."""


@dataclass(frozen=True)
class Prediction:
    """One label of one input."""

    label: str
    probability: float
    """Share among the labels that there are."""
    score: float
    """Cosine, which depends on no other label."""


@dataclass(frozen=True, eq=False, repr=False)
class Classification:
    """Inputs against labels. `len` is the number of inputs, `result[i]` all predictions of input i, the best first.

    A row that was left out (`on_error="skip"`) is NaN and has no predictions.
    """

    labels: tuple[str, ...]
    """The columns."""
    scores: Vectors
    """Cosines of inputs and labels, `(n, k)` float32."""
    probabilities: Vectors
    """`(n, k)` float32; rows sum to 1."""
    logit_scale: float
    """What the cosines were multiplied by before the softmax."""

    @property
    def predicted(self) -> list[str | None]:
        """The best label of every input; None for a row that was left out."""
        return [self.labels[row.argmax()] if np.isfinite(row).all() else None for row in self.scores]

    @property
    def confidence(self) -> Vectors:
        """The probability of the best label, `(n,)`; NaN for a row that was left out."""
        confidence: Vectors = self.probabilities.max(axis=1)  # the maximum of NaN is NaN
        return confidence

    def top(self, k: int = 1) -> list[list[Prediction]]:
        """The `k` best labels of every input, the best first; none for a row that was left out."""
        return [self._predictions(row, k) for row in range(len(self))]

    def rows(self, numbers: Sequence[int]) -> Classification:
        """The result of some of the inputs, in this order."""
        chosen = np.asarray(numbers, np.intp)
        return replace(self, scores=self.scores[chosen], probabilities=self.probabilities[chosen])

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, row: int) -> list[Prediction]:
        return self._predictions(range(len(self))[row], len(self.labels))  # an IndexError ends iteration

    def _predictions(self, row: int, k: int) -> list[Prediction]:
        scores, shares = self.scores[row], self.probabilities[row]
        if not np.isfinite(scores).all():
            return []
        order = np.argsort(-scores, kind="stable")[:k]  # by score: very small probabilities may be equal
        return [Prediction(self.labels[n], float(shares[n]), float(scores[n])) for n in order]

    def __repr__(self) -> str:
        lines = [f"Classification of {len(self)} by {len(self.labels)} labels"]
        for row, best in enumerate(self.top(SHOWN_LABELS)[:SHOWN_ROWS]):
            found = "  ".join(f"{one.label} {one.probability:.1%}" for one in best)
            lines.append(f"{row:4d}  {found or 'left out'}")
        if len(self) > SHOWN_ROWS:
            lines.append(f"   …  {len(self) - SHOWN_ROWS} more")
        return "\n".join(lines)

    # Against the truth

    def accuracy(self, truth: Sequence[str], *, k: int = 1) -> float:
        """Share of inputs whose true label is among the first `k`; 0 for no inputs.

        Labels that score as high as the true one stand before it, and a row that was left out counts as wrong.
        Raises `ConfigurationError` for a truth that is no label, or not one per input.
        """
        columns = self._columns(truth)
        if not len(columns):
            return 0.0
        right = np.take_along_axis(self.scores, columns[:, None], axis=1)
        ranks = (self.scores >= right).sum(axis=1)  # the true label counts itself
        return float(np.mean((ranks <= k) & (ranks > 0)))  # NaN is not as high as itself: rank 0

    def confusion(self, truth: Sequence[str]) -> NDArray[np.int64]:
        """How many inputs of each true label (row) got each label (column), `(k, k)`. Left-out rows are not counted."""
        columns = self._columns(truth)
        there = np.isfinite(self.scores).all(axis=1)
        counts = np.zeros((len(self.labels), len(self.labels)), np.int64)
        np.add.at(counts, (columns[there], self.scores[there].argmax(axis=1)), 1)
        return counts

    def _columns(self, truth: Sequence[str]) -> NDArray[np.int64]:
        if isinstance(truth, str) or len(truth) != len(self):
            raise ConfigurationError(f"there must be one true label for each of {len(self)} inputs, not {len(truth)}")
        column = {label: number for number, label in enumerate(self.labels)}
        unknown = next((label for label in truth if label not in column), None)
        if unknown is not None:
            raise ConfigurationError(f"the true label {unknown!r} is none of the labels")
        return np.array([column[label] for label in truth], np.int64)


def ensemble(vectors: Vectors, prompts: LabelPrompts) -> Vectors:
    """Unit vectors of the labels, `(k, d)` float32: of each the mean of its prompts' unit vectors, normalised again."""
    starts = np.cumsum([0, *prompts.counts[:-1]])
    sums = np.add.reduceat(normalize(vectors), starts, axis=0, dtype=np.float64)
    # The sum points where the mean does. In float64, so that prompts do not add up rounding errors.
    return normalize((sums / np.asarray(prompts.counts)[:, None]).astype(np.float32))


def classify_vectors(
    vectors: ArrayLike, label_vectors: Vectors, labels: tuple[str, ...], logit_scale: float
) -> Classification:
    """Classify inputs that are vectors `(n, d)` of any length. Raises `ConfigurationError` for another width."""
    rows = np.asarray(vectors, np.float32)
    width = label_vectors.shape[1]
    rows = rows.reshape(-1, width) if rows.shape in ((width,), (0,)) else rows
    if rows.ndim != 2 or (len(rows) and rows.shape[1] != width):
        raise ConfigurationError(f"vectors of shape {rows.shape} against labels of {width} dimensions")
    rows = rows if len(rows) else np.empty((0, width), np.float32)
    scores = similarity(rows, label_vectors)
    return Classification(labels, scores, softmax(logit_scale * scores.astype(np.float64)), logit_scale)


def softmax(logits: NDArray[np.float64]) -> Vectors:
    """Rows that sum to 1, `(n, k)` float32; NaN rows stay NaN."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))  # the highest is e^0, so that nothing overflows
    shares: Vectors = (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
    return shares
