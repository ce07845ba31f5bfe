"""The demo model's retrieval: languages, widths, types of numbers, and image styles that it was never trained on.

    python benchmarks/evaluation.py [--no-styles]

Everything comes from the code behind `jina-clip evaluate`. The plot goes to `docs/images/evaluation.png`. The styles
are those of the training (`python training/fetch.py` downloads them, `resvg_py` draws them); `--no-styles` leaves them
out.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reporting import Option, heading, run, table

from jina_clip_integrations import JinaClipEncoder
from jina_clip_integrations.evaluation.plot import plot_settings
from jina_clip_integrations.evaluation.recommendation import find_reference, recommend, share_kept
from jina_clip_integrations.evaluation.report import (
    table_of_directions,
    table_of_languages,
    table_of_settings,
)
from jina_clip_integrations.evaluation.runs import Evaluation, Measured, Setting
from jina_clip_integrations.evaluation.storage import BITS, StorageType, storage_types
from jina_clip_integrations.evaluation.task import RetrievalTask, gallery_task

ROOT = Path(__file__).parent.parent
PLOT = ROOT / "docs" / "images" / "evaluation.png"
FLOAT32 = StorageType("float32")

README_SETTINGS = ("128 wide, float32", "64 wide, float32", "64 wide, int8", "128 wide, binary, float16 kept")


def report(no_styles: bool) -> str:
    """Measure everything and return the report."""
    task = gallery_task()
    with JinaClipEncoder("demo", backend="local", device="cpu", dtype="float32") as encoder:
        queries, corpus = encoder.encode(task.queries), encoder.encode(task.corpus)
        evaluation = Evaluation(task, queries, corpus)
        widths = sorted(encoder.spec.matryoshka_dimensions, reverse=True)
        measured = [evaluation.measure(Setting(width, kind)) for width in widths for kind in storage_types(list(BITS))]
        styles = {} if no_styles else measure_styles(encoder, task, evaluation)
    plot_settings(measured, PLOT, title="Demo model: what smaller vectors keep (its own gallery, 20 languages)")
    return "\n".join([*introduction(task), *sections(measured, styles)])


def measure_styles(encoder: JinaClipEncoder, task: RetrievalTask, evaluation: Evaluation) -> dict[str, Measured]:
    """The same names against the same emoji in styles that were kept out of training."""
    sys.path.insert(0, str(ROOT / "training"))
    from evaluate import HELD_OUT_STYLES, style_images

    found = {}
    for style in HELD_OUT_STYLES:
        drawn = Evaluation(task, evaluation.queries, encoder.encode_image(style_images(style)), search_rows=0)
        found[style] = drawn.measure(Setting(drawn.corpus.shape[1], FLOAT32))
    return found


def introduction(task: RetrievalTask) -> list[str]:
    """The title and what is measured."""
    return [
        heading("Retrieval of the demo model", __file__),
        f"{len(task.queries):,} names in {len(task.language_names)} languages against the {len(task.corpus):,} images "
        "of the gallery, and back. This is a small demo model, trained on emoji, not one of Jina's. Figures in per "
        "cent, means over languages, ties counted against the model; [how they are defined]"
        "(../../docs/evaluation.md).\n",
    ]


def sections(measured: Sequence[Measured], styles: dict[str, Measured]) -> list[str]:
    """Tables with their headings."""
    reference = find_reference(measured)
    first, second = reference.directions.values()
    parts = [
        "## Width and type\n",
        markdown(*table_of_settings(measured)),
        f"Recommended: {recommend(measured).reason}.\n",
        "![Quality kept against bytes per vector](../../docs/images/evaluation.png)\n",
        f"## {reference.setting}, with 95% intervals\n",
        markdown(*table_of_directions(reference)),
    ]
    if styles:
        parts += ["## Styles never trained on\n", styles_table({"gallery (Noto)": reference, **styles})]
    parts += ["## Languages, text to image\n", markdown(*table_of_languages(first))]
    parts += ["## Languages, image to text\n", markdown(*table_of_languages(second))]
    parts += ["## For the README\n", readme_table(measured)]
    return parts


def styles_table(styles: dict[str, Measured]) -> str:
    """Recall per image style, with intervals."""
    rows = []
    for style, one in styles.items():
        mean = next(iter(one.directions.values())).mean
        figures = [mean[name] for name in ("R@1", "R@5", "nDCG@10")]
        rows.append([style, *(f"{100 * f.mean:.1f} ({100 * f.low:.1f} to {100 * f.high:.1f})" for f in figures)])
    return table(["style", ">R@1", ">R@5", ">nDCG@10"], rows)


def readme_table(measured: Sequence[Measured]) -> str:
    """A few settings: size, quality kept, recall."""
    reference = find_reference(measured)
    by_name = {str(one.setting): one for one in measured}
    rows: list[list[Any]] = []
    for name in README_SETTINGS:
        one = by_name[name]
        mean = next(iter(one.directions.values())).mean
        size = f"{one.bytes_per_vector}" + (f" + {one.kept_bytes} on disk" if one.kept_bytes else "")
        figures = [f"{100 * mean[measure].mean:.1f}" for measure in ("R@1", "R@5")]
        rows.append([name, size, f"{share_kept(one, reference):.1%}", *figures])
    return table(["demo model", ">bytes", ">quality kept", ">R@1", ">R@5"], rows)


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of the report as Markdown, figures to the right."""
    return table([header[0], *(f">{name}" for name in header[1:])], rows)


if __name__ == "__main__":
    run(report, doc=__doc__, no_styles=Option(False, "do not measure the styles that have to be downloaded"))
