"""`jina-clip search`: ranking per kind and fused, and what is refused."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest

from jina_clip_integrations.cli.search import adopt_settings, describe_hit, fuse
from jina_clip_integrations.collections.hits import Hit
from jina_clip_integrations.collections.identity import CollectionModel
from tests.command_line import word_ids


@pytest.fixture
def search(run: Any, colours: Any, folder: Path, tmp_path: Path) -> Any:
    """`search(…)` asks a store that holds the folder."""
    assert run("index", folder, "--store", tmp_path / "store", *colours.options).code == 0
    return lambda *words: run("search", *words, "--store", tmp_path / "store")


def names(answers: list[dict[str, Any]]) -> list[str]:
    return [answer["name"] for answer in answers]


@pytest.mark.parametrize(
    ("query", "image", "text"),
    [("something red", "apple.png", "list.txt"), ("something blue", "trip/sea.png", "trip/notes.md")],
)
def test_words_find_images_and_passages(search: Any, query: str, image: str, text: str) -> None:
    ran = search(query, "--json")
    assert ran.code == 0, ran.err
    results = ran.json["results"]
    assert (results["images"][0]["name"], results["texts"][0]["name"]) == (image, text)
    for answers in results.values():
        scores = [answer["score"] for answer in answers]
        assert scores == sorted(scores, reverse=True)
        assert [answer["rank"] for answer in answers] == [1, 2, 3]


def test_an_image_finds_its_like(search: Any, paint: Any, tmp_path: Path) -> None:
    other_green = paint(tmp_path / "other.png", "green", (9, 9))
    ran = search("--image", other_green, "--kind", "images", "--json")
    assert names(ran.json["results"]["images"])[0] == "leaf.jpg"
    assert ran.json["image"] == str(other_green)
    assert "texts" not in ran.json["results"]


def test_people_read_ranks_scores_and_the_passage(search: Any) -> None:
    ran = search("blue water")
    assert "Images\n  1   0." in ran.out
    assert "trip/notes.md (passage 1 of 2): # Sea The sea was blue." in ran.out
    assert "compare scores within a list" in ran.err


def test_top_limits_each_list(search: Any) -> None:
    results = search("red", "--top", 1, "--json").json["results"]
    assert [len(answers) for answers in results.values()] == [1, 1]


def test_fused_is_one_list_by_rank(search: Any) -> None:
    results = search("red", "--fuse", "--json").json["results"]
    merged = results["merged_by_rank"]
    assert names(merged)[:2] == ["apple.png", "list.txt"]
    assert len(merged) == 5


def test_fusion_ignores_how_high_scores_run() -> None:
    def found(name: str, score: float) -> Hit:
        return Hit(score, name, name, "text", None, 0, 1)

    high = [found("a", 0.99), found("b", 0.98), found("c", 0.97)]
    low = [found("x", 0.2), found("y", 0.1)]
    assert [one.name for one in fuse([high, low], top=4)] == ["a", "x", "b", "y"]


def test_long_passages_are_shortened_on_one_line() -> None:
    line = describe_hit(Hit(0.5, "p", "p.txt", "text", "first\nline " + "x" * 200, 0, 1))
    assert line.startswith("p.txt: first line xxx")
    assert line.endswith("…")
    assert len(line) <= 110


def test_the_store_remembers_model_and_backend(run: Any, colours: Any, folder: Path, tmp_path: Path) -> None:
    run("index", folder, "--store", tmp_path / "store", *colours.options, "--dimensions", 8)
    ran = run("search", "red", "--store", tmp_path / "store", "--json")
    assert ran.code == 0, ran.err
    assert ran.json["results"]["images"][0]["name"] == "apple.png"


HELD = CollectionModel.of(
    "jina-clip-v2", 512, backend="sagemaker", address={"endpoint_name": "clip", "region_name": "eu-central-1"}
)


@pytest.mark.parametrize(
    ("given", "adopted"),
    [
        ({}, ("jina-clip-v2", 512, "sagemaker", "clip", "eu-central-1")),
        ({"region_name": "us-east-1"}, ("jina-clip-v2", 512, "sagemaker", "clip", "us-east-1")),
        ({"backend": "local"}, ("jina-clip-v2", 512, "local", None, None)),
        ({"model": "jinaai/jina-clip-v2"}, ("jinaai/jina-clip-v2", 512, None, None, None)),
    ],
    ids=["nothing given", "another region", "another backend", "a model given"],
)
def test_what_is_not_said_comes_from_the_store(given: dict[str, str], adopted: tuple[Any, ...]) -> None:
    names = ("model", "dimensions", "backend", "endpoint_name", "region_name")
    args = argparse.Namespace(**dict.fromkeys((*names, "base_url", "store")))
    vars(args).update(given)
    adopt_settings(args, HELD)
    assert tuple(getattr(args, name) for name in names) == adopted


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "either words"),
        (("red", "--image", "x.png"), "either words"),
        (("  ",), "blank"),
        (("red", "--dimensions", "8"), "holds vectors of [colours, 16 dimensions"),
        (("red", "--top", "0"), "positive integer"),
        (("red", "--collection", "other"), "empty"),
        (("--image", "nowhere.png"), "nowhere.png"),
    ],
    ids=word_ids,
)
def test_bad_requests_are_one_line(search: Any, arguments: tuple[str, ...], said: str) -> None:
    ran = search(*arguments)
    assert ran.code == 2
    assert said in ran.err
    assert "Traceback" not in ran.err
    assert ran.out == ""


def test_a_mistyped_store_is_not_created(run: Any, tmp_path: Path) -> None:
    ran = run("search", "red", "--store", tmp_path / "stroe")
    assert ran.code == 2
    assert "there is no store" in ran.err
    assert not (tmp_path / "stroe").exists()


def test_another_checkpoint_is_refused_before_it_is_loaded(search: Any, tmp_path: Path) -> None:
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint" / "model.safetensors").write_bytes(b"never read as weights")
    ran = search("red", "--model", tmp_path / "checkpoint")
    assert ran.code == 2
    assert "holds vectors of [colours, 16 dimensions, unit length], but these are of [checkpoint sha256:" in ran.err


@pytest.mark.parametrize("said", [(), ("--background", "#ffffff", "--high-bit-depth", "scale")])
def test_a_search_renders_its_image_as_the_store_was_made(
    run: Any, colours: Any, folder: Path, tmp_path: Path, said: tuple[str, ...]
) -> None:
    store = ("--store", tmp_path / "store")
    rendered = ("--background", "white", "--high-bit-depth", "scale")
    assert run("index", folder, *store, *rendered, *colours.options).code == 0
    assert run("search", "red", *store, *said, "--json").code == 0
    other = run("search", "red", *store, "--background", "black")
    assert other.code == 2
    assert "images rendered with #ffffff scale" in other.err
