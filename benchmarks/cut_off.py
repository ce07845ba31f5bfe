"""What the cut-off of a search hides, on folders made of the demo gallery with the demo model.

    python benchmarks/cut_off.py [--languages 20]

A folder is a part of the gallery. Queries are the names of emoji, in every language: about things in the folder, whose
image should be shown, and about the others, for which nothing should be. Names are no perfect judges: among a thousand
emoji there are near-synonyms, whose images count as irrelevant here, and a name that the model does not find counts as
hidden only if it would have been among the best 20 without the cut-off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from reporting import Option, heading, run, table

from jina_clip_integrations import JinaClipEncoder
from jina_clip_integrations.collections.background import BACKGROUND_TEXTS
from jina_clip_integrations.collections.cutoff import CHANCE, Background, background_scores
from jina_clip_integrations.demo.gallery import gallery

TOP = 20
CHANCES = (0.05, 0.1, 0.25, 0.5, 0.75)
CATEGORIES = ("Animals & Nature", "Food & Drink", "Travel & Places", "Objects", "Activities")
SIZES = (10, 30, 100, 300, 1000)

Rows = NDArray[np.float32]


@dataclass
class Data:
    """Vectors of the gallery's images `(n, d)`, of their names per language, of the background's texts."""

    images: Rows
    names: list[Rows]
    background: Rows
    categories: NDArray[np.str_]


def load(languages: int) -> Data:
    """Embed everything with the demo model."""
    images = gallery()
    with JinaClipEncoder("demo", backend="local") as encoder:
        task = encoder.query_task
        spoken = sorted(images[0].names)[:languages]
        return Data(
            encoder.encode_image([image.data() for image in images]),
            [encoder.encode_text([image.names[code] for image in images], task=task) for code in spoken],
            encoder.encode_text(BACKGROUND_TEXTS, task=task),
            np.array([image.category for image in images]),
        )


def folders(data: Data) -> Iterator[tuple[str, NDArray[np.intp]]]:
    """Parts of the gallery: whole categories, and random ones."""
    for category in CATEGORIES:
        yield category, np.flatnonzero(data.categories == category)
    random = np.random.default_rng(0)
    for size in SIZES:
        yield "random", random.choice(len(data.images), size, replace=False)


def rates(data: Data, folder: NDArray[np.intp], cut_off: float) -> tuple[float, float, float]:
    """Of relevant images among the best 20: shown. Of queries about other things: nothing shown. Hits of the others."""
    others = np.setdiff1d(np.arange(len(data.images)), folder)
    shown, found, empty, hits = 0, 0, 0, 0
    for names in data.names:
        scores = names @ data.images[folder].T
        own = scores[folder, np.arange(len(folder))]
        in_top = (scores[folder] > own[:, None]).sum(axis=1) < TOP
        found += int(in_top.sum())
        shown += int((in_top & (own >= cut_off)).sum())
        unrelated = scores[others]
        empty += int((unrelated.max(axis=1) < cut_off).sum())
        hits += int(np.minimum((unrelated >= cut_off).sum(axis=1), TOP).sum())
    asked = len(others) * len(data.names)
    return shown / found, empty / asked, hits / asked


def by_chance(data: Data) -> str:
    """How folders fare at different settings of the one constant."""
    rows = []
    for name, folder in folders(data):
        entries = data.images[folder]
        scores = background_scores(["text"], [1.0], data.background, entries, entries, same=True)
        background = Background.fit(scores)
        assert background is not None
        cells = []
        for chance in CHANCES:
            cut_off = background.cut_off(len(folder), chance=chance)
            shown, empty, hits = rates(data, folder, cut_off)
            cells.append(f"{cut_off:.2f}: {100 * shown:.0f} / {100 * empty:.0f} / {hits:.2f}")
        rows.append([name, len(folder), *cells])
    return table(["folder", ">images", *(f">{chance:g}" for chance in CHANCES)], rows)


def by_statistic(data: Data) -> str:
    """Balanced accuracy of the best possible threshold, for scores that are normalised in different ways."""
    english = data.names[3 % len(data.names)]
    scores = english @ data.images.T
    chance = data.background @ data.images.T
    image_mean, image_std = chance.mean(axis=0), chance.std(axis=0)
    ways: dict[str, Callable[[Rows, NDArray[np.intp]], Rows]] = {
        "cosine": lambda part, _: part,
        "minus the query's median": lambda part, _: part - np.median(part, axis=1, keepdims=True),
        "standardised per query": lambda part, _: (part - part.mean(1, keepdims=True)) / part.std(1, keepdims=True),
        "minus the image's mean": lambda part, folder: part - image_mean[folder],
        "standardised per image": lambda part, folder: (part - image_mean[folder]) / image_std[folder],
    }
    rows = []
    for name, folder in folders(data):
        others = np.setdiff1d(np.arange(len(data.images)), folder)
        cells = []
        for way in ways.values():
            judged = way(scores[:, folder], folder)
            cells.append(f"{100 * best_accuracy(judged[folder, np.arange(len(folder))], judged[others].max(1)):.1f}")
        rows.append([name, len(folder), *cells])
    return table(["folder", ">images", *(f">{way}" for way in ways)], rows)


def best_accuracy(related: Rows, unrelated: Rows) -> float:
    """The mean of both rates at the threshold where it is highest."""
    thresholds = np.quantile(np.concatenate([related, unrelated]), np.linspace(0, 1, 500))
    return max(float((related >= t).mean() + (unrelated < t).mean()) / 2 for t in thresholds)


def like_this(data: Data) -> str:
    """What is shown for an image of the folder as the query."""
    rows = []
    for name, folder in folders(data):
        entries = data.images[folder]
        background = Background.fit(background_scores(["image"], [1.0], entries[:0], entries, entries, same=True))
        assert background is not None
        cut_off = background.cut_off(len(folder))
        cosines = entries @ entries.T
        np.fill_diagonal(cosines, -1)
        counts = (cosines >= cut_off).sum(axis=1)
        figures = [f"{cut_off:.2f}", f"{np.median(counts):.0f}", f"{100 * (counts == 0).mean():.0f}"]
        rows.append([name, len(folder), *figures])
    return table(["folder", ">images", ">cut-off", ">hits, median", ">nothing, %"], rows)


def stability(data: Data) -> str:
    """How much the cut-off depends on which half of the background's texts is taken."""
    cut_offs = []
    for seed in range(200):
        half = np.random.default_rng(seed).permutation(len(data.background))[: len(data.background) // 2]
        background = Background.fit(data.background[half] @ data.images[:1000].T)
        assert background is not None
        cut_offs.append(background.cut_off(1000))
    mean, std = float(np.mean(cut_offs)), float(np.std(cut_offs))
    return (
        f"With half of the background's texts, drawn 200 times, the cut-off of 1,000 images is {mean:.3f} ± {std:.3f}."
    )


def report(languages: int) -> str:
    """Measure and return the report."""
    data = load(languages)
    return "\n".join(
        [
            heading("Cut-off of a search", __file__),
            f"{len(data.images):,} images, {len(data.names)} languages. Each cell is the cut-off, then: relevant "
            f"images among the best {TOP} that are shown, % / queries about other things for which nothing is shown, % "
            f"/ irrelevant hits that are shown for such a query, mean. Columns: `CHANCE`, in use {CHANCE:g}.\n",
            by_chance(data),
            "\nHow well the best possible threshold tells related from unrelated queries (balanced accuracy, %, "
            "English), if scores are normalised first:\n",
            by_statistic(data),
            "\nAn image of the folder as the query, at the cut-off in use:\n",
            like_this(data),
            f"\n{stability(data)}\n",
        ]
    )


if __name__ == "__main__":
    run(report, doc=__doc__, languages=Option(20, "languages of the queries"))
