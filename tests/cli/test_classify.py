"""`jina-clip classify`: labels of images, how often they are right, and what is refused."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path
from typing import Any

import pytest

from tests.cli.colour_backend import COLOURS
from tests.command_line import word_ids


@pytest.fixture
def classify(run: Any, colours: Any, folder: Path) -> Any:
    """`classify(…)` runs the command on the folder of a red, a green and a blue image."""
    return lambda *more: run("classify", folder, *more, "--logit-scale", 100, *colours.options)


def labels_of(ran: Any) -> dict[str, str]:
    return {image["name"]: image["label"] for image in ran.json["images"]}


RIGHT = {"apple.png": "red", "leaf.jpg": "green", "trip/sea.png": "blue"}


@pytest.mark.parametrize("how", ["option", "file"])
def test_images_get_the_labels_that_fit(classify: Any, tmp_path: Path, how: str) -> None:
    names = tmp_path / "labels.txt"
    names.write_text("\ufeffgreen\n\n red \nblue\n", "utf-8")
    ran = classify("--json", *(["--labels", "green, red,blue"] if how == "option" else ["--labels-file", names]))
    assert ran.code == 0, ran.err
    assert labels_of(ran) == RIGHT
    assert ran.json["labels"] == ["green", "red", "blue"]
    assert ran.json["logit_scale"] == 100
    for image in ran.json["images"]:
        shares = [one["probability"] for one in image["best"]]
        assert math.isclose(sum(shares), 1, abs_tol=1e-6)
        assert shares == sorted(shares, reverse=True)
        assert image["best"][0]["label"] == image["label"]


def test_people_read_labels_and_counts(classify: Any) -> None:
    ran = classify("--labels", "red,green,blue", "--top", 1)
    lines = ran.out.splitlines()
    assert lines[0].startswith("apple.png     red ")
    assert lines[2].startswith("trip/sea.png  blue ")
    assert lines[-1] == "red 1, green 1, blue 1"
    assert "classifying: 3/3 (100%)" in ran.err


def test_templates_are_what_stands_for_a_label(classify: Any, monkeypatch: pytest.MonkeyPatch, colours: Any) -> None:
    texts: list[str] = []
    embed = colours.embed

    def note_texts(batch: Any) -> Any:
        texts.extend(batch.texts)
        return embed(batch)

    monkeypatch.setattr(colours, "embed", note_texts)
    classify("--labels", "red,green", "--template", "something {}", "--template", "{} things")
    assert texts == ["something red", "red things", "something green", "green things"]


def test_below_the_threshold_an_image_is_unsure(run: Any, colours: Any, folder: Path) -> None:
    command = ("classify", folder, "--labels", "red,green,blue", "--logit-scale", 5, "--json", *colours.options)
    assert set(labels_of(run(*command, "--threshold", 0.999)).values()) == {"unsure"}
    assert labels_of(run(*command, "--threshold", 0)) == RIGHT


@pytest.fixture
def sorted_folder(tmp_path: Path, paint: Any) -> Path:
    """Images in folders of their colours; one lies in the wrong folder, one in none."""
    root = tmp_path / "sorted"
    for colour in ("red", "green", "blue"):
        for number in range(3):
            paint(root / colour / f"{number}.png", colour)
    paint(root / "red" / "deep" / "grass.png", "green")
    paint(root / "alone.png", "blue")
    return root


def test_subfolders_are_labels_and_the_truth(run: Any, colours: Any, sorted_folder: Path) -> None:
    (sorted_folder / "blue" / "torn.png").write_bytes(b"no image")  # left out, and neither right nor wrong
    command = ("classify", sorted_folder, "--labels-from-folders", "--logit-scale", 100, *colours.options)
    ran = run(*command, "--json")
    assert ran.json["labels"] == ["blue", "green", "red"]
    measured = ran.json["measured"]
    assert measured["images"] == 10
    assert measured["accuracy@1"] == pytest.approx(0.9)
    assert measured["confusion"] == [[3, 0, 0], [0, 3, 0], [0, 1, 3]]
    assert labels_of(ran)["alone.png"] == "blue"  # classified, and not counted
    shown = run(*command).out
    assert "Of 10 images in subfolders: 90.0% right" in shown
    assert "red         4   75.0%             green (1)" in shown


def test_a_table_has_every_probability(classify: Any, tmp_path: Path, folder: Path) -> None:
    (folder / "torn.png").write_bytes(b"no image")
    table = tmp_path / "table.csv"
    assert classify("--labels", "red,green,blue", "--csv", table).code == 0
    rows = list(csv.DictReader(io.StringIO(table.read_text("utf-8"))))
    assert {row["name"]: row["label"] for row in rows} == {**RIGHT, "torn.png": ""}
    for row in rows[:2]:
        assert sum(float(row[label]) for label in COLOURS if label in row) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(("flags", "code"), [((), 0), (("--strict",), 3)], ids=word_ids)
def test_what_cannot_be_read_is_named_and_the_rest_goes_on(classify: Any, folder: Path, flags: Any, code: int) -> None:
    (folder / "torn.png").write_bytes(b"no image")
    (folder / "paper.pdf").write_bytes(b"x")
    ran = classify("--labels", "red,green,blue", "--json", *flags)
    assert ran.code == code
    assert labels_of(ran) == RIGHT
    assert set(ran.json["failed"]) == {"torn.png", "paper.pdf"}
    assert "left out torn.png: not an image" in ran.err
    assert "left out paper.pdf: a PDF" in ran.err


def test_a_cache_goes_on_where_a_run_stopped(classify: Any, colours: Any, tmp_path: Path) -> None:
    command = ("--labels", "red,green,blue", "--cache", tmp_path / "cache")
    colours.fail_after = (3, KeyboardInterrupt())  # after the labels
    stopped = classify(*command)
    assert stopped.code == 130
    assert "with --cache PATH the same command goes on" in stopped.err
    colours.fail_after = None
    assert classify(*command).code == 0
    assert colours.embedded == 6  # three labels and three images, each once


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--labels", "red"], "only one label"),
        (["--labels", ", ,"], "no labels"),
        (["--labels", "red,red"], "there twice"),
        (["--labels", "red,green", "--template", "a photo"], "must have one {}"),
        (["--labels", "red,green", "--threshold", "2"], "not a number from 0 to 1"),
        (["--labels", "red,green", "--labels-from-folders"], "not allowed with"),
        (["--labels", "red,green", "--csv", "nowhere/x.csv"], "there is no folder nowhere"),
        (["--labels", "red,unsure", "--threshold", "0.5"], "call that label otherwise"),
        (["--labels", "red,green", "--csv", "."], "is a folder; name a file in it"),
        (["--labels-file", "nowhere.txt"], "nowhere.txt: No such file"),
        (["--labels-from-folders"], "fewer than two subfolders"),
        ([], "is required"),
    ],
    ids=word_ids,
)
def test_what_cannot_work_is_one_line(classify: Any, words: list[str], said: str) -> None:
    ran = classify(*words)
    assert ran.code == 2
    assert said in ran.err.splitlines()[-1]


def test_a_file_of_labels_that_is_no_text(classify: Any, tmp_path: Path) -> None:
    names = tmp_path / "labels.txt"
    names.write_bytes(b"caf\xe9\n")
    ran = classify("--labels-file", names)
    assert (ran.code, "not UTF-8 text" in ran.err) == (2, True)


def test_a_folder_without_images(run: Any, colours: Any, tmp_path: Path) -> None:
    ran = run("classify", tmp_path, "--labels", "red,green", *colours.options)
    assert ran.code == 2
    assert "holds no images" in ran.err


def test_a_backend_that_knows_no_scale_names_the_option(run: Any, colours: Any, folder: Path) -> None:
    ran = run("classify", folder, "--labels", "red,green", *colours.options)
    assert ran.code == 2
    assert "pass --logit-scale" in ran.err
    assert colours.embedded == 0
