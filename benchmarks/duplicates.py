"""At which cosine changed copies of an image are still found, and how many different images are taken for copies.

    python benchmarks/duplicates.py

Every image of the demo gallery and a changed copy of it, with the demo model. The gallery holds no copies, but clock
faces, hearts and moons that differ in a hand, a colour or a shadow: pairs of those count as different images here.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageEnhance
from reporting import heading, run, table

from jina_clip_integrations import JinaClipEncoder
from jina_clip_integrations.collections.duplicates import NEAR_DUPLICATE
from jina_clip_integrations.demo.gallery import gallery

THRESHOLDS = (0.93, 0.95, 0.96, 0.97, 0.98, 0.99, 0.995)


def recompress(image: Image.Image, quality: int) -> Image.Image:
    """As JPEG and back."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(io.BytesIO(buffer.getvalue())).convert("RGB")


def crop(image: Image.Image, share: float) -> Image.Image:
    """Without a margin on each side."""
    x, y = round(share * image.width), round(share * image.height)
    return image.crop((x, y, image.width - x, image.height - y))


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "JPEG, quality 60": lambda image: recompress(image, 60),
    "JPEG, quality 20": lambda image: recompress(image, 20),
    "half the size": lambda image: image.resize((image.width // 2, image.height // 2)),
    "turned by 3 degrees": lambda image: image.rotate(3, fillcolor="white"),
    "15 % brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.15),
    "5 % cut off each side": lambda image: crop(image, 0.05),
    "mirrored": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "grey": lambda image: image.convert("L").convert("RGB"),
}


def report() -> str:
    """Measure and return the report."""
    images = [image.image() for image in gallery()]
    rows = []
    with JinaClipEncoder("demo", backend="local") as encoder:
        vectors = encoder.encode_image(images)
        for name, change in CHANGES.items():
            cosines = (encoder.encode_image([change(image) for image in images]) * vectors).sum(axis=1)
            found = [f"{100 * (cosines >= threshold).mean():.1f}" for threshold in THRESHOLDS]
            rows.append([name, f"{np.median(cosines):.3f}", *found])
    pairs = (vectors @ vectors.T)[np.triu_indices(len(vectors), 1)]
    counts = [f"{int((pairs >= threshold).sum()):,}" for threshold in THRESHOLDS]
    rows.append([f"different images, of {len(pairs):,} pairs", f"{np.median(pairs):.3f}", *counts])
    columns = ["copy", ">median cosine", *(f">{threshold:g}" for threshold in THRESHOLDS)]
    text = (
        f"Copies found at each threshold, % of {len(images):,}; the last row is a number of pairs. "
        f"In use: {NEAR_DUPLICATE:g}.\n"
    )
    return f"{heading('Near-duplicates', __file__)}\n{text}\n{table(columns, rows)}"


if __name__ == "__main__":
    run(report, doc=__doc__)
