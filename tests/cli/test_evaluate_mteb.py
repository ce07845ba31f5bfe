"""`jina-clip evaluate --mteb` and `--suite`, offline: mteb's mock tasks, the demo gallery, results of other models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import mteb
import pytest
from mteb.mocks import mock_tasks

from jina_clip_integrations.cli import evaluate_mteb
from jina_clip_integrations.demo import gallery
from jina_clip_integrations.evaluation.benchmarks import suites
from tests.command_line import word_ids

T2I = "mteb.mocks.mock_tasks:MockAny2AnyRetrievalT2ITask"
TEXT = "mteb.mocks.mock_tasks:MockMultilingualRetrievalTask"
T2I_NAME, TEXT_NAME = "MockAny2AnyRetrievalT2I", "MockMultilingualRetrievalTask"


@pytest.fixture
def results(tmp_path: Path) -> list[object]:
    return ["--results", tmp_path / "results"]


def test_tasks_are_run_and_kept_in_the_format_of_mteb(
    run: Any, colours: Any, results: list[object], tmp_path: Path
) -> None:
    ran = run("evaluate", "--mteb", T2I, TEXT, *results, *colours.options, "--json")
    assert ran.code == 0, ran.err
    assert ran.json["failed"] == {}
    assert set(ran.json["tasks"]) == {T2I_NAME, TEXT_NAME}
    scores = ran.json["tasks"][TEXT_NAME]["custom/colours"]
    assert set(scores["subsets"]) == {"eng", "fra"}
    [model] = mteb.ResultCache(tmp_path / "results").load_results().model_results
    assert {result.task_name: 100 * result.get_score() for result in model.task_results} == {
        name: pytest.approx(ran.json["tasks"][name]["custom/colours"]["main"], abs=1e-3)
        for name in (T2I_NAME, TEXT_NAME)
    }
    assert f"{T2I_NAME} default document: 2/2" not in ran.err  # the subset called default is left out
    assert f"{T2I_NAME} document: 2/2" in ran.err


def test_what_is_done_is_not_computed_again(run: Any, colours: Any, results: list[object]) -> None:
    first = run("evaluate", "--mteb", T2I, *results, *colours.options, "--json")
    embedded = colours.embedded
    assert embedded == 4
    again = run("evaluate", "--mteb", T2I, *results, *colours.options, "--json")
    assert again.json == first.json
    assert colours.embedded == embedded
    run("evaluate", "--mteb", T2I, *results, *colours.options, "--dimensions", 8)
    assert colours.embedded == 2 * embedded


def test_images_of_several_languages_are_computed_once(
    run: Any, colours: Any, results: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    few = gallery()[:50]
    monkeypatch.setattr("jina_clip_integrations.evaluation.benchmarks.gallery.gallery", lambda: few)
    ran = run("evaluate", "--suite", "gallery", "--languages", "en,de", *results, *colours.options, "--quiet")
    assert ran.code == 0, ran.err
    assert ran.err == ""
    names = {image.names[language] for image in few for language in ("en", "de")}
    assert colours.embedded == len(few) + len(names)


def test_several_widths_are_computed_once(run: Any, colours: Any, results: list[object]) -> None:
    ran = run("evaluate", "--mteb", TEXT, *results, *colours.options, "--at", 8, 16, "--json")
    assert ran.code == 0, ran.err
    assert set(ran.json["tasks"][TEXT_NAME]) == {"custom/colours", "custom/colours embed_dim_8"}
    both = colours.embedded
    colours.calls.clear()
    run("evaluate", "--mteb", TEXT, "--results", Path(str(results[1])) / "one", *colours.options)
    assert colours.embedded == both


def test_people_read_a_table(run: Any, colours: Any, results: list[object]) -> None:
    ran = run("evaluate", "--mteb", T2I, TEXT, *results, *colours.options)
    lines = [line.split() for line in ran.out.splitlines()]
    assert lines[0] == ["task", "score", "custom/colours"]
    assert [line[:2] for line in lines[1:]] == [
        [T2I_NAME, "main"],
        [T2I_NAME, "R@1"],
        [T2I_NAME, "R@5"],
        [T2I_NAME, "R@10"],
        [TEXT_NAME, "main"],
        ["mean", "main"],
    ]


def test_other_models_stand_beside_ours(run: Any, colours: Any, results: list[object], tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    mteb.evaluate(
        mteb.get_model("mteb/baseline-random-encoder"),
        mock_tasks.MockAny2AnyRetrievalT2ITask(),
        cache=mteb.ResultCache(theirs),
        co2_tracker=False,
        show_progress_bar=False,
    )
    ran = run("evaluate", "--mteb", T2I, *results, *colours.options, "--beside", theirs)
    assert ran.out.splitlines()[0].split() == ["task", "score", "custom/colours", "mteb/baseline-random-encoder"]
    assert len(ran.out.splitlines()[1].split()) == 4
    # Without a task nothing runs, and everything that is there is shown.
    embedded = colours.embedded
    shown = run("evaluate", "--mteb", *results, "--beside", theirs, "--json")
    assert shown.code == 0, shown.err
    assert set(shown.json["tasks"][T2I_NAME]) == {"custom/colours", "mteb/baseline-random-encoder"}
    assert colours.embedded == embedded


def test_an_interruption_says_how_to_go_on(run: Any, colours: Any, results: list[object]) -> None:
    colours.fail_after = (2, KeyboardInterrupt())
    ran = run("evaluate", "--mteb", TEXT, *results, *colours.options)
    assert ran.code == 130
    assert "the same command again goes on from there" in ran.err
    colours.fail_after = None
    assert run("evaluate", "--mteb", TEXT, *results, *colours.options).code == 0


def test_tasks_without_their_data_are_named_and_the_others_run(
    run: Any, colours: Any, results: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise ConnectionError("no route to the Hub")

    monkeypatch.setattr(mock_tasks.MockAny2AnyRetrievalT2ITask, "load_data", unreachable)
    ran = run("evaluate", "--mteb", T2I, TEXT, *results, *colours.options, "--json")
    assert ran.code == 1
    assert set(ran.json["tasks"]) == {TEXT_NAME}
    assert "no route to the Hub" in ran.json["failed"][T2I_NAME]
    [line] = [line for line in ran.err.splitlines() if line.startswith("warning:")]
    assert "HF_HOME" in line
    alone = run("evaluate", "--mteb", T2I, "--results", Path(str(results[1])) / "none", *colours.options)
    assert (alone.code, alone.out) == (1, "")


def test_the_instruction_can_be_left_out(run: Any, results: list[object], tmp_path: Path) -> None:
    for options in ([], ["--no-query-instruction"]):
        assert run("evaluate", "--mteb", T2I, *results, "--model", "demo", *options).code == 0
    metas = [json.loads(path.read_text("utf-8")) for path in tmp_path.rglob("model_meta.json")]
    assert {meta["use_instructions"] for meta in metas} == {True, False}


def test_a_suite_says_what_mteb_lacks(run: Any, colours: Any, results: list[object], monkeypatch: Any) -> None:
    part = suites.Suite(summary="a part", tasks=(T2I,), lacks="only a part of it")
    monkeypatch.setattr(suites, "SUITES", {**suites.SUITES, "zero-shot": part})
    monkeypatch.setattr(evaluate_mteb, "SUITES", suites.SUITES)
    ran = run("evaluate", "--suite", "zero-shot", *results, *colours.options)
    assert ran.code == 0, ran.err
    assert "mteb has only a part of it" in ran.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--suite", "xtd10"], "has no task of XTD10"),
        (["--suite", "flickr8k"], "invalid choice"),
        (["--mteb", "Flickr30k"], "no task or benchmark of that name"),
        (["--mteb", T2I, "--beside", "nowhere"], "--beside nowhere: there is no such folder"),
        (["--mteb", "--beside", "."], "no results of mteb here"),
        (["--mteb"], "name tasks after --mteb"),
        (["--mteb", T2I, "--languages", "de"], "none of the tasks is in de"),
        (["--mteb", T2I, "--at", "4"], "colours gives 8 to 16"),
        (["captions.csv", "--suite", "flickr30k"], "PAIRS is for data of your own"),
        (["--mteb", T2I, "--plot", "plot.png"], "--plot is for data of your own"),
    ],
    ids=word_ids,
)
def test_bad_requests_are_one_line(
    run: Any, colours: Any, results: list[object], arguments: list[str], said: str, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = run("evaluate", *arguments, *results, *colours.options)
    assert ran.code == 2
    assert said in ran.err
    assert "Traceback" not in ran.err
    assert colours.embedded == 0


def test_a_python_that_is_too_old_is_named(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suites, "OLDEST_PYTHON", (99, 1))
    ran = run("evaluate", "--suite", "flickr30k")
    assert ran.code == 2
    assert "mteb needs Python 99.1 or newer, and this is 3." in ran.err


def test_a_missing_extra_says_how_to_install_it(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *_: None)
    ran = run("evaluate", "--suite", "flickr30k")
    assert ran.code == 2
    assert 'pip install "jina-clip-integrations[evaluate]"' in ran.err
