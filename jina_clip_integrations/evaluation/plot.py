"""Quality kept against size, as in the announcements of the models."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import InputError, require_extra
from .recommendation import ENOUGH, find_reference, recommend, share_kept
from .runs import HEADLINE, Measured

COLOURS = {
    "float32": "#1f4e79",
    "float16": "#2a9d8f",
    "int8": "#3a3a3a",
    "int8, rescored": "#d1495b",
    "binary": "#c9a66b",
    "binary, rescored": "#b5651d",
    "binary, float16 kept": "#6a4c93",
}
"""Type of numbers to the colour of its line."""

FORMATS = (".png", ".svg", ".pdf")

LOWEST_SHOWN = 0.5
"""Settings that keep less are noted at the edge, so that the others can be told apart."""


def check_plot_path(path: Path) -> None:
    """Raise `InputError` or `ImportError`, before anything is embedded, if the plot could not be written."""
    require_extra("matplotlib", extra="evaluate", purpose="A plot")
    if path.suffix.lower() not in FORMATS:
        raise InputError(f"--plot {path}: the name must end in {', '.join(FORMATS)}")
    if not path.parent.is_dir():
        raise InputError(f"--plot {path}: there is no folder {path.parent}")


def plot_settings(measured: Sequence[Measured], path: Path, *, title: str, enough: float = ENOUGH) -> None:
    """Draw a line per type of numbers through its widths, and mark what is recommended."""
    require_extra("matplotlib", extra="evaluate", purpose="A plot")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.4, 5.0), dpi=150, layout="constrained")
    axes = figure.subplots()
    draw_settings(axes, measured, enough=enough)
    axes.set_title(title, loc="left", fontsize=12, fontweight="bold")
    figure.savefig(path, metadata={"Date": None} if path.suffix.lower() == ".svg" else None)


def draw_settings(axes: Any, measured: Sequence[Measured], *, enough: float = ENOUGH) -> None:
    """The plot without its title, into the axes of a figure."""
    reference = find_reference(measured)
    lines: dict[str, list[Measured]] = {}
    for one in sorted(measured, key=lambda one: one.setting.dimensions):
        lines.setdefault(str(one.setting.storage), []).append(one)
    for name, settings in lines.items():
        sizes = [one.bytes_per_vector for one in settings]
        kept = [100 * share_kept(one, reference) for one in settings]
        colour = COLOURS.get(name, "#444444")
        # Rescored lines are solid; those below shine through where the two are the same.
        coarse = name in ("int8", "binary")
        axes.plot(
            sizes, kept, color=colour, marker="o", markersize=4 if coarse else 6, linewidth=1.2 if coarse else 1.9,
            linestyle=(0, (3, 2)) if coarse else "-", label=name, zorder=3 if coarse else 2,
        )  # fmt: skip
    _mark(axes, measured, reference, enough)
    _label_widths(axes, lines, reference)
    _dress(axes, measured, reference)


def _mark(axes: Any, measured: Sequence[Measured], reference: Measured, enough: float) -> None:
    best = recommend(measured, enough)
    one = next(one for one in measured if one.setting == best.setting)
    axes.axhline(100 * enough, color="#999999", linewidth=0.9, linestyle=(0, (4, 3)), zorder=0)
    axes.plot(
        [one.bytes_per_vector],
        [100 * share_kept(one, reference)],
        marker="o",
        markersize=14,
        markerfacecolor="none",
        markeredgecolor="black",
        markeredgewidth=1.6,
        linestyle="none",
        label=f"recommended: {one.setting}",
        zorder=4,
    )


def _label_widths(axes: Any, lines: dict[str, list[Measured]], reference: Measured) -> None:
    """The width beside the points of the first and the last line; those between have the same ones."""
    if not lines:
        return
    for name in dict.fromkeys([next(iter(lines)), list(lines)[-1]]):
        for one in lines[name]:
            kept = 100 * share_kept(one, reference)
            if kept >= 100 * LOWEST_SHOWN:
                place = (one.bytes_per_vector, kept)
                axes.annotate(
                    str(one.setting.dimensions), place, (0, -13), textcoords="offset points", ha="center",
                    fontsize=8, color=COLOURS.get(name, "#444444"),
                    bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6, "alpha": 0.75},
                )  # fmt: skip


def _dress(axes: Any, measured: Sequence[Measured], reference: Measured) -> None:
    sizes = sorted({one.bytes_per_vector for one in measured})
    ticks = [size for size in sizes if size & (size - 1) == 0] or sizes
    axes.set_xscale("log", base=2)
    axes.set_xticks(ticks, [f"{size:,}" for size in ticks])
    axes.minorticks_off()
    lowest = min(100 * share_kept(one, reference) for one in measured)
    axes.set_ylim(max(lowest - 4, 100 * LOWEST_SHOWN), 102.5)
    axes.set_xlabel("bytes per vector that a search reads (each step doubles)")
    axes.set_ylabel(f"{HEADLINE} kept, % of {reference.setting}")
    axes.grid(axis="y", color="#e6e6e6", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8.5, loc="lower right")
