"""Duplicates: groups are stars around the one to keep, and the reason to keep it is true."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from jina_clip_integrations.collections import duplicates as duplicates_module
from jina_clip_integrations.collections.duplicates import group_duplicates
from jina_clip_integrations.collections.hits import Hit
from jina_clip_integrations.errors import ConfigurationError


def image(name: str, **facts: Any) -> Hit:
    return Hit(0, f"/x/{name}", name, "image", None, 0, 1, **facts)


def on_a_circle(*degrees: float) -> np.ndarray:
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def groups(images: list[Hit], vectors: np.ndarray, digests: list[str] | None = None, **options: Any) -> list[list[str]]:
    digests = digests or [one.name for one in images]
    return [group.names for group in group_duplicates(images, digests, vectors, **options)]


def test_a_chain_is_not_one_group() -> None:
    """Each resembles the next by 0.98, the ends resemble each other by 0.53."""
    series = [image(f"{number}", size=100 - number) for number in range(6)]
    found = groups(series, on_a_circle(0, 11.6, 23.2, 34.8, 46.4, 58))
    assert found == [["0", "1"], ["2", "3"], ["4", "5"]]


def test_whatever_could_go_is_like_the_one_that_stays(effort: int) -> None:
    random = np.random.default_rng(1)
    for _ in range(20 * effort):
        rows = random.standard_normal((80, 3)).astype(np.float32)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        images = [image(f"{n:02}", size=int(random.integers(1, 5))) for n in range(80)]
        threshold = float(random.uniform(0.8, 0.99))
        found = group_duplicates(images, [one.name for one in images], rows, threshold=threshold)
        names = [name for group in found for name in group.names]
        assert len(names) == len(set(names))
        for group in found:
            for other in group.others:
                assert other.image.score == pytest.approx(rows[int(other.name)] @ rows[int(group.keep.name)], abs=1e-5)
                assert other.image.score >= threshold - 1e-6
        gone = {other.name for group in found for other in group.others}
        stay = [n for n in range(80) if f"{n:02}" not in gone]
        assert (rows[stay] @ rows[stay].T - np.eye(len(stay)) < threshold + 1e-6).all()


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.random.default_rng(2).standard_normal((50, 3)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    images = [image(f"{n}") for n in range(50)]
    whole = groups(images, rows, threshold=0.9)
    monkeypatch.setattr(duplicates_module, "BLOCK_BYTES", 4 * 50 * 7)
    assert groups(images, rows, threshold=0.9) == whole
    assert len(whole) > 3


def test_equal_bytes_need_no_vector() -> None:
    images = [image("a", size=5), image("b", size=5), image("c", size=5)]
    [group] = group_duplicates(images, ["x", "y", "x"], on_a_circle(0, 90, 180))
    assert group.names == ["a", "c"]
    assert [other.identical for other in group.others] == [True]


@pytest.mark.parametrize(
    ("better", "worse", "reason"),
    [
        ({"width": 20, "height": 10, "size": 1}, {"width": 10, "height": 10, "size": 9}, "most pixels (20 x 10)"),
        ({"size": 2000, "taken": 9.0}, {"size": 1000, "taken": 1.0}, "largest file (2,000 bytes)"),
        ({"taken": 1.0, "modified": 9.0}, {"modified": 2.0}, "oldest"),
        ({"name": "b"}, {"name": "aa"}, "shortest name"),
        ({"name": "a"}, {"name": "b"}, "first name"),
    ],
)
def test_which_one_is_kept_and_why(better: dict[str, Any], worse: dict[str, Any], reason: str) -> None:
    images = [image(**{"name": "x", **worse}), image(**{"name": "x", **better})]
    [group] = group_duplicates(images, ["1", "2"], on_a_circle(0, 1))
    assert group.reason == reason
    assert (group.keep.size, group.keep.taken) == (better.get("size", 0), better.get("taken"))
    assert group.bytes_of_others == worse.get("size", 0)


@pytest.mark.parametrize("threshold", [0.0, -1.0, 1.5, float("nan")])
def test_a_threshold_is_a_cosine(threshold: float) -> None:
    with pytest.raises(ConfigurationError, match="threshold"):
        group_duplicates([], [], np.empty((0, 2), np.float32), threshold=threshold)
    assert group_duplicates([], [], np.empty((0, 2), np.float32)) == []
