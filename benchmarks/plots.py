"""The one kind of figure that the benchmarks draw: rates against a size, one line per contender."""

from __future__ import annotations

from collections.abc import Mapping

from reporting import RESULTS


def rates_figure(name: str, curves: Mapping[str, Mapping[int, float]], x: str, y: str) -> str:
    """Draw `curves` (contender to size to rate) into `results/<name>.png`; returns the Markdown that shows it."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
    for label, curve in curves.items():
        axes.plot(list(curve), list(curve.values()), marker="o", label=label)
    sizes = sorted({size for curve in curves.values() for size in curve})
    axes.set_xscale("log", base=2)
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axes.set_ylim(0, 1.1 * max(rate for curve in curves.values() for rate in curve.values()))
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(RESULTS / f"{name}.png", dpi=120)
    plt.close(figure)
    return f"![{y} by {x}]({name}.png)\n"
