"""`jina-clip evaluate` on captioned images; the demo gallery has a file of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jina_clip_integrations.cli.evaluate import RetrievalTask, evaluation_sizes, measure_recall
from jina_clip_integrations.errors import ConfigurationError, InputError
from tests.command_line import word_ids

PAIRS = [
    ("apple.png", "a red apple", "en"),
    ("leaf.jpg", "a green leaf", "en"),
    ("trip/sea.png", "das blue Meer", "de"),
]


@pytest.fixture
def captions(folder: Path) -> Path:
    path = folder / "captions.jsonl"
    rows = [{"image": image, "text": text, "language": language} for image, text, language in PAIRS]
    path.write_text("\n".join(map(json.dumps, rows)), "utf-8")
    return path


def test_captioned_images_are_evaluated_at_every_trained_width(run: Any, colours: Any, captions: Path) -> None:
    ran = run("evaluate", captions, *colours.options, "--json")
    assert ran.code == 0, ran.err
    assert (ran.json["texts"], ran.json["images"]) == (3, 3)
    assert list(ran.json["dimensions"]) == ["16", "8"]
    for size, row in ran.json["dimensions"].items():
        assert row["bytes_per_vector"] == 4 * int(size)
        assert row["text_to_image"]["R@1"] == 100
        assert set(row["languages"]) == {"en", "de"}
    assert colours.embedded == 6


def test_a_wrong_caption_costs(run: Any, colours: Any, folder: Path) -> None:
    path = folder / "captions.csv"
    path.write_text("image,text\napple.png,a red apple\nleaf.jpg,something red\ntrip/sea.png,blue\n", "utf-8")
    row = run("evaluate", path, *colours.options, "--json").json["dimensions"]["16"]
    assert row["text_to_image"] == {"R@1": pytest.approx(66.67), "R@5": 100, "R@10": 100}
    assert row["image_to_text"]["R@1"] < 100


def test_people_read_tables(run: Any, colours: Any, captions: Path) -> None:
    ran = run("evaluate", captions, *colours.options, "--at", 8)
    assert "3 texts, 3 images" in ran.out
    assert "mean over languages" in ran.out
    assert any(line.split() == ["8", "32", "100.0", "100.0", "100.0"] for line in ran.out.splitlines())
    assert any(line.split()[:1] == ["de"] for line in ran.out.splitlines())
    assert "images: 3/3" in ran.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere.jsonl"], "nowhere.jsonl"),
        (["{captions}", "--at", "32"], "the vectors have 16 dimensions"),
        (["{captions}", "--at", "4"], "colours gives 8 to 16"),
        (["{captions}", "--at", "0"], "positive integer"),
    ],
    ids=word_ids,
)
def test_bad_requests_are_one_line(run: Any, colours: Any, captions: Path, arguments: list[str], said: str) -> None:
    ran = run("evaluate", *[word.format(captions=captions) for word in arguments], *colours.options)
    assert ran.code == 2
    assert said in ran.err
    assert "Traceback" not in ran.err


def test_a_missing_image_is_named(run: Any, colours: Any, captions: Path, folder: Path) -> None:
    (folder / "leaf.jpg").unlink()
    ran = run("evaluate", captions, *colours.options)
    assert ran.code == 2
    assert "leaf.jpg" in ran.err


def test_widths_default_to_the_trained_ones(colours: Any) -> None:
    assert evaluation_sizes(colours.spec, 16, None) == [16, 8]
    assert evaluation_sizes(colours.spec, 12, None) == [12, 8]
    assert evaluation_sizes(None, 16, None) == [16]
    assert evaluation_sizes(colours.spec, 16, [8, 16, 8]) == [16, 8]
    with pytest.raises(InputError):
        evaluation_sizes(None, 16, [17])
    with pytest.raises(ConfigurationError):
        evaluation_sizes(colours.spec, 16, [3])


def test_languages_weigh_the_same() -> None:
    eye = np.eye(4, dtype=np.float32)
    texts = eye[[0, 1, 2, 3, 0]]  # the last, alone in its language, means image 3 and finds 0
    task = RetrievalTask("t", ["a", "b", "c", "d", "e"], [None] * 4, [0, 1, 2, 3, 3], ["en"] * 4 + ["de"])
    row = measure_recall(task, texts, eye, [4])["4"]
    assert row["text_to_image"]["R@1"] == 50
    assert row["languages"]["en"]["R@1"] == 100


def test_any_caption_of_an_image_answers_it() -> None:
    eye = np.eye(3, dtype=np.float32)
    task = RetrievalTask("t", ["a", "b", "c"], [None, None], [0, 1, 1], ["", "", ""])
    row = measure_recall(task, eye, eye[[0, 2]], [3])["3"]
    assert row["image_to_text"]["R@1"] == 100
