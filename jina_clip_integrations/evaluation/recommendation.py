"""The smallest setting that keeps enough of the quality, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .runs import HEADLINE, Measured, Setting

ENOUGH = 0.99
"""Share of the reference's quality that a recommended setting keeps."""


@dataclass(frozen=True)
class Recommendation:
    """A setting, and what it saves and costs against the reference."""

    setting: Setting
    kept: float
    """Share of the reference's quality."""
    bytes_per_vector: int
    reason: str


def find_reference(measured: Sequence[Measured]) -> Measured:
    """What the others are compared with: the widest float32, or the largest there is."""
    return max(measured, key=lambda one: (one.bytes_per_vector, one.setting.dimensions))


def share_kept(one: Measured, reference: Measured) -> float:
    """Share of the reference's quality; 1 if there was none to lose."""
    return one.quality / reference.quality if reference.quality else 1.0


def recommend(measured: Sequence[Measured], enough: float = ENOUGH) -> Recommendation:
    """The setting with the fewest bytes that keeps `enough` of the quality.

    Of equally small ones the one that keeps more, and without rescoring if that gains less than 0.1% of the quality.
    What a store keeps on disk for rescoring counts as bytes too, since it has to be kept somewhere.
    """
    reference = find_reference(measured)
    good = [one for one in measured if share_kept(one, reference) >= enough]
    best = min(good, key=lambda one: (_bytes(one), -round(share_kept(one, reference), 3), one.setting.storage.rescored))
    return Recommendation(best.setting, share_kept(best, reference), _bytes(best), _explain(best, reference, measured))


def _bytes(one: Measured) -> int:
    return one.bytes_per_vector + one.kept_bytes


def _explain(best: Measured, reference: Measured, measured: Sequence[Measured]) -> str:
    if best is reference:
        return f"{best.setting}: nothing smaller keeps enough of its {HEADLINE}"
    said = (
        f"{best.setting}: {share_kept(best, reference):.1%} of the {HEADLINE} of {reference.setting} "
        f"at {format_share(_bytes(best), _bytes(reference))} of the size"
    )
    smaller = [one for one in measured if _bytes(one) < _bytes(best)]
    if not smaller:
        return said
    next_best = max(smaller, key=lambda one: one.quality)
    return (
        f"{said}; of what is smaller, {next_best.setting} keeps the most, {share_kept(next_best, reference):.1%} "
        f"with {_bytes(next_best):,} bytes"
    )


def format_share(part: int, whole: int) -> str:
    """`1/16` where it is a whole number of times smaller, or else per cent."""
    return f"1/{whole // part}" if whole % part == 0 else f"{part / whole:.1%}"
