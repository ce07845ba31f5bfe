"""`jina-clip search`: ranking per kind and fused, and what is refused."""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

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
    args = argparse.Namespace(**dict.fromkeys((*names, "base_url", "store", "image_size")))
    vars(args).update(given)
    adopt_settings(args, HELD)
    assert tuple(getattr(args, name) for name in names) == adopted


def test_the_best_images_are_scored_again_at_full_size(run: Any, folder: Path, tmp_path: Path) -> None:
    # In float32: in bfloat16 an image's vector depends on those beside it by more than is compared here.
    quick, full = (("--store", tmp_path / name, "--dtype", "float32") for name in ("quick", "full"))
    assert run("index", folder, *quick, "--model", "demo", "--image-size", "32").code == 0
    assert run("index", folder, *full, "--model", "demo").code == 0
    for query in (("red",), ("--image", folder / "apple.png")):
        expected = run("search", *query, *full, "--json").json
        plain = run("search", *query, *quick, "--json").json
        refined = run("search", *query, *quick, "--refine", "20", "--json").json
        scores = [[hit["score"] for hit in found["results"]["images"]] for found in (expected, refined, plain)]
        assert np.allclose(scores[0], scores[1], atol=1e-4)
        assert not np.allclose(scores[0], scores[2], atol=1e-3)
        assert (refined["refined"], plain["refined"]) == ({"images": 3, "texts": 0}, {"images": 0, "texts": 0})
        assert refined["results"]["texts"] == plain["results"]["texts"]
    some = run("search", "red", *quick, "--refine", "2")
    assert "The first 2 images were scored again" in some.err
    for words, said in ((full, "nothing can be refined"), ((*quick, "--diversity", "0.5"), "exclude each other")):
        refused = run("search", "red", *words, "--refine", "2")
        assert (refused.code, refused.err.count("\n")) == (2, 1)
        assert said in refused.err


def test_a_search_looks_as_quickly_as_the_store_was_made(run: Any, folder: Path, tmp_path: Path) -> None:
    store = ("--store", tmp_path / "store")
    assert run("index", folder, *store, "--model", "demo", "--image-size", "32").code == 0
    for said in ((), ("--model", "demo"), ("--image-size", "32")):
        assert run("search", "red", *store, *said).code == 0
        found = run("search", "--image", folder / "apple.png", *store, *said, "--json").json
        assert found["results"]["images"][0]["score"] > 0.999
    for said in (("--image-size", "48"), ("--image-size", "64")):
        other = run("search", "red", *store, *said)
        assert (other.code, other.err.count("\n")) == (2, 1)
        assert "images of 32 pixels" in other.err
    again = run("index", folder, *store, "--model", "demo")
    assert again.code == 2
    assert "images of 32 pixels" in again.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "either words"),
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


# Queries of several parts


@pytest.mark.parametrize(
    ("words", "first"),
    [
        (("white +blue^2 -yellow",), "trip/sea.png"),
        (("red", "--plus", "blue^3"), "trip/sea.png"),
        (("red", "--minus", "yellow^0.1", "--plus", "green^3"), "leaf.jpg"),
        (("--plus", "green"), "leaf.jpg"),
        (("--similar-to", "apple.png"), "cherry.png"),
        (("--similar-to", "apple.png", "--plus", "green^9"), "leaf.jpg"),
        (("--image", "{apple}", "--minus", "red", "--plus", "blue"), "trip/sea.png"),
        (("blue", "--image", "{apple}", "--plus", "blue^2"), "trip/sea.png"),
    ],
    ids=word_ids,
)
def test_words_images_and_files_are_added_up(
    run: Any, colours: Any, folder: Path, tmp_path: Path, paint: Any, words: tuple[str, ...], first: str
) -> None:
    paint(folder / "cherry.png", "red", (9, 9))
    store = ("--store", tmp_path / "store")
    assert run("index", folder, *store, *colours.options).code == 0
    filled = [word.format(apple=folder / "apple.png") for word in words]
    ran = run("search", *filled, *store, "--kind", "images", "--json")
    assert ran.code == 0, ran.err
    assert names(ran.json["results"]["images"])[0] == first


def test_plus_and_minus_are_taken_as_they_are(search: Any, colours: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    real = colours.embed
    monkeypatch.setattr(colours, "embed", lambda batch: seen.extend(batch.texts or ()) or real(batch))
    assert search('red +"two people"', "--plus", "C++ ^ -x", "--minus", "b^2").code == 0
    assert seen == ["red", "two people", "C++ ^ -x", "b"]


# Filters


@pytest.fixture
def album(run: Any, colours: Any, tmp_path: Path) -> Any:
    """`album(…)` searches for red images among photographs that differ in one fact each; their names without suffix."""
    from tests.collections.test_facts import make_exif

    root = tmp_path / "album"
    (root / "trip").mkdir(parents=True)

    def take(name: str, size: int = 8, **parts: Any) -> None:
        exif = make_exif(
            {{"first": "first", "taken": 0x8769, "place": 0x8825}[key]: tags for key, tags in parts.items()}
        )
        Image.new("RGB", (size, size), (220, 20, 20)).save(root / name, exif=exif.tobytes())
        os.utime(root / name, (0, 0))

    take("old.jpg", taken={0x9003: "2019:12:31 23:59:59"})
    take("new.jpg", taken={0x9003: "2024:05:17 12:00:00"})
    take("sydney.webp", place={1: "S", 2: (33.0, 51.0, 0.0), 3: "E", 4: (151.0, 12.0, 0.0)})
    take("trip/canon.jpg", first={0x010F: "Canon", 0x0110: "Canon EOS 5D"})
    take("large.bmp", size=200)
    assert run("index", root, "--store", tmp_path / "store", *colours.options).code == 0

    def search(*words: object) -> set[str]:
        ran = run("search", "red", "--store", tmp_path / "store", "--top", 20, "--json", *words)
        assert ran.code == 0, ran.err
        found = ran.json["results"]
        return {Path(hit["name"]).stem for hits in found.values() for hit in hits}

    return search


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (("--since", "2020"), {"new"}),
        (("--since", "2024-05-17", "--until", "2024-05-17"), {"new"}),
        (("--since", "2024-05-17T12:00:01"), set()),
        (("--until", "2019", "--since", "2019"), {"old"}),
        (("--folder", "trip"), {"canon"}),
        (("--folder", "trip/"), {"canon"}),
        (("--kind", "jpeg"), {"old", "new", "canon"}),
        (("--kind", "jpg,webp"), {"old", "new", "canon", "sydney"}),
        (("--min-size", "100k"), {"large"}),
        (("--max-size", "0.1M", "--kind", "bmp"), set()),
        (("--camera", "eos"), {"canon"}),
        (("--near", "33.86S,151.2E,10"), {"sydney"}),
        (("--near=-33.86,151.2,10km",), {"sydney"}),
        (("--near", "33.86N,151.2E,10"), set()),
    ],
    ids=word_ids,
)
def test_filters(album: Any, options: tuple[str, ...], found: set[str]) -> None:
    assert album(*options) == found


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--since", "soon"), "'soon' is no time"),
        (("--since", "2024", "--until", "2023"), "no time is since 2024"),
        (("--kind", "pictures"), "--kind 'pictures' is none of all, images, texts"),
        (("--kind", "images,jpeg"), "either images and texts, or formats"),
        (("--min-size", "many"), "'many' is no size"),
        (("--min-size", "3", "--max-size", "2"), "no file has at least 3"),
        (("--near", "here"), "'here' is no place"),
        (("--near", "91N,0E"), "latitude from -90"),
        (("--near", "1E,1E"), "is no place"),
        (("--near", "1,2,3,4"), "is no place"),
        (("--near", "1,2,-3"), "a distance in km above 0"),
        (("--cut-off", "high"), "'high' is neither auto"),
        (("--diversity", "2"), "not a number from 0 to 1"),
        (("--similar-to", "gone.png"), "not in the collection"),
        (("--minus", "red^0"), "weight"),
        (("--plus", " "), "blank"),
        (("--minus", "red"), "takes it away"),
        (("+",), "character 1"),
        (('"two people',), "never closed"),
        (("--paths", "--json"), "exclude each other"),
        (("--paths", "--thumbnails"), "exclude each other"),
    ],
    ids=word_ids,
)
def test_what_is_not_understood_is_one_line(search: Any, options: tuple[str, ...], said: str) -> None:
    words = options if options[0] in ("+", '"two people') else ("red", *options)
    ran = search(*words)
    assert ran.code == 2
    assert said in ran.err
    assert "Traceback" not in ran.err
    assert ran.out == ""


# Which results, and how they are shown


def test_a_cut_off_hides_and_says_how_many(search: Any) -> None:
    ran = search("red", "--cut-off", 0.5, "--kind", "images")
    assert "apple.png" in ran.out
    assert "leaf.jpg" not in ran.out
    assert "2 images below the cut-off of 0.500 are hidden; --cut-off none shows them." in ran.err
    found = search("red", "--cut-off", 0.5, "--kind", "images", "--json").json
    assert (found["hidden"], found["cut_off"]) == ({"images": 2}, {"images": 0.5})
    found = search("red", "--json").json
    assert (found["hidden"], found["cut_off"]) == ({"images": 0, "texts": 0}, {"images": None, "texts": None})
    assert search("red", "--cut-off", "auto", "--json").code == 0


def test_diverse_results_are_less_alike(run: Any, colours: Any, folder: Path, tmp_path: Path, paint: Any) -> None:
    for number in range(4):
        paint(folder / f"red {number}.png", "red", (9 + number, 9))
    store = ("--store", tmp_path / "store")
    assert run("index", folder, *store, *colours.options).code == 0
    asked = ("search", "red", *store, "--kind", "images", "--top", 3, "--json")
    assert all("red" in name or name == "apple.png" for name in names(run(*asked).json["results"]["images"]))
    assert {"leaf.jpg", "trip/sea.png"} & set(names(run(*asked, "--diversity", 0.9).json["results"]["images"]))


def test_paths_are_all_that_is_printed(search: Any, folder: Path) -> None:
    ran = search("blue", "--paths")
    paths = ran.out.splitlines()
    assert paths[0] == str(folder / "trip" / "sea.png")
    files = ("apple.png", "leaf.jpg", "list.txt", "trip/notes.md", "trip/sea.png")
    assert sorted(paths) == [str(folder / name) for name in files]
    assert ran.err == ""
    assert search("blue", "-0").out.split("\0")[:-1] == paths
    assert search("blue", "--null", "--cut-off", 1).out == ""


def test_a_path_with_a_line_break_needs_zero_bytes(run: Any, colours: Any, tmp_path: Path, paint: Any) -> None:
    root = tmp_path / "odd"
    paint(root / "a\nb.png", "red")
    paint(root / os.fsdecode(b"caf\xe9.png"), "blue")
    store = ("--store", tmp_path / "store")
    assert run("index", root, *store, *colours.options).code == 0

    def search(option: str) -> tuple[bytes, str]:
        words = [sys.executable, "-c", BYTES, str(tmp_path / "store"), option]
        ran = subprocess.run(words, capture_output=True, check=True, cwd=Path(__file__).parent)
        return ran.stdout, ran.stderr.decode()

    prefix = os.fsencode(root)
    out, _ = search("-0")
    assert set(out.split(b"\0")[:-1]) == {prefix + b"/a\nb.png", prefix + b"/caf\xe9.png"}
    out, err = search("--paths")
    assert out == prefix + b"/caf\xe9.png\n"
    assert "a\\nb.png: a line break in its name" in err


BYTES = """
import sys
import colour_backend
from jina_clip_integrations.cli.main import main
backend = colour_backend.ColourBackend()
colour_backend.shared = lambda: backend
sys.exit(main(["search", "red", "--store", sys.argv[1], sys.argv[2], *backend.options]))
"""


def test_images_are_drawn_in_front_of_their_names(search: Any, folder: Path) -> None:
    from tests.cli.test_sixel import decode

    ran = search("blue", "--graphics", "sixel", "--top", 2)
    drawn = re.findall(r"\x1bP.*?\x1b\\", ran.out)
    assert len(drawn) == 2  # of texts there is nothing to draw
    pixels = decode(drawn[0])
    assert pixels.shape == (24, 24, 3)
    assert abs(pixels - np.array([30, 60, 220]) / 2.55).max() <= 1
    text = re.sub(r"\x1bP.*?\x1b\\\n", "", ran.out)
    assert text == search("blue", "--top", 2).out


def test_without_a_terminal_that_draws_it_is_said(search: Any) -> None:
    ran = search("blue", "--thumbnails")
    assert ran.out == search("blue").out
    assert "no thumbnails: the output is no terminal that draws images" in ran.err


def test_an_image_that_is_gone_or_broken_has_no_thumbnail(search: Any, folder: Path) -> None:
    (folder / "apple.png").unlink()
    (folder / "leaf.jpg").write_bytes(b"no image")
    ran = search("red", "--graphics", "kitty", "--kind", "images")
    assert ran.code == 0
    assert "     no thumbnail: no such file\n  1   0." in ran.out
    assert "     no thumbnail: not an image" in ran.out
    assert ran.out.count("\x1b_G") == 1


@pytest.mark.parametrize("graphics", ["kitty", "iterm", "sixel"])
def test_no_name_reaches_the_terminal_as_it_is(
    run: Any, colours: Any, tmp_path: Path, paint: Any, graphics: str
) -> None:
    root = tmp_path / "odd"
    evil = "\x1b]0;title\a\x1b[2J\x9b31m\u202egnp"
    paint(root / f"{evil}.png", "red")
    (root / f"{evil}\n.txt").write_text(f"red {evil}", "utf-8")
    store = ("--store", tmp_path / "store")
    assert run("index", root, *store, *colours.options).code == 0
    for words in (("search", "red", *store), ("search", "red", *store, "--fuse")):
        out = run(*words, "--graphics", graphics).out
        drawn = re.sub(r"\x1b_G[^\x1b]*\x1b\\|\x1b\]1337;File=[ -~]*\a|\x1bP[ -~]*\x1b\\", "", out)
        assert len(drawn) < len(out)
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", drawn)
        assert drawn.count("\\x1b]0;title") >= 2
        assert not any(line.startswith(".txt") for line in drawn.splitlines())
