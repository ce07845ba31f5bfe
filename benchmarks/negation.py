"""What taking a text away from a query does, at different weights, on the demo gallery with the demo model.

    python benchmarks/negation.py

The query is the name of one image minus the name of another: the best of the wrong images, as "this but not that" is
meant, or any other. The first should stay among the best five, the second should leave them. Names are English.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from reporting import heading, run, table

from jina_clip_integrations import JinaClipEncoder
from jina_clip_integrations.collections.query import MINUS_WEIGHT
from jina_clip_integrations.demo.gallery import gallery

WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)
TOP = 5


def report() -> str:
    """Measure and return the report."""
    images = gallery()
    with JinaClipEncoder("demo", backend="local") as encoder:
        pixels = encoder.encode_image([image.data() for image in images])
        names = encoder.encode_text([image.names["en"] for image in images], task=encoder.query_task)
    scores = names @ pixels.T
    np.fill_diagonal(scores, -1)
    wrong = {
        "the best wrong image": scores.argmax(axis=1),
        "any other image": np.random.default_rng(0).permutation(len(images)),
    }
    rows = []
    for taken, others in wrong.items():
        for weight in WEIGHTS:
            summed = names - weight * names[others]
            summed /= np.linalg.norm(summed, axis=1, keepdims=True)
            found = summed @ pixels.T
            kept, left = (in_top(found, place) for place in (np.arange(len(images)), others))
            rows.append([taken, f"{weight:g}", f"{100 * kept:.1f}", f"{100 * left:.1f}"])
    columns = ["taken away", ">weight", f">asked for, in the best {TOP}, %", f">taken away, in the best {TOP}, %"]
    text = f"{len(images):,} queries each. In use: {MINUS_WEIGHT:g}.\n"
    return f"{heading('This but not that', __file__)}\n{text}\n{table(columns, rows)}"


def in_top(found: NDArray[np.float32], places: NDArray[np.intp]) -> float:
    """The share of queries that have this image among the best."""
    own = found[np.arange(len(found)), places]
    return float(((found > own[:, None]).sum(axis=1) < TOP).mean())


if __name__ == "__main__":
    run(report, doc=__doc__)
