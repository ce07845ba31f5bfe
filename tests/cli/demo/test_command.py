"""`jina-clip demo`: the pure parts with small stand-ins, the whole with the model and gallery that ship."""

from __future__ import annotations

import contextlib
import io
import json
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from jina_clip_integrations.cli.demo import command as demo
from jina_clip_integrations.cli.demo.command import Facts, search_gallery, sheet_path
from jina_clip_integrations.cli.demo.queries import DEFAULT_QUERIES, LANGUAGES, Question, recognize_question
from jina_clip_integrations.cli.main import main
from jina_clip_integrations.demo import gallery
from jina_clip_integrations.errors import InputError
from jina_clip_integrations.evaluation.task import caption_task
from tests.command_line import word_ids

EYE = np.eye(3, dtype=np.float32)


def image(emoji: str, **names: str) -> Any:
    return types.SimpleNamespace(id=emoji, emoji=emoji, names=names, category="c")


IMAGES = [image("🔥", en="fire", de="Feuer"), image("🌧", en="rain", ja="雨"), image("🐟", en="fish")]


def test_answers_are_ranked_and_the_one_asked_for_is_marked() -> None:
    queries = np.float32([[0.6, 0.8, 0], [0, 0, 1]])
    first, second = search_gallery([Question("x", right=("🔥",)), Question("y")], queries, EYE, IMAGES, 2)
    assert [(a.image.emoji, a.is_right) for a in first.hits] == [("🌧", False), ("🔥", True)]
    assert first.hits[0].score == pytest.approx(0.8)
    assert [a.image.emoji for a in second.hits] == ["🐟", "🔥"]


@pytest.mark.parametrize(
    ("words", "language", "gloss", "right"),
    [
        ("Feuer", "de", "fire", ("🔥",)),
        (" feuer ", "de", "fire", ("🔥",)),
        ("fire", "en", "", ("🔥",)),
        ("雨", "ja", "rain", ("🌧",)),
        ("Wasser", "", "", ()),
    ],
    ids=word_ids,
)
def test_what_is_known_of_own_words(words: str, language: str, gloss: str, right: tuple[str, ...]) -> None:
    question = recognize_question(words, IMAGES)
    assert (question.language, question.gloss, question.right) == (language, gloss, right)
    assert question.text == words


@pytest.mark.parametrize(
    ("question", "heading"),
    [
        (Question("雨", "ja", "rain"), "“雨” (Japanese, rain)"),
        (Question("fire", "en"), "“fire” (English)"),
        (Question("anything"), "“anything”"),
        (Question(image="a.png"), "Image a.png"),
    ],
    ids=["language and meaning", "language", "words", "image"],
)
def test_questions_have_headings(question: Question, heading: str) -> None:
    assert question.heading() == heading


def test_fewer_dimensions_say_what_they_save_and_cost() -> None:
    line = Facts(10, 64, 1.0, {128: 85.04, 64: 83.96}).quality_line()
    assert "64 of 128 dimensions: 256 instead of 512 bytes per vector (50%)" in line
    assert "84.0% instead of 85.0%" in line


@pytest.mark.parametrize(("output", "said"), [("x.jpg", ".png"), ("no/where/x.png", "no folder")])
def test_the_sheet_is_checked_before_any_work(output: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        sheet_path(output)


def test_the_tour_is_in_several_scripts() -> None:
    assert len({question.language for question in DEFAULT_QUERIES}) >= 6
    assert {"hi", "ja", "ar"} <= {question.language for question in DEFAULT_QUERIES} <= set(LANGUAGES)
    assert all(question.gloss for question in DEFAULT_QUERIES if question.language != "en")


# With the model and the gallery that ship


@pytest.fixture(scope="session")
def toured(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The tour, taken once: its JSON, what it said on stderr, its sheet."""
    sheet = tmp_path_factory.mktemp("demo") / "sheet.png"
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(["demo", "--json", "--output", str(sheet), "--dimensions", "64"])
    assert code == 0, err.getvalue()
    return types.SimpleNamespace(json=json.loads(out.getvalue()), err=err.getvalue(), sheet=sheet)


def test_the_tour_finds_what_it_asks_for(toured: Any) -> None:
    """The queries were chosen because the model answers them well."""
    for query in toured.json["queries"]:
        assert query["results"][0]["right"], query["text"]
        expected = 3 if len(query["right"]) > 2 else 1
        assert sum(result["right"] for result in query["results"]) >= expected, query["text"]


def test_the_gallery_is_embedded_with_progress(toured: Any) -> None:
    assert toured.json["images"] > 1000
    assert "embedding images" in toured.err
    assert f"{toured.json['images']}/{toured.json['images']} (100%)" in toured.err


def test_64_dimensions_lose_little(toured: Any) -> None:
    """The demo's own promise: at most 3 points of recall@5."""
    quality = {int(size): value for size, value in toured.json["recall_at_5"].items()}
    assert min(quality) == toured.json["dimensions"] == 64
    assert toured.json["bytes_per_vector"] == 256
    assert quality[max(quality)] - quality[64] <= 3
    assert quality[64] > 50


def test_the_sheet_is_an_image_of_the_answers(toured: Any) -> None:
    with Image.open(toured.sheet) as sheet:
        assert (sheet.format, sheet.mode) == ("PNG", "RGB")
        width, height = sheet.size
    assert width > 1500
    assert height > 300 * len(DEFAULT_QUERIES)
    assert toured.json["sheet"] == str(toured.sheet)


@pytest.fixture
def small_gallery(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Every sixteenth image of the gallery and a few that the tests ask for."""
    some = [p for number, p in enumerate(gallery()) if number % 16 == 0 or p.emoji in "🔥🚀🌈🐟🌙"]
    monkeypatch.setattr("jina_clip_integrations.demo.gallery", lambda: some)
    return some


def test_own_words_and_an_image(run: Any, small_gallery: Any, tmp_path: Path) -> None:
    rocket = next(entry for entry in small_gallery if entry.emoji == "🚀")
    rocket.image().save(tmp_path / "rocket.png")
    ran = run("demo", "Rakete", "--image", tmp_path / "rocket.png", "--top", 3, "--output", tmp_path / "s.png")
    assert ran.code == 0, ran.err
    words, image = ran.out.split("Image ")
    assert "Demo model, not Jina's weights" in words
    assert "“Rakete” (German, rocket)" in words
    assert "✓ 🚀 rocket" in words
    assert "   1   1.000   🚀 rocket" in image
    assert (tmp_path / "s.png").stat().st_size > 10_000


@pytest.mark.usefixtures("small_gallery")
def test_no_sheet_and_one_document(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ran = run("demo", "fire", "--no-sheet", "--json", "--quiet")
    assert ran.json["sheet"] is None
    assert ran.json["queries"][0]["right"] == ["🔥"]
    assert ran.err == ""
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--output", "x.gif"], ".png"),
        (["--dimensions", "100000", "--no-sheet"], "dimensions"),
        (["--image", "nowhere.png", "--no-sheet"], "nowhere.png"),
        (["--top", "0"], "positive integer"),
    ],
    ids=word_ids,
)
def test_bad_requests_are_one_line(run: Any, arguments: list[str], said: str) -> None:
    ran = run("demo", *arguments)
    assert ran.code == 2
    assert said in ran.err
    assert "Traceback" not in ran.err


@pytest.mark.usefixtures("small_gallery")
def test_evaluate_measures_the_gallery_by_default(run: Any) -> None:
    ran = run("evaluate", "--languages", "en,ja", "--at", 64, "--types", "float32", "--no-speed", "--json")
    assert ran.code == 0, ran.err
    row = ran.json["settings"][0]["directions"]["text_to_image"]
    assert ran.json["model"]["name"] == "demo"
    assert set(row["languages"]) == {"en", "ja"}
    found = [row["mean"][measure]["mean"] for measure in ("R@1", "R@5", "R@10")]
    assert found == sorted(found)
    assert found[1] > 0.5


def test_evaluate_knows_the_languages_of_the_gallery(run: Any) -> None:
    ran = run("evaluate", "--languages", "en,tlh")
    assert ran.code == 2
    assert "no names in 'tlh'" in ran.err


def test_a_folder_is_indexed_and_searched_with_the_demo_model(run: Any, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    for wanted in gallery():
        if wanted.emoji in "🔥🚀🌈🐟🌙":
            wanted.image().save(folder / f"{wanted.names['en']}.png")
    (folder / "notes.md").write_text("# Rocket\n\nThe rocket is ready.\n\n# Fish\n\nFish for dinner.\n", "utf-8")
    indexed = run("index", folder, "--store", tmp_path / "store", "--model", "demo", "--json")
    assert indexed.code == 0, indexed.err
    assert (indexed.json["images"], indexed.json["passages"]) == (5, 2)
    found = run("search", "Regenbogen", "--store", tmp_path / "store", "--json").json
    assert found["results"]["images"][0]["name"] == "rainbow.png"
    refused = run("search", "rainbow", "--store", tmp_path / "store", "--dimensions", 64)
    assert refused.code == 2


def test_quality_is_measured_with_names_of_the_gallery(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names in two languages, of which one points at the wrong image half of the time."""
    names = [(0, "a", "en"), (1, "b", "en"), (0, "c", "de"), (1, "d", "de")]
    task = caption_task("names", [{"image": b""}] * 12, [str(number) for number in range(12)], names)
    monkeypatch.setattr(demo, "gallery_task", lambda languages: task)
    images = np.eye(12, dtype=np.float32)
    texts = images[[0, 1, 0, 0]].copy()
    texts[3] = -images[1]
    monkeypatch.setattr(demo, "encode_all", lambda *_: texts)
    found = demo.measure_quality(None, images, [12], demo.Output(quiet=True))
    assert found == {12: pytest.approx(75.0)}


def test_variation_selectors_make_no_difference() -> None:
    question = Question("x", right=("❄",))
    assert question.is_answered_by(image("❄\ufe0f"))
    assert not question.is_answered_by(image("☃\ufe0f"))
