"""From figures to the settings that they recommend. Pure arithmetic: no clock, no model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import geometric_mean
from typing import TYPE_CHECKING, Any

from ..output import plural

if TYPE_CHECKING:
    from .measure import Figure, Size

TOLERANCE = 0.05
"""Speeds that differ by less than this part are taken as equal, as measurements of a busy machine are."""

DECODING_MARGIN = 1.25
"""Decoding should be faster than the model by this factor, so that a stretch of larger photos does not hold it up."""

EXACT = ("float32", "float16", "bfloat16")
"""Precisions, the most exact first; it wins a tie."""

EMBEDDED = ("images", "texts")
"""What a user waits for, the slower one first."""


@dataclass(frozen=True)
class Advice:
    """Settings for `LocalBackend`, and the figures behind them."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    reasons: Sequence[str] = ()

    def call(self, model: str) -> str:
        """What to write in Python."""
        values = {name: f'"{value}"' if isinstance(value, str) else str(value) for name, value in self.settings.items()}
        return f'LocalBackend("{model}", {", ".join(f"{name}={value}" for name, value in values.items())})'


@dataclass
class Curve:
    """Speeds of one thing in one precision: images, or tokens of text, per second."""

    by_size: dict[int, float] = field(default_factory=dict)
    auto: float | None = None
    """With `batch_size="auto"`, if it was measured."""
    auto_size: int | None = None
    """The size that this is for images."""
    memory_full: bool = False
    """Whether memory ended the search, or what `auto` takes did not fit."""

    @property
    def best(self) -> float:
        """The highest speed, 0.0 if there is none."""
        return max([*self.by_size.values(), self.auto or 0.0])

    @property
    def has_comparison(self) -> bool:
        """Whether there is more than one size."""
        return len(self.by_size) + (self.auto is not None and self.auto_size is None) > 1

    @property
    def allows_auto(self) -> bool:
        """Whether what `auto` takes fits into memory, as far as is known."""
        return self.auto is not None or not self.memory_full

    def speed_at(self, size: Size) -> float | None:
        """The speed with `batch_size=size`: as measured, else as with the next smaller size; None for none smaller."""
        if size == "auto" and self.auto is not None:
            return self.auto
        # A batch larger than any that was measured is taken to be as fast as the largest one.
        smaller = [measured for measured in self.by_size if size == "auto" or measured <= size]
        return self.by_size[max(smaller)] if smaller else None

    def relative_speed(self, size: Size) -> float:
        """Speed with `size` as a part of the best; 1.0 where it is not known."""
        speed = self.speed_at(size)
        return speed / self.best if speed and self.best else 1.0


Curves = Mapping[str, Curve]
"""`images` and `texts`, as far as they were measured, of one precision."""


def advise(figures: Sequence[Figure]) -> Advice | None:
    """The settings that `figures` recommend; None where no text and no image was measured."""
    precisions = {figure.dtype: build_curves(figures, figure.dtype) for figure in figures if figure.dtype}
    precisions = {dtype: curves for dtype, curves in precisions.items() if curves}
    if not precisions:
        return None
    dtype = best_dtype(precisions)
    curves = precisions[dtype]
    size = best_batch_size(curves)
    settings: dict[str, Any] = {"dtype": dtype, "batch_size": size}
    reasons = [explain_dtype(precisions, dtype), explain_batch_size(curves, size)]
    speed = curves["images"].speed_at(size) if "images" in curves else None
    decoding = build_curve([figure for figure in figures if figure.what == "decoding"]).by_size
    if speed is not None and decoding:
        # The threads decode images, so without a speed of images there is nothing to compare them with.
        settings["num_workers"] = best_workers(decoding, speed)
        reasons.append(explain_workers(decoding, settings["num_workers"], speed))
    return Advice(settings, reasons)


def build_curves(figures: Sequence[Figure], dtype: str) -> dict[str, Curve]:
    """The curves of one precision; what was not measured at all is left out."""
    by_kind = {what: [f for f in figures if f.what == what and f.dtype == dtype] for what in EMBEDDED}
    return {what: curve for what, some in by_kind.items() if (curve := build_curve(some)).best}


def build_curve(figures: Sequence[Figure]) -> Curve:
    """The curve through figures of one thing."""
    curve = Curve(memory_full=any(figure.why_not == "out of memory" for figure in figures))
    for figure in figures:
        speed = figure.tokens_per_second or figure.per_second  # samples of texts differ a little in length
        if speed and figure.size != "auto":
            curve.by_size[figure.size] = speed
        if speed and figure.auto:
            curve.auto, curve.auto_size = speed, None if figure.size == "auto" else figure.size
    return curve


def best_dtype(precisions: Mapping[str, Curves]) -> str:
    """The fastest precision on average over images and texts; of those that are as fast the most exact one."""
    complete = max(len(curves) for curves in precisions.values())
    # Compared are only precisions of which everything was measured.
    whole = {dtype: curves for dtype, curves in precisions.items() if len(curves) == complete}  # others ran out of time
    scores = {}
    for dtype, curves in whole.items():
        best = {what: max(rival[what].best for rival in whole.values() if what in rival) for what in curves}
        scores[dtype] = sum(curve.best / best[what] for what, curve in curves.items()) / complete
    near = [dtype for dtype, score in scores.items() if score >= (1 - TOLERANCE) * max(scores.values())]
    return min(near, key=EXACT.index)


def best_batch_size(curves: Curves) -> Size:
    """`auto` if it is about as fast as any number on images and on texts, else the smallest number that is.

    Images and texts weigh the same (geometric mean). Where images were measured the numbers are theirs: texts alone
    would not say how many images fit into memory.
    """
    # The order decides a tie: "auto" adapts to the inputs, and of the numbers the smaller ones take less memory.
    leading = curves.get("images") or curves["texts"]
    sizes: list[Size] = ["auto"] if all(curve.allows_auto for curve in curves.values()) else []
    sizes += [size for size in sorted(leading.by_size) if size != leading.auto_size]
    scores = {
        size: geometric_mean([curve.relative_speed(size) for curve in curves.values()]) for size in sizes or ["auto"]
    }
    return next(size for size, score in scores.items() if score >= (1 - TOLERANCE) * max(scores.values()))


def best_workers(decoding: Mapping[int, float], images_per_second: float) -> int:
    """The fewest threads that decode faster than the model computes, with a margin; else the fewest of the fastest."""
    enough = [threads for threads, speed in decoding.items() if speed >= DECODING_MARGIN * images_per_second]
    near = [threads for threads, speed in decoding.items() if speed >= (1 - TOLERANCE) * max(decoding.values())]
    return min(enough or near)


def explain_dtype(precisions: Mapping[str, Curves], dtype: str) -> str:
    """The figures behind a precision."""
    what = next(iter(precisions[dtype]))
    unit = "images" if what == "images" else "tokens of text"
    order = [dtype, *(other for other in precisions if other != dtype and what in precisions[other])]
    speeds = ", ".join(f"{name} {format_rate(precisions[name][what].best)}" for name in order)
    return f"dtype: {unit} per second at best: {speeds}"


def explain_batch_size(curves: Curves, size: Size) -> str:
    """The figures behind a batch size."""
    parts = []
    for what, curve in curves.items():
        known = (
            f"{100 * curve.relative_speed(size):.0f}% of the highest speed"
            if curve.has_comparison
            else "one size measured only"
        )
        parts.append(f"{what} {known}")
    return f"batch_size: {size}: {', '.join(parts)}"


def explain_workers(decoding: Mapping[int, float], workers: int, images_per_second: float) -> str:
    """The figures behind a number of decoding threads."""
    verdict = "" if decoding[workers] >= images_per_second else "; photos that large hold the model up"
    return (
        f"num_workers: {plural(workers, 'thread')} can decode {format_rate(decoding[workers])} photos per second, "
        f"the model takes {format_rate(images_per_second)}{verdict}"
    )


def format_rate(per_second: float) -> str:
    """A speed with three digits: `0.0612`, `4.8`, `1,240`."""
    return f"{per_second:,.0f}" if per_second >= 100 else f"{per_second:.3g}"
