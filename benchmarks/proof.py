"""What this package can prove without the released weights, measured anew and printed.

    make proof

1. Vectors of two tiny checkpoints against an independent float64 implementation (`tests/golden`).
2. The tensors that the full-size models expect, against the lists of the published files.
3. Recall of the demo model on its gallery; the image style it never saw and the keywords held out are measured by
   `training/evaluate.py`, which downloads them, and are quoted from its last run.

Exits with 1 if a limit is not met.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from machine import describe
from numpy.typing import NDArray
from safetensors.numpy import load_file

from jina_clip_integrations import JinaClipEncoder
from jina_clip_integrations.modeling import JinaClipConfig, JinaClipImageProcessor, expected_tensors
from jina_clip_integrations.modeling.published import PUBLISHED

ROOT = Path(__file__).parent.parent
GOLDEN = ROOT / "tests" / "golden"
EVALUATION = ROOT / "training" / "results" / "evaluation.md"
ELEMENTS = {"v1": 222_647_041, "v2": 865_278_477}
MAX_DIFFERENCE, MIN_COSINE_BF16 = 2e-5, 0.995


def main() -> int:
    """Print the three tables."""
    print(f"# What is proved without the released weights\n\n{describe()}\n")
    passed = [golden(version) for version in ("v1", "v2")] + [manifest(version) for version in ("v1", "v2")]
    recall()
    print(f"\n{sum(passed)} of {len(passed)} proofs hold")
    return 0 if all(passed) else 1


def golden(version: str) -> bool:
    """Compare every golden array; True if all are within the limits."""
    folder = GOLDEN / version
    facts = json.loads((folder / "golden.json").read_text(encoding="utf-8"))
    arrays = load_file(folder / "golden.safetensors")
    print(f"## jina-clip-{version}, tiny checkpoint\n\n| array | float32: max difference | bfloat16: min cosine |")
    print("| --- | --- | --- |")
    fine = True
    for name, single, half in comparisons(folder, facts):
        difference = float(np.abs(single - arrays[name]).max())
        cosine = float((half * arrays[name]).sum(axis=1).min()) if half is not None else None
        fine &= difference <= MAX_DIFFERENCE and (cosine is None or cosine >= MIN_COSINE_BF16)
        print(f"| {name} | {difference:.1e} | {'' if cosine is None else f'{cosine:.4f}'} |")
    print(f"\nLimits {MAX_DIFFERENCE:.0e} and {MIN_COSINE_BF16}: {'met' if fine else 'NOT MET'}\n")
    return fine


def comparisons(folder: Path, facts: dict) -> Iterator[tuple[str, NDArray, NDArray | None]]:
    """Name of the golden array, our rows in float32, and in bfloat16 where they are vectors."""
    images = [folder / row["file"] for row in facts["images"]]
    short = facts["short_dim"]
    for suffix, options in (("normalized", {"max_length": 512}), ("max16", {"max_length": 16})):
        for task in facts["tasks"]:
            yield f"text.{task}.{suffix}", *both(folder, options, texts=facts["texts"], task=task)
    long = [facts["texts"][i] for i in facts["long_text_indices"]]
    for task in facts["tasks"]:
        yield f"text.{task}.max4096", *both(folder, {"max_length": 4096}, texts=long, task=task)
    if folder.name == "v2":  # v1 was not trained with Matryoshka, so the encoder refuses to cut it
        options = {"max_length": 512, "dimensions": short}
        yield f"text.none.dim{short}", *both(folder, options, texts=facts["texts"], task="none")
        yield f"images.dim{short}", *both(folder, {"dimensions": short}, images=images)
    yield "images.normalized", *both(folder, {}, images=images)
    processor = JinaClipImageProcessor.from_pretrained(folder)
    import PIL.Image

    pixels = processor([PIL.Image.open(path) for path in images])["pixel_values"]
    yield "images.pixel_values", np.asarray(pixels), None


def both(
    folder: Path,
    options: dict,
    *,
    texts: list[str] | None = None,
    images: list[Path] | None = None,
    task: str = "none",
) -> tuple[NDArray, NDArray]:
    """The same inputs through the encoder in float32 and in bfloat16."""
    rows = []
    for dtype in ("float32", "bfloat16"):
        with JinaClipEncoder(
            str(folder), backend="local", device="cpu", dtype=dtype, exif_orientation=False, **options
        ) as encoder:
            if texts is not None:
                rows.append(encoder.encode_text(texts, task=None if task == "none" else task))
            else:
                rows.append(encoder.encode_image(images or []))
    return rows[0], rows[1]


def manifest(version: str) -> bool:
    """Compare names, shapes and the number of elements with the published file's list."""
    published = {
        name: tuple(shape)
        for name, shape in json.loads((GOLDEN / f"tensors-{version}.json").read_text(encoding="utf-8")).items()
    }
    expected = expected_tensors(JinaClipConfig(**PUBLISHED[f"jina-clip-{version}"]))
    elements = sum(math.prod(shape) for shape in expected.values())
    fine = expected == published and elements == ELEMENTS[version]
    print(
        f"jina-clip-{version}, full size: {len(expected)} tensors, {elements:,} elements, "
        f"{'equal' if fine else 'NOT EQUAL'} to the published list of {len(published)}"
    )
    return fine


def recall() -> None:
    """Text to image on the demo gallery, per width, and what the full evaluation found."""
    from jina_clip_integrations.cli.main import main as jina_clip

    print("\n## Demo model: `jina-clip evaluate`\n", flush=True)
    jina_clip(["evaluate", "--types", "float32", "--no-speed"])
    print(f"\n## Demo model: {EVALUATION.relative_to(ROOT)}, as last written by training/evaluate.py\n")
    print(EVALUATION.read_text(encoding="utf-8") if EVALUATION.is_file() else "not there yet")


if __name__ == "__main__":
    import warnings

    warnings.filterwarnings("ignore", message=".*were cut")
    sys.exit(main())
