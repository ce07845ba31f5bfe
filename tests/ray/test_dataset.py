"""Jobs on a real cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pyarrow import parquet

from jina_clip_integrations.ray import EmbedProgress, embed_dataset
from jina_clip_integrations.retrieval.vector_table import TableInfo, to_vectors
from tests.ray.fake import expected_image, expected_text, make_fake


def read_sink(folder: Path) -> Any:
    return parquet.read_table(folder)


@pytest.mark.usefixtures("ray_driver")
def test_a_folder_of_images_and_a_bad_one(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(70):
        path = tmp_path / "in" / f"{number % 3}" / f"{number:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (4 + number % 5, 6, 3), np.uint8)).save(path)
    (tmp_path / "in" / "1" / "broken.png").write_bytes(b"no image")
    seen: list[EmbedProgress] = []
    report = embed_dataset(
        tmp_path / "in", tmp_path / "out", backend=make_fake(), workers=2, dimensions=4, on_progress=seen.append
    )
    assert (report.rows, report.failed, report.partitions, report.workers) == (70, 1, 3, 2)
    assert [progress.partitions for progress in seen] == [1, 2, 3]
    table = read_sink(tmp_path / "out")
    paths = sorted((tmp_path / "in").rglob("[0-9]*.png"), key=lambda path: path.parts)
    assert table["input"].to_pylist() == [str(path) for path in paths]
    assert TableInfo.from_metadata(table.schema.metadata, where="out").dimensions == 4
    for path, row in zip(paths, to_vectors(table["embedding"], 4), strict=True):
        with Image.open(path) as image:
            full = expected_image(type("Source", (), {"open": lambda self, image=image: image.convert("RGB")})())
        np.testing.assert_allclose(row, full[:4] / np.linalg.norm(full[:4]), atol=1e-6)
    [bad] = parquet.read_table(tmp_path / "out" / "_failed").to_pylist()
    assert (bad["file"], bad["kind"]) == ("1/broken.png", "image")
    assert "not an image" in bad["reason"] or "cannot" in bad["reason"]


def test_texts_are_in_order(ray_driver: Any, tmp_path: Path) -> None:
    del ray_driver
    texts = [f"text {number}" for number in range(300)]
    (tmp_path / "x.txt").write_text("\n".join(texts))
    report = embed_dataset(tmp_path / "x.txt", tmp_path / "out", backend=make_fake(), partition_size=500)
    table = read_sink(tmp_path / "out")
    assert report.rows == 300
    assert table["input"].to_pylist() == texts
    vectors = np.stack([expected_text(text) for text in texts])
    np.testing.assert_allclose(to_vectors(table["embedding"], 8), vectors, atol=1e-6)
