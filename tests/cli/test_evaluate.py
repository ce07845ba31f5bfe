"""`jina-clip evaluate` on data of one's own; the demo gallery and public benchmarks have files of their own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jina_clip_integrations.cli import evaluate
from jina_clip_integrations.cli.evaluate import evaluation_sizes
from jina_clip_integrations.errors import ConfigurationError, InputError
from jina_clip_integrations.evaluation.partial import cache_home
from jina_clip_integrations.evaluation.runs import Evaluation
from tests.command_line import word_ids

PAIRS = [
    ("apple.png", "a red apple", "en"),
    ("leaf.jpg", "a green leaf", "en"),
    ("trip/sea.png", "das blue Meer", "de"),
]


@pytest.fixture(autouse=True)
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for caches that no other run knows, and searches that take no time."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    monkeypatch.setattr(evaluate, "ROWS", 50)
    return tmp_path / "caches"


@pytest.fixture
def captions(folder: Path) -> Path:
    path = folder / "captions.jsonl"
    rows = [{"image": image, "text": text, "language": language} for image, text, language in PAIRS]
    path.write_text("\n".join(map(json.dumps, rows)), "utf-8")
    return path


def settings(report: dict[str, Any]) -> dict[tuple[int, str, str], dict[str, Any]]:
    return {(one["dimensions"], one["type"], one["rescored"]): one for one in report["settings"]}


def test_captioned_images_are_evaluated_at_every_trained_width_in_every_type(
    run: Any, colours: Any, captions: Path
) -> None:
    ran = run("evaluate", captions, *colours.options, "--json")
    assert ran.code == 0, ran.err
    assert (ran.json["data"]["queries"], ran.json["data"]["documents"]) == (3, 3)
    found = settings(ran.json)
    types = [("float32", ""), ("float16", ""), ("int8", ""), ("int8", "rescored")]
    types += [("binary", ""), ("binary", "rescored"), ("binary", "float16 kept")]
    assert list(found) == [(size, *kind) for size in (16, 8) for kind in types]
    assert [one["bytes_per_vector"] for one in list(found.values())[:7]] == [64, 32, 16, 16, 2, 2, 2]
    assert found[16, "binary", "float16 kept"]["kept_bytes"] == 32
    for one in found.values():
        assert set(one["directions"]) == {"text_to_image", "image_to_text"}
        assert one["queries_per_second"] > 0
    wide = found[16, "float32", ""]
    assert wide["directions"]["text_to_image"]["mean"]["R@1"] == {"mean": 1, "low": 1, "high": 1}
    assert set(wide["directions"]["text_to_image"]["languages"]) == {"en", "de"}
    assert wide["kept"] == 1
    assert colours.embedded == 6


def test_a_wrong_caption_costs(run: Any, colours: Any, folder: Path) -> None:
    path = folder / "captions.csv"
    path.write_text("image,text\napple.png,a red apple\nleaf.jpg,something red\ntrip/sea.png,blue\n", "utf-8")
    ran = run("evaluate", path, *colours.options, "--types", "float32", "--json")
    row = settings(ran.json)[16, "float32", ""]["directions"]
    assert row["text_to_image"]["mean"]["R@1"]["mean"] == pytest.approx(2 / 3)
    assert row["text_to_image"]["mean"]["R@5"]["mean"] == 1
    assert row["image_to_text"]["mean"]["R@1"]["mean"] < 1


def test_people_read_tables(run: Any, colours: Any, captions: Path) -> None:
    ran = run("evaluate", captions, *colours.options, "--at", 8, "--types", "float32")
    assert "3 queries, 3 documents" in ran.out
    assert "mean over languages" in ran.out
    assert any(line.startswith("8 wide, float32") and "100.0%" in line for line in ran.out.splitlines())
    assert any(line.split()[:1] == ["de"] for line in ran.out.splitlines())
    assert "Recommended: 8 wide, float32" in ran.out
    assert "images: 3/3" in ran.err
    assert "settings: 1/1" in ran.err


def test_a_folder_and_judged_queries_are_evaluated_alike(run: Any, colours: Any, folder: Path, tmp_path: Path) -> None:
    for text in ("list.txt", "trip/notes.md"):
        (folder / text).unlink()
    (tmp_path / "queries.tsv").write_text("q1\tred\nq2\tgreen\nq3\tblue\n", "utf-8")
    (tmp_path / "qrels.txt").write_text("q1 0 apple.png 1\nq2 0 leaf.jpg 1\nq3 0 trip/sea.png 1\n", "utf-8")
    names = ["--queries", tmp_path / "queries.tsv", "--qrels", tmp_path / "qrels.txt"]
    judged = run("evaluate", folder, *names, *colours.options, "--types", "float32", "--json")
    assert judged.code == 0, judged.err
    for name, text in (("apple", "red"), ("leaf", "green"), ("trip/sea", "blue")):
        (folder / f"{name}.txt").write_text(text, "utf-8")
    beside = run("evaluate", folder, *colours.options, "--types", "float32", "--json")
    assert beside.code == 0, beside.err
    directions = [one.json["settings"][0]["directions"] for one in (judged, beside)]
    assert directions[0] == directions[1]


def test_items_of_a_text_and_an_image_have_the_sum_of_both(run: Any, colours: Any, folder: Path) -> None:
    corpus = [{"_id": "a", "text": "red", "image": "leaf.jpg"}, {"_id": "b", "text": "blue"}]
    (folder / "corpus.jsonl").write_text("\n".join(map(json.dumps, corpus)), "utf-8")
    (folder / "queries.jsonl").write_text('{"_id": "q", "text": "green"}\n', "utf-8")
    (folder / "qrels").mkdir()
    (folder / "qrels" / "test.tsv").write_text("q\ta\t1\n", "utf-8")
    ran = run("evaluate", folder, *colours.options, "--types", "float32", "--json")
    assert ran.code == 0, ran.err
    assert ran.json["settings"][0]["directions"]["text_to_document"]["mean"]["R@1"]["mean"] == 1


def test_a_report_is_written_and_compared_with(run: Any, colours: Any, captions: Path, tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    common = [captions, *colours.options, "--types", "float32", "--no-speed"]
    assert run("evaluate", *common, "--output", file).code == 0
    report = json.loads(file.read_text("utf-8"))
    assert report["per_query"]["directions"]["text_to_image"]["values"]["R@1"] == [1, 1, 1]
    report["per_query"]["directions"]["text_to_image"]["values"]["R@1"] = [0, 0, 0]
    for part in report["per_query"]["directions"].values():  # the order of another run is its own
        for rows in (part["ids"], part["languages"], *part["values"].values()):
            rows.reverse()
    file.write_text(json.dumps(report), "utf-8")
    ran = run("evaluate", *common, "--against", file)
    assert ran.code == 0, ran.err
    [line] = [line for line in ran.out.splitlines() if line.startswith("text to image, R@1 ")]
    assert "+100.00" in line
    assert line.endswith("no difference shown")
    found = run("evaluate", *common, "--against", file, "--json").json["against"]["directions"]
    assert found["text_to_image"]["R@1"]["difference"] == 1
    # Eight exchanges of three queries, two of them as extreme.
    assert found["text_to_image"]["R@1"]["p_value"] == pytest.approx(0.25, abs=0.03)
    assert found["image_to_text"]["R@1"] == {"difference": 0, "p_value": 1}


def test_two_models_are_compared_in_one_run(run: Any, colours: Any, captions: Path) -> None:
    ran = run("evaluate", captions, *colours.options, "--types", "float32", "--no-speed", "--against", "demo", "--json")
    assert ran.code == 0, ran.err
    assert ran.json["against"]["model"]["name"] == "demo"
    assert set(ran.json["against"]["directions"]) == {"text_to_image", "image_to_text"}


def test_a_run_on_other_data_is_refused(run: Any, colours: Any, captions: Path, tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    common = [captions, *colours.options, "--types", "float32", "--no-speed"]
    run("evaluate", *common, "--output", file)
    lines = captions.read_text("utf-8").splitlines()
    captions.write_text("\n".join(lines[:2]), "utf-8")
    ran = run("evaluate", *common, "--against", file)
    assert ran.code == 2
    assert "was measured on other queries" in ran.err


def test_an_interrupted_run_goes_on_where_it_stopped(
    run: Any, colours: Any, captions: Path, caches: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[str] = []
    measure = Evaluation.measure

    def stop_at_the_third(self: Evaluation, setting: Any) -> Any:
        if len(measured) == 2 and "stop" in measured[0]:
            raise KeyboardInterrupt
        measured.append(f"stop {setting}")
        return measure(self, setting)

    monkeypatch.setattr(Evaluation, "measure", stop_at_the_third)
    first = run("evaluate", captions, *colours.options, "--json")
    assert first.code == 130
    assert "the same command again goes on from there" in first.err
    assert colours.embedded == 6
    before = list(measured)
    measured[:] = ["go on"]
    [partial] = (caches / "jina-clip-integrations" / "evaluate").iterdir()
    with (partial / "settings.jsonl").open("a") as file:
        file.write('\n{"dimensions": 16, "ty')  # killed in the middle of a line
    again = run("evaluate", captions, *colours.options, "--json")
    assert again.code == 0, again.err
    assert colours.embedded == 6  # no vector was computed again
    assert len(measured) - 1 == 14 - len(before)
    monkeypatch.setattr(Evaluation, "measure", measure)
    whole = run("evaluate", captions, *colours.options, "--json")
    timeless = [
        [{**one, "queries_per_second": None} for one in ran.json["settings"]] for ran in (again, whole)
    ]  # fmt: skip
    assert timeless[0] == timeless[1]
    assert not list((caches / "jina-clip-integrations" / "evaluate").iterdir())  # nothing is left of a complete run


def test_changed_images_are_measured_anew(
    run: Any, colours: Any, captions: Path, folder: Path, paint: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = [captions, *colours.options, "--types", "float32", "--no-speed", "--json"]
    discard = evaluate.PartialRun.discard
    monkeypatch.setattr(evaluate.PartialRun, "discard", lambda self: None)  # as if killed at the end
    before = run("evaluate", *options).json["settings"][0]["directions"]["text_to_image"]["mean"]["R@1"]["mean"]
    paint(folder / "apple.png", "blue", (25, 25))
    monkeypatch.setattr(evaluate.PartialRun, "discard", discard)
    after = run("evaluate", *options).json["settings"][0]["directions"]["text_to_image"]["mean"]["R@1"]["mean"]
    assert (before, after) == (1, pytest.approx(0.25, abs=0.3))


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_a_plot_is_drawn(run: Any, colours: Any, captions: Path, tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"plot{suffix}"
    assert run("evaluate", captions, *colours.options, "--plot", file, "--no-speed").code == 0
    content = file.read_bytes()
    assert content.startswith(b"\x89PNG") if suffix == ".png" else b"<svg" in content


def test_queries_may_have_an_instruction(run: Any, tmp_path: Path, paint: Any) -> None:
    paint(tmp_path / "a.png", "red")
    paint(tmp_path / "b.png", "blue")
    (tmp_path / "captions.csv").write_text("image,text\na.png,red\nb.png,blue\n", "utf-8")
    common = ["evaluate", tmp_path, "--model", "demo", "--types", "float32", "--no-speed", "--json"]
    plain, told = run(*common), run(*common, "--query-task", "retrieval.query")
    assert told.code == 0, told.err
    assert "texts as queries: 2/2" in told.err
    assert "as queries" not in plain.err
    assert run(*common, "--query-task", "nonsense").code == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere.jsonl"], "nowhere.jsonl"),
        (["{captions}", "--at", "32"], "the vectors have 16 dimensions"),
        (["{captions}", "--at", "4"], "colours gives 8 to 16"),
        (["{captions}", "--at", "0"], "positive integer"),
        (["{captions}", "--types", "int4"], "'int4' is no storage type; there are float32, float16, int8, binary"),
        (["{captions}", "--keep", "1.5"], "'1.5' is not a share"),
        (["{captions}", "--keep", "much"], "'much' is not a share"),
        (["{captions}", "--languages", "en"], "your own data have a column for it"),
        (["{captions}", "--split", "dev"], "--split chooses"),
        (["--qrels", "x"], "need the corpus"),
        (["--languages", "tlh"], "the gallery has no names in 'tlh'"),
        (["{captions}", "--output", "report.csv"], "a report is a .json"),
        (["{captions}", "--output", "no/where/report.json"], "there is no folder"),
        (["{captions}", "--plot", "plot.bmp"], "must end in .png"),
        (["{captions}", "--plot", "no/where/plot.png"], "there is no folder"),
        (["{captions}", "--against", "{captions}.json"], "captions.jsonl.json"),
        (["{captions}", "--against", "{broken}"], "is no report"),
    ],
    ids=word_ids,
)
def test_bad_requests_are_one_line(
    run: Any, colours: Any, captions: Path, tmp_path: Path, arguments: list[str], said: str
) -> None:
    broken = tmp_path / "broken.json"
    broken.write_text("{}", "utf-8")
    words = [word.format(captions=captions, broken=broken) for word in arguments]
    ran = run("evaluate", *words, *colours.options)
    assert ran.code == 2
    assert said in ran.err
    assert "Traceback" not in ran.err
    assert colours.embedded == 0 or "--at" in arguments


def test_a_missing_and_a_broken_image_are_named(run: Any, colours: Any, captions: Path, folder: Path) -> None:
    (folder / "leaf.jpg").write_bytes(b"no image")
    ran = run("evaluate", captions, *colours.options)
    assert ran.code == 2
    assert "leaf.jpg" in ran.err
    assert len(ran.err.splitlines()) <= 3
    (folder / "leaf.jpg").unlink()
    ran = run("evaluate", captions, *colours.options)
    assert ran.code == 2
    assert "leaf.jpg" in ran.err
    assert "line 2" in ran.err


def test_without_the_extra_it_says_so_at_once(
    run: Any, colours: Any, captions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from importlib import util

    found = util.find_spec
    monkeypatch.setattr(util, "find_spec", lambda name: None if name == "ir_measures" else found(name))
    ran = run("evaluate", captions, *colours.options)
    assert ran.code == 2
    assert 'pip install "jina-clip-integrations[evaluate]"' in ran.err
    assert colours.embedded == 0


def test_widths_default_to_the_trained_ones(colours: Any) -> None:
    assert evaluation_sizes(colours.spec, 16, None) == [16, 8]
    assert evaluation_sizes(colours.spec, 12, None) == [12, 8]
    assert evaluation_sizes(None, 16, None) == [16]
    assert evaluation_sizes(colours.spec, 16, [8, 16, 8]) == [16, 8]
    with pytest.raises(InputError):
        evaluation_sizes(None, 16, [17])
    with pytest.raises(ConfigurationError):
        evaluation_sizes(colours.spec, 16, [3])


def test_the_folder_of_caches_is_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    assert cache_home() == Path.home() / ".cache"


def test_vectors_of_a_given_cache_are_used(run: Any, colours: Any, captions: Path, tmp_path: Path) -> None:
    options = [captions, *colours.options, "--cache", tmp_path / "mine", "--types", "float32", "--no-speed"]
    for _ in range(2):
        assert run("evaluate", *options).code == 0
    assert colours.embedded == 6
    assert np.all([path.exists() for path in [tmp_path / "mine"]])
