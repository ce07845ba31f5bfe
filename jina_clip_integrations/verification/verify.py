"""`verify`: a target's answers to the probes, and what they say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from ..catalog import ModelSpec
from ..types import Vectors
from .diagnosis import Finding, Verdict, cosine, diagnose, find_order
from .probes import TEXTS, image_probes, long_text
from .recipes import IMAGE_MISTAKES, RIGHT_IMAGE, RIGHT_TEXT, TEXT_MISTAKES, ImageRecipe, Mistake, TextRecipe
from .reference import Reference
from .targets import Target

UNIT_TOLERANCE = 1e-3
"""How far from 1 the length of a vector may be that is called normalised; bfloat16 rounds by 4e-3 a value."""

OTHER_VALUES = 0.5
"""Median cosine between cut vectors and the beginning of whole ones below which other values were kept."""

Step = Callable[[str], None]


@dataclass
class Report:
    """What was found, by kind of probe."""

    verdicts: dict[str, Verdict] = field(default_factory=dict)

    @property
    def findings(self) -> list[tuple[str, Finding]]:
        """Every finding with the probes that showed it, in order, each once."""
        return [(kind, each) for kind, verdict in self.verdicts.items() for each in verdict.findings]

    @property
    def faults(self) -> list[str]:
        """Names of what is wrong."""
        return list(dict.fromkeys(each.name for _, each in self.findings if each.is_fault))


def verify(target: Target, reference: Reference, *, step: Step = lambda _: None) -> Report:
    """Send the probes to `target` and hold its answers against `reference`. Sends some thirty small inputs.

    Raises what the target's backend raises where it gives no answer.
    """
    report = Report()
    texts = [*TEXTS, long_text(reference.count_tokens)]
    mistakes = [each for each in TEXT_MISTAKES if _is_possible(each, reference)]
    step("texts")
    rows = {task: target.texts(texts, task, spec=reference.spec) for task in reference.tasks}

    # All tasks at once, since a mistake with instructions shows in one of them only.
    def compute_texts(recipe: TextRecipe) -> Vectors:
        return np.concatenate([reference.texts(texts, task, recipe) for task in reference.tasks])

    stacked = np.concatenate([_in_order(rows[task], reference, texts, task, report) for task in reference.tasks])
    report.verdicts["texts"] = diagnose(stacked, lru_cache(compute_texts), RIGHT_TEXT, mistakes)
    step("images")
    data = [probe.data for probe in image_probes(reference.spec.image_size)]

    def compute_images(recipe: ImageRecipe) -> Vectors:
        return reference.images(data, recipe)

    images = target.images(data)
    report.verdicts["images"] = diagnose(images, lru_cache(compute_images), RIGHT_IMAGE, IMAGE_MISTAKES)
    if target.is_server and "order" not in report.verdicts:
        step("lengths")
        report.verdicts["lengths"] = _check_lengths(target, reference, texts[:-1], np.concatenate([stacked, images]))
    return report


def compare(target: Target, other: Target, *, model: ModelSpec, step: Step = lambda _: None) -> Report:
    """Hold two targets against each other, where there are no weights of the model `model` on this machine.

    Differences are found, and rows out of order; which mistake it is takes the weights.
    """
    report = Report()
    texts = [*TEXTS, " ".join(TEXTS) * 12]
    for task in (None, *model.tasks):
        name = "texts" if task is None else f"texts for {task}"
        step(name)
        rows, others = (each.texts(texts, task, spec=model) for each in (target, other))
        report.verdicts[name] = diagnose(rows, _fixed(others), RIGHT_TEXT, ())
    step("images")
    data = [probe.data for probe in image_probes(model.image_size)]
    report.verdicts["images"] = diagnose(target.images(data), _fixed(other.images(data)), RIGHT_IMAGE, ())
    return report


def _fixed(rows: Vectors) -> Callable[[Any], Vectors]:
    return lambda _: rows


def _is_possible(mistake: Mistake, reference: Reference) -> bool:
    """Whether this model can be computed with this mistake at all."""
    if mistake.field == "instruction":
        return bool(reference.spec.tasks)
    return mistake.field != "adapters" or reference.has_adapters


def _in_order(rows: Vectors, reference: Reference, texts: Sequence[str], task: str | None, report: Report) -> Vectors:
    """The rows of one request in the order of their texts; that they were not is noted."""
    order = find_order(rows, reference.texts(texts, task, RIGHT_TEXT))
    if order is None:
        return rows
    finding = Finding("rows come out of order", "give every vector the index of its input")
    report.verdicts.setdefault("order", Verdict(findings=[finding]))
    return rows[order]


def _check_lengths(target: Target, reference: Reference, texts: list[str], rows: Vectors) -> Verdict:
    """Whether vectors have unit length where the server says so, also after it has truncated them."""
    verdict = Verdict()
    if target.dialect is None or not target.dialect.unit_vectors:
        return verdict
    if not _are_unit(rows):
        verdict.findings.append(Finding("vectors are not normalised", "divide every vector by its length"))
        return verdict
    widths = [each for each in reference.spec.matryoshka_dimensions if each < reference.spec.embed_dim]
    if not (widths and target.dialect.dimensions_field):
        return verdict
    cut = target.texts(texts, None, spec=reference.spec, dimensions=max(widths))
    if cut.shape[1] == max(widths) and not _are_unit(cut):
        verdict.findings.append(Finding("normalised before the cut", "truncate first, then normalise"))
    elif cut.shape[1] == max(widths) and np.median(cosine(cut, rows[: len(texts), : max(widths)])) < OTHER_VALUES:
        verdict.findings.append(Finding("cut vectors keep other values", "keep the first `dimensions` values"))
    return verdict


def _are_unit(rows: Vectors) -> bool:
    return bool(np.allclose(np.linalg.norm(rows, axis=1), 1.0, atol=10 * UNIT_TOLERANCE))
