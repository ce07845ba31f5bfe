"""The same input has the same float32 vector, within 1e-5, in whatever batch, on however many threads and processes."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from jina_clip_integrations import JinaClipEncoder
from tests.failures.victims import report, start

# Some of the golden images lose something, and say so; that is not what these tests are about.
pytestmark = pytest.mark.filterwarnings("ignore:.*the published preprocessing")

TOLERANCE = 1e-5

TEXTS = [
    *("a", "a red bicycle", "Ein rotes Fahrrad lehnt an einer Mauer.", "自行车", "", "🚲 " * 40),
    *(" ".join(["long"] * count) for count in (7, 60, 300)),
]


def open_encoder(folder: Path, **options: Any) -> JinaClipEncoder:
    return JinaClipEncoder(str(folder), backend="local", device="cpu", dtype="float32", **options)


@pytest.fixture(scope="module")
def images() -> list[str]:
    folder = Path(__file__).parents[1] / "golden" / "v1" / "images"
    return [str(file) for file in sorted(folder.iterdir())]


@pytest.fixture(scope="module")
def alone(golden_folder: Path, images: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Every text and every image in a call of its own, on one thread."""
    with one_thread(), open_encoder(golden_folder) as encoder:
        texts = np.stack([encoder.encode_text(text) for text in TEXTS])
        return texts, np.stack([encoder.encode_image(image) for image in images])


class one_thread:  # noqa: N801  # reads as a function
    """Torch computes with one thread in this block."""

    def __enter__(self) -> None:
        self.before = torch.get_num_threads()
        torch.set_num_threads(1)

    def __exit__(self, *raised: object) -> None:
        torch.set_num_threads(self.before)


def near(rows: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(rows, expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("batch_size", [1, 3, "auto"])
@pytest.mark.parametrize("threads", [1, 2])
def test_any_batch(
    golden_folder: Path, images: list[str], alone: Any, batch_size: Any, threads: int, effort: int
) -> None:
    """Random mixtures of texts of every length and images, several times over."""
    rng = random.Random(threads)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with open_encoder(golden_folder, batch_size=batch_size) as encoder:
            for _ in range(4 * effort):
                picked = [(kind, rng.randrange(9)) for kind in rng.choices(["text", "image"], k=rng.randrange(1, 24))]
                items = [{kind: (TEXTS if kind == "text" else images)[n]} for kind, n in picked]
                near(encoder.encode(items), np.stack([alone[kind == "image"][n] for kind, n in picked]))
    finally:
        torch.set_num_threads(before)


def embed_elsewhere(folder: Path, images: list[str]) -> None:
    for threads in (1, 2):
        torch.set_num_threads(threads)
        with open_encoder(folder) as encoder:
            report((encoder.encode_text(TEXTS), encoder.encode_image(images)))


def test_another_process(golden_folder: Path, images: list[str], alone: Any) -> None:
    """On one thread and on two."""
    with start(embed_elsewhere, golden_folder, images) as victim:
        for _ in range(2):
            texts, pixels = victim.next_report(120)
            near(texts, alone[0])
            near(pixels, alone[1])


def test_a_cache_gives_back_what_was_computed(
    golden_folder: Path, images: list[str], alone: Any, tmp_path: Path
) -> None:
    for _ in range(2):
        with open_encoder(golden_folder, cache=tmp_path / "cache") as encoder:
            near(encoder.encode_text(TEXTS), alone[0])
            near(encoder.encode_image(images), alone[1])
