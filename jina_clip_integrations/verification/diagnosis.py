"""From a target's vectors to what is wrong with them.

The vectors are held against those of the right recipe. Where they differ, every mistake is tried: the one whose vectors
lie nearest explains the difference if it removes most of it, and then the next is looked for on top of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..types import Vectors
from .recipes import Mistake

SAME = 0.99999
"""Cosine from which two vectors are the same in float32 (the tolerance of the golden vectors)."""

HALF_PRECISION = 0.995
"""Smallest cosine that honest bfloat16 arithmetic gives; less is noise, or a mistake."""

SHOWS = 1e-5
"""Least difference, as 1 - cosine, between right and mistaken vector for a probe to tell them apart."""

EXPLAINED = 0.3
"""A mistake explains a difference if no more than this share of it is left."""

MAX_MISTAKES = 3
"""Mistakes that are looked for on top of each other."""

SAME_MODEL = 0.5
"""Median cosine below which, without an explanation, it is another model altogether."""


@dataclass
class Finding:
    """One thing that is wrong, or worth knowing."""

    name: str
    advice: str
    is_fault: bool = True


@dataclass
class Verdict:
    """What one kind of probes shows."""

    findings: list[Finding] = field(default_factory=list)
    smallest_cosine: float = 1.0
    """With the right vectors, over all probes, as they came."""


def unit(rows: Vectors) -> NDArray[np.float64]:
    """Rows of unit length; zeros for rows without one."""
    rows = rows.astype(np.float64)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.nan_to_num(np.where(lengths > 0, rows / lengths, 0.0))


def cosine(a: Vectors, b: Vectors) -> NDArray[np.float64]:
    """Cosine of each pair of rows."""
    product: NDArray[np.float64] = (unit(a) * unit(b)).sum(axis=1)
    return product


def find_order(rows: Vectors, right: Vectors) -> list[int] | None:
    """Where each row of `right` stands among `rows`, if they are the same rows in another order; else None."""
    nearest = (unit(right) @ unit(rows).T).argmax(axis=1)
    if sorted(nearest) != list(range(len(rows))) or list(nearest) == list(range(len(rows))):
        return None
    before, after = cosine(rows, right), cosine(rows[nearest], right)
    return [int(place) for place in nearest] if after.min() > 0.99 > before.min() else None


def diagnose(rows: Vectors, compute: Callable[[Any], Vectors], right: Any, mistakes: Sequence[Mistake]) -> Verdict:
    """What is wrong with `rows` `(n, d)`, whose right vectors are `compute(right)`.

    `compute` gives the vectors of all probes for a recipe; it is asked for mistakes only where something is wrong.
    """
    expected = compute(right)
    verdict = Verdict(smallest_cosine=float(cosine(rows, expected).min()))
    if verdict.smallest_cosine >= SAME:
        return verdict
    order = find_order(rows, expected)
    if order is not None:
        verdict.findings.append(Finding("rows come out of order", "give every vector the index of its input"))
        rows = rows[order]
    recipe, known = right, expected
    for _ in range(MAX_MISTAKES):
        found = _nearest_mistake(rows, known, compute, recipe, mistakes)
        if found is None:
            break
        mistake, recipe, known = found
        verdict.findings.append(Finding(mistake.name, mistake.advice))
    _judge_what_is_left(verdict, cosine(rows, known))
    return verdict


def _nearest_mistake(
    rows: Vectors, known: Vectors, compute: Callable[[Any], Vectors], recipe: Any, mistakes: Sequence[Mistake]
) -> tuple[Mistake, Any, Vectors] | None:
    """The mistake on top of `recipe` that explains most of the difference between `rows` and `known`."""
    left = 1 - cosine(rows, known)
    if left.max() < 1 - SAME:
        return None
    best: tuple[float, Mistake, Any, Vectors] | None = None
    for mistake in mistakes:
        other = mistake.apply(recipe)
        if other == recipe or getattr(recipe, mistake.field) != getattr(type(recipe)(), mistake.field):
            continue  # one mistake per field
        wrong = compute(other)
        shows = 1 - cosine(wrong, known) > SHOWS
        if not shows.any():
            continue
        remains = 1 - cosine(rows, wrong)
        # On the probes that tell the two apart nearly nothing may be left; on the others nothing changes.
        # The median, since a second mistake may spoil some of them.
        share = float(np.median(remains[shows] / np.maximum(left[shows], SHOWS)))
        if share <= EXPLAINED and (best is None or remains.mean() < best[0]):
            best = (float(remains.mean()), mistake, other, wrong)
    return None if best is None else best[1:]


def _judge_what_is_left(verdict: Verdict, cosines: NDArray[np.float64]) -> None:
    smallest, middle = float(cosines.min()), float(np.median(cosines))
    if smallest >= SAME:
        return
    if smallest >= HALF_PRECISION:
        verdict.findings.append(
            Finding(
                f"half precision (smallest cosine {smallest:.5f})",
                "as bfloat16 and float16 give; compute in float32 where equal vectors are needed",
                is_fault=False,
            )
        )
    elif middle < SAME_MODEL:
        verdict.findings.append(
            Finding(f"another model (median cosine {middle:.3f})", "check name, revision and files of the model")
        )
    elif smallest >= 0.9 or (middle >= HALF_PRECISION and verdict.findings):
        verdict.findings.append(
            Finding(
                f"low-precision noise (smallest cosine {smallest:.4f})",
                "keep more bits: 8-bit layers need calibration, and some must stay in half precision",
            )
        )
    else:
        verdict.findings.append(
            Finding(
                f"a difference that no known mistake explains (cosines {smallest:.3f} to {float(cosines.max()):.3f})",
                "compare the steps one by one with jina_clip_export.json or the model's configuration",
            )
        )
