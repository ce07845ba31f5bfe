"""Runs through mteb: figures that are ours, results that mteb reads back, going on after an interruption."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import mteb
import numpy as np
import pytest
from mteb.cache.result_cache import LoadExperimentEnum
from mteb.mocks.mock_tasks import MockAggregatedTask, MockMultilingualRetrievalTask, MockRetrievalTask
from mteb.results import TaskResult
from numpy.typing import NDArray

from jina_clip_integrations import JinaClipEncoder
from jina_clip_integrations.backends.base import Batch
from jina_clip_integrations.cache import MemoryCache
from jina_clip_integrations.demo import gallery
from jina_clip_integrations.errors import BackendError
from jina_clip_integrations.evaluation.benchmarks.model import JinaClipMteb
from jina_clip_integrations.evaluation.benchmarks.run import DataSetError, quiet_libraries, run_task
from jina_clip_integrations.evaluation.benchmarks.suites import keep_languages, suite_tasks
from jina_clip_integrations.evaluation.metrics import Values, measure
from jina_clip_integrations.evaluation.search import search_rows
from tests.fakes import BlockingBackend


@pytest.fixture(scope="module")
def cached_demo() -> Iterator[JinaClipEncoder]:
    with JinaClipEncoder("demo", backend="local", cache=MemoryCache()) as encoder:
        yield encoder


@pytest.mark.parametrize("dimensions", [None, 64], ids=["full", "64"])
def test_figures_of_mteb_are_ours(
    cached_demo: JinaClipEncoder, dimensions: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    some = gallery()[:300]
    monkeypatch.setattr("jina_clip_integrations.evaluation.benchmarks.gallery.gallery", lambda: some)
    encoder = JinaClipEncoder(
        backend=cached_demo.backend, cache=cached_demo.cache, dimensions=dimensions or cached_demo.dimensions
    )
    model = JinaClipMteb(encoder, name="demo/demo", query_task=None)
    names = encoder.encode_text([image.names["ja"] for image in some])
    images = encoder.encode_image([image.image() for image in some])
    with quiet_libraries():
        for task, queries, candidates in zip(
            keep_languages(suite_tasks(["gallery"]), ["ja"]), (names, images), (images, names), strict=True
        ):
            run_task(model, task, tmp_path)
            result = mteb.ResultCache(tmp_path).load_task_result(task.metadata.name, model.mteb_model_meta)
            assert result is not None
            [scores] = result.scores["test"]
            relevance = [{number: 1} for number in range(len(queries))]
            found = search_rows(queries, candidates, len(candidates), relevance)
            places = 1 + np.argmax(found.positions == np.arange(len(queries))[:, None], axis=1)
            check_scores(scores, places, measure(found, relevance))


def check_scores(scores: dict[str, float], found: NDArray[np.int64], values: Values) -> None:
    """With one right answer, all that mteb reports follows from its place. Most of it is kept with five digits."""
    ours = {"R@1": "hit_rate_at_1", "R@5": "hit_rate_at_5", "R@10": "hit_rate_at_10", "coverage@10": "recall_at_10",
            "nDCG@10": "ndcg_at_10", "MRR@10": "mrr_at_10"}  # fmt: skip
    for measure_name, theirs in ours.items():
        assert scores[theirs] == pytest.approx(values[measure_name].mean(), abs=5.001e-6), theirs
    expected = {"mrr_at_10": np.mean(np.where(found <= 10, 1 / found, 0))}
    for k in (1, 5, 10):
        expected[f"hit_rate_at_{k}"] = expected[f"recall_at_{k}"] = np.mean(found <= k)
        expected[f"ndcg_at_{k}"] = np.mean(np.where(found <= k, 1 / np.log2(1 + found), 0))
    assert scores["main_score"] == scores["ndcg_at_10"]
    assert scores["mrr_at_10"] == pytest.approx(expected["mrr_at_10"], abs=1e-6)
    for name, value in expected.items():
        assert scores[name] == pytest.approx(value, abs=5.001e-6), name


def test_mteb_reads_the_results_back(tmp_path: Path) -> None:
    encoder = JinaClipEncoder(backend=BlockingBackend())
    wide, narrow = JinaClipMteb(encoder), JinaClipMteb(JinaClipEncoder(backend=encoder.backend, dimensions=4))
    for model in (wide, narrow):
        run_task(model, MockRetrievalTask(), tmp_path)
    folder = tmp_path / "results" / "custom__fake" / "unversioned"
    assert (folder / "MockRetrievalTask.json").is_file()
    assert (folder / "model_meta.json").is_file()
    assert (folder / "experiments" / "embed_dim_4" / "MockRetrievalTask.json").is_file()
    cache = mteb.ResultCache(tmp_path)
    loaded = cache.load_results(load_experiments=LoadExperimentEnum.MATCH_NAME)
    assert {result.experiment_name for result in loaded.model_results} == {None, "embed_dim_4"}
    frame = cache.load_results(models=[wide.mteb_model_meta], tasks=["MockRetrievalTask"]).to_dataframe()
    [[score]] = frame[["custom/fake"]].to_numpy().tolist()
    assert 0 <= score <= 1


class Interrupted(BlockingBackend):
    """Raises once more than `limit` items were asked for."""

    limit = 10**9
    error: BaseException = KeyboardInterrupt()

    def stop(self, batch: Batch) -> None:
        if len(self.embedded) > self.limit:
            raise self.error

    def __init__(self) -> None:
        super().__init__()
        self.before = self.stop


def result_of(cache: mteb.ResultCache) -> TaskResult:
    """The one result in a folder."""
    [model] = cache.load_results().model_results
    [result] = model.task_results
    return result


def parts(cache: mteb.ResultCache) -> list[tuple[str, str]]:
    """Split and language of every part that is done, in the order in which mteb takes them."""
    return [(split, row["hf_subset"]) for split, rows in result_of(cache).scores.items() for row in rows if rows]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), BackendError("gone")], ids=["interrupt", "outage"])
def test_an_interrupted_run_goes_on_where_it_stopped(error: BaseException, tmp_path: Path) -> None:
    whole, backend = Interrupted(), Interrupted()
    run_task(JinaClipMteb(JinaClipEncoder(backend=whole)), MockMultilingualRetrievalTask(), tmp_path / "whole")
    every = parts(mteb.ResultCache(tmp_path / "whole"))
    per_part = len(whole.embedded) // len(every)
    backend.limit, backend.error = per_part, error
    model = JinaClipMteb(JinaClipEncoder(backend=backend))
    with pytest.raises(type(error)):
        run_task(model, MockMultilingualRetrievalTask(), tmp_path)
    cache = mteb.ResultCache(tmp_path)
    assert parts(cache) == every[:1]
    backend.batches.clear()
    backend.limit = 10**9
    run_task(model, MockMultilingualRetrievalTask(), tmp_path)
    assert len(backend.embedded) == per_part * (len(every) - 1)
    assert parts(cache) == every
    assert result_of(cache).get_score() == result_of(mteb.ResultCache(tmp_path / "whole")).get_score()
    # Once more: nothing is left to do, and no data is loaded for it.
    backend.batches.clear()
    task = MockMultilingualRetrievalTask()
    task.load_data = lambda **_: pytest.fail("loaded")
    run_task(model, task, tmp_path)
    assert backend.batches == []


def test_tasks_made_of_tasks_run_and_say_which_part_has_no_data(tmp_path: Path) -> None:
    model = JinaClipMteb(JinaClipEncoder(backend=BlockingBackend()))
    run_task(model, MockAggregatedTask(), tmp_path)
    parts = {path.stem for path in tmp_path.rglob("Mock*.json")}
    assert MockAggregatedTask().metadata.name in parts
    assert len(parts) > 1
    task = MockAggregatedTask()

    def unreachable(**_: object) -> None:
        raise ConnectionError("gone")

    task.metadata.tasks[-1].load_data = unreachable
    with pytest.raises(DataSetError, match=task.metadata.tasks[-1].metadata.name):
        run_task(model, task, tmp_path / "afresh")


def test_data_that_cannot_be_had_is_one_line(tmp_path: Path) -> None:
    task = MockRetrievalTask()

    def unreachable(**_: object) -> None:
        raise ConnectionError("no\nroute")

    task.load_data = unreachable
    with pytest.raises(
        DataSetError, match=r"MockRetrievalTask: its data set NA cannot be loaded \(ConnectionError: no r"
    ):
        run_task(JinaClipMteb(JinaClipEncoder(backend=BlockingBackend())), task, tmp_path)
