"""Measure the packaged demo model through the package's public encoder.

    python training/evaluate.py

Writes `training/results/evaluation.md` and `evaluation.json`. A query counts at k if its own image is among the
first k of the whole gallery; images with an equal score are put before it, so ties count against the model.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from architecture import MATRYOSHKA_DIMENSIONS
from catalogue import LANGUAGES, load_emoji
from fetch import CACHE
from PIL import Image
from render import DEMO_DATA, HELD_OUT_STYLES, on_white, render

from jina_clip_integrations import JinaClipEncoder
from jina_clip_integrations.demo import gallery
from jina_clip_integrations.evaluation.metrics import DEPTH
from jina_clip_integrations.evaluation.metrics import measure as measure_queries
from jina_clip_integrations.evaluation.search import search_rows
from jina_clip_integrations.vectors import truncate_and_normalize

RESULTS = Path(__file__).parent / "results"
FULL = MATRYOSHKA_DIMENSIONS[-1]

#: Figure -> its lower bound, in the order of the report.
TARGETS = {
    "gallery R@5": 85.0,
    "gallery R@1": 55.0,
    "held-out style (Twemoji) R@5": 55.0,
    "worst language R@5, share of the mean": 80.0,
    "64 dimensions R@5, change": -3.0,
    "held-out keywords R@5": 35.0,
}


def recall(queries: np.ndarray, images: np.ndarray, targets: Sequence[int], dimensions: int = FULL) -> dict[str, float]:
    """Return R@1 and R@5 in percent, as `jina-clip evaluate` measures them."""
    asked, found = (truncate_and_normalize(rows, dimensions=dimensions, normalized=True) for rows in (queries, images))
    relevance = [{target: 1} for target in targets]
    values = measure_queries(search_rows(asked, found, DEPTH, relevance), relevance)
    return {name: round(100 * float(values[name].mean()), 1) for name in ("R@1", "R@5")}


def mean_recall(per_language: dict[str, dict[str, float]]) -> dict[str, float]:
    """Return the mean over languages."""
    return {k: round(float(np.mean([row[k] for row in per_language.values()])), 1) for k in ("R@1", "R@5")}


def style_images(style: str) -> list[Image.Image]:
    """Return the gallery's emoji in another style, on white, at the size of the gallery's images."""
    path = CACHE / f"evaluation-{style}.npy"
    if not path.exists():
        np.save(path, on_white(render(style, 112)))
    return [Image.fromarray(pixels) for pixels in np.load(path)]


def joined_keywords(language: str) -> tuple[list[str], list[int]]:
    """Return the joined keywords of the held-out emoji, without their names, and the emoji's rows."""
    texts, rows = [], []
    for row, emoji in enumerate(load_emoji()):
        words = [word for word in emoji.keywords[language] if word.casefold() != emoji.names[language].casefold()]
        if emoji.keywords_held_out and words:
            texts.append(" ".join(words))
            rows.append(row)
    return texts, rows


def measure(model: str) -> dict[str, Any]:
    """Embed everything and return all figures."""
    images = gallery()
    decoded = [image.image() for image in images]
    everyone = range(len(images))
    with JinaClipEncoder(model=model, backend="local", device="cpu") as encoder:
        encoder.encode_image(decoded[:8])
        began, worked = time.perf_counter(), time.process_time()
        noto = encoder.encode_image(decoded)
        seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - worked
        names = {lang: encoder.encode_text([image.names[lang] for image in images]) for lang in LANGUAGES}
        asked = {
            lang: encoder.encode_text([image.names[lang] for image in images], task="retrieval.query")
            for lang in LANGUAGES
        }
        styles = {style: encoder.encode_image(style_images(style)) for style in HELD_OUT_STYLES}
        keywords = {}
        for lang in LANGUAGES:
            texts, rows = joined_keywords(lang)
            keywords[lang] = recall(encoder.encode_text(texts), noto, rows)
    languages = {lang: recall(vectors, noto, everyone) for lang, vectors in names.items()}
    mean = mean_recall(languages)
    worst = min(languages, key=lambda lang: languages[lang]["R@5"])
    dimensions = {
        str(d): mean_recall({lang: recall(v, noto, everyone, d) for lang, v in names.items()})
        for d in MATRYOSHKA_DIMENSIONS
    }
    unseen = {
        style: mean_recall({lang: recall(v, vectors, everyone) for lang, v in names.items()})
        for style, vectors in styles.items()
    }
    back = {lang: recall(noto, v, everyone) for lang, v in names.items()}
    files = {str(p.relative_to(DEMO_DATA)): p.stat().st_size for p in sorted(DEMO_DATA.rglob("*")) if p.is_file()}
    return {
        "images": len(images),
        "summary": {
            "gallery R@5": mean["R@5"],
            "gallery R@1": mean["R@1"],
            "held-out style (Twemoji) R@5": unseen["twemoji"]["R@5"],
            "worst language R@5, share of the mean": round(100 * languages[worst]["R@5"] / mean["R@5"], 1),
            "64 dimensions R@5, change": round(dimensions["64"]["R@5"] - mean["R@5"], 1),
            "held-out keywords R@5": mean_recall(keywords)["R@5"],
        },
        "worst language": worst,
        "languages": languages,
        "with the query instruction": mean_recall({lang: recall(v, noto, everyone) for lang, v in asked.items()}),
        "image to name": mean_recall(back),
        "dimensions": dimensions,
        "held-out styles": unseen,
        "held-out keywords": {"mean": mean_recall(keywords), **keywords},
        "seconds to embed the gallery": round(seconds, 2),
        "CPU seconds to embed the gallery": round(cpu_seconds, 2),
        "bytes": {"total": sum(files.values()), **files},
        "load": round(os.getloadavg()[0], 1),
        "machine": f"{os.cpu_count()} CPU cores ({platform.machine()}), torch {torch.__version__}",
    }


def report(figures: dict[str, Any]) -> str:
    """Return the figures as Markdown."""

    def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
        lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
        return [*lines, *(f"| {' | '.join(map(str, row))} |" for row in rows), ""]

    def recalls(rows: dict[str, dict[str, float]], what: str) -> list[str]:
        return table([what, "R@1", "R@5"], [[name, row["R@1"], row["R@5"]] for name, row in rows.items()])

    lines = [
        "# Evaluation of the demo model",
        "",
        f"Written by `training/evaluate.py`. Text to image over all {figures['images']} images of the gallery, "
        "the exact CLDR short name as query, in percent, mean over "
        f"{len(figures['languages'])} languages. Ties count against the model. This is a small demo model, not one of "
        "Jina's.",
        "",
        *table(
            ["figure", "measured", "at least"],
            [[name, value, TARGETS[name]] for name, value in figures["summary"].items()],
        ),
        f"Embedding the gallery took {figures['CPU seconds to embed the gallery']} s of processor time, all cores "
        f"together, and {figures['seconds to embed the gallery']} s by the clock; on {figures['machine']}, which had "
        f"other work at the same time (load {figures['load']}). "
        f"The files take {figures['bytes']['total'] / 1e6:.2f} MB together.",
        "",
        "## Ways of asking",
        "",
        *recalls(
            {
                "name": {"R@1": figures["summary"]["gallery R@1"], "R@5": figures["summary"]["gallery R@5"]},
                'name with `task="retrieval.query"`': figures["with the query instruction"],
                "image as query, names of one language as answers": figures["image to name"],
                "keywords kept out of training, joined, without the name": figures["held-out keywords"]["mean"],
            },
            "query",
        ),
        "## Dimensions",
        "",
        *recalls(figures["dimensions"], "dimensions"),
        "## Image styles never trained on",
        "",
        *recalls(figures["held-out styles"], "style"),
        "## Languages",
        "",
        *table(
            ["language", "R@1", "R@5", "held-out keywords R@5"],
            [
                [lang, row["R@1"], row["R@5"], figures["held-out keywords"][lang]["R@5"]]
                for lang, row in figures["languages"].items()
            ],
        ),
        "## Files",
        "",
        *table(["file", "bytes"], [[name, f"{size:,}"] for name, size in figures["bytes"].items()]),
    ]
    return "\n".join(lines).rstrip() + "\n"


def main() -> None:
    """Read the command line, measure and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="demo", help="demo, or a checkpoint folder")
    parser.add_argument("--results", type=Path, default=RESULTS)
    args = parser.parse_args()
    figures = measure(args.model)
    args.results.mkdir(parents=True, exist_ok=True)
    (args.results / "evaluation.json").write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", "utf-8")
    (args.results / "evaluation.md").write_text(report(figures), "utf-8")
    print(report(figures))


if __name__ == "__main__":
    main()
