"""Results of several models, from folders that mteb wrote, in one table."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mteb
import pytest
from mteb.mocks.mock_tasks import MockAny2AnyRetrievalT2ITask, MockMultilingualRetrievalTask

from jina_clip_integrations import JinaClipEncoder
from jina_clip_integrations.errors import InputError
from jina_clip_integrations.evaluation.benchmarks.model import JinaClipMteb
from jina_clip_integrations.evaluation.benchmarks.results import (
    ModelResults,
    as_json,
    labels,
    read_results,
    scores_of,
    table,
)
from jina_clip_integrations.evaluation.benchmarks.run import run_task
from tests.fakes import BlockingBackend

T2I, TEXT = "MockAny2AnyRetrievalT2I", "MockMultilingualRetrievalTask"


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ours")
    for task in (MockAny2AnyRetrievalT2ITask(), MockMultilingualRetrievalTask()):
        run_task(JinaClipMteb(JinaClipEncoder(backend=BlockingBackend())), task, folder)
    return folder


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What mteb itself writes for a model of its registry."""
    folder = tmp_path_factory.mktemp("theirs")
    random = mteb.get_model("mteb/baseline-random-encoder")
    cache = mteb.ResultCache(folder)
    mteb.evaluate(random, MockAny2AnyRetrievalT2ITask(), cache=cache, co2_tracker=False, show_progress_bar=False)
    return folder


def test_ours_and_theirs_are_read_alike(ours: Path, theirs: Path) -> None:
    [mine], [random] = read_results(ours), read_results(theirs)
    assert (mine.name, mine.revision, set(mine.scores)) == ("custom/fake", "unversioned", {T2I, TEXT})
    assert random.name == "mteb/baseline-random-encoder"
    assert set(random.scores) == {T2I}
    written = json.loads(next(theirs.glob("results/*/*/MockAny2Any*.json")).read_text("utf-8"))["scores"]["test"][0]
    assert random.scores[T2I]["main"] == pytest.approx(100 * written["ndcg_at_10"])
    assert random.scores[T2I]["R@1"] == pytest.approx(100 * written["hit_rate_at_1"])
    assert set(mine.subsets[TEXT]) == {"eng", "fra"}
    assert mine.scores[TEXT]["main"] == pytest.approx(sum(mine.subsets[TEXT].values()) / 2, abs=1e-3)


def test_tasks_can_be_chosen_and_folders_named_in_any_way(ours: Path) -> None:
    [chosen] = read_results(ours, [T2I])
    assert set(chosen.scores) == {T2I}
    [below] = read_results(ours / "results", [T2I])  # as in mteb's repository of results
    assert below.scores == chosen.scores


def test_a_folder_without_results_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no results of mteb here"):
        read_results(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_names_of_earlier_releases_are_known() -> None:
    row = {"main_score": 0.5, "cv_recall_at_1": 0.25, "cv_recall_at_5": 0.75, "hf_subset": "default"}
    assert scores_of(SimpleNamespace(scores={"test": [row]})) == {"main": 50, "R@1": 25, "R@5": 75}


def results(name: str, revision: str = "r", experiment: str = "", folder: str = "f", **scores: Any) -> ModelResults:
    return ModelResults(name, revision, experiment, Path(folder), scores, {task: {} for task in scores})


def test_the_table_has_a_column_for_every_model() -> None:
    models = [
        results("a/x", One={"main": 50.0, "R@1": 40.0, "R@5": 45.0, "R@10": 49.0}, Two={"main": 60.0}),
        results("b/y", One={"main": 70.0}, Two={"main": 80.0}),
    ]
    assert table(models, ["One", "Two"], ["One"]) == [
        ["One", "main", "50.00", "70.00"],
        ["One", "R@1", "40.00", ""],
        ["One", "R@5", "45.00", ""],
        ["One", "R@10", "49.00", ""],
        ["Two", "main", "60.00", "80.00"],
        ["mean", "main", "55.00", "75.00"],
    ]
    # A mean over different tasks would compare nothing.
    assert table([models[0], results("b/y", One={"main": 70.0})], ["One", "Two"], [])[-1][0] == "Two"


def test_models_of_one_name_are_told_apart() -> None:
    models = [
        results("a/x"),
        results("a/x", experiment="embed_dim_64"),
        results("a/x", revision="s"),
        results("b/y", folder="f"),
        results("b/y", folder="g"),
    ]
    assert labels(models) == ["a/x r", "a/x embed_dim_64", "a/x s", "b/y r f", "b/y r g"]


def test_the_document_says_the_same(ours: Path, theirs: Path) -> None:
    models = [*read_results(ours), *read_results(theirs)]
    document = as_json(models, [T2I, TEXT])
    assert set(document[T2I]) == {"custom/fake", "mteb/baseline-random-encoder"}
    assert set(document[TEXT]) == {"custom/fake"}
    assert document[TEXT]["custom/fake"]["subsets"] == dict(models[0].subsets[TEXT])
