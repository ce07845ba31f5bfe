"""Results in mteb's format, of any models and from any folders, as one table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mteb
import numpy as np
from mteb.cache.result_cache import LoadExperimentEnum

from ...errors import InputError

if TYPE_CHECKING:
    from mteb.results import TaskResult

MAIN = "main"
"""Our name for the score that mteb calls a task's main one."""

CUTOFFS = (1, 5, 10)

HIT_RATES = ("hit_rate_at_{}", "cv_recall_at_{}")
"""The share of queries with any right answer among the first k, which is what CLIP's papers call recall: mteb's name
for it, and that of its earlier releases. Its `recall_at_k` is the share of all right answers."""


@dataclass(frozen=True)
class ModelResults:
    """What one model reached, in percent."""

    name: str
    revision: str
    experiment: str
    """What was changed for this run, such as `embed_dim_256`; the empty string if nothing."""
    folder: Path
    scores: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Task to score to value: `main`, and for retrieval `R@1`, `R@5`, `R@10`; the mean over splits and subsets."""
    subsets: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Task to subset (mostly a language) to main score."""


def read_results(folder: Path, tasks: Iterable[str] | None = None) -> list[ModelResults]:
    """Results in a folder of mteb's: its cache, a copy of its results repository, or a `results` folder.

    Args:
        folder: What was `--output-folder` of `mteb run`, `cache` of `mteb.evaluate` or `--results` of ours.
        tasks: Names of tasks; None takes all there are.

    Raises:
        InputError: there are no results.
    """
    root = folder.parent if folder.name == "results" and not (folder / "results").is_dir() else folder
    if not (root / "results").is_dir():
        raise InputError(f"{folder}: no results of mteb here, which keeps them in results/MODEL/REVISION/TASK.json")
    found = mteb.ResultCache(root).load_results(
        tasks=None if tasks is None else list(tasks),
        require_model_meta=False,
        include_remote=False,
        load_experiments=LoadExperimentEnum.MATCH_NAME,
    )
    return [
        ModelResults(
            name=result.model_name,
            revision=result.model_revision or "",
            experiment=result.experiment_name or "",
            folder=folder,
            scores={task.task_name: scores_of(task) for task in result.task_results},
            subsets={task.task_name: subsets_of(task) for task in result.task_results},
        )
        for result in found.model_results
    ]


def scores_of(result: TaskResult) -> dict[str, float]:
    """The main score of a task and, for retrieval, the recall of CLIP's papers, in percent."""
    rows = [row for split in result.scores.values() for row in split]
    found = {MAIN: _percent(row["main_score"] for row in rows)}
    for k in CUTOFFS:
        name = next((name.format(k) for name in HIT_RATES if all(name.format(k) in row for row in rows)), None)
        if name is not None:
            found[f"R@{k}"] = _percent(row[name] for row in rows)
    return found


def subsets_of(result: TaskResult) -> dict[str, float]:
    """The main score of every subset in percent, the mean over splits."""
    values: dict[str, list[float]] = {}
    for split in result.scores.values():
        for row in split:
            values.setdefault(row["hf_subset"], []).append(row["main_score"])
    return {subset: _percent(scores) for subset, scores in values.items()}


def labels(models: Sequence[ModelResults]) -> list[str]:
    """A column's title for every model: its name, and as much more as it takes to tell it from the others."""
    parts = [[model.name, model.experiment, model.revision, str(model.folder)] for model in models]
    titles = [f"{name} {experiment}".strip() for name, experiment, *_ in parts]
    for extra in (2, 3):
        doubled = {title for title in titles if titles.count(title) > 1}
        titles = [
            f"{title} {part[extra]}" if title in doubled else title for title, part in zip(titles, parts, strict=True)
        ]
    return titles


def table(models: Sequence[ModelResults], tasks: Sequence[str], image_tasks: Iterable[str]) -> list[list[str]]:
    """Rows of task, score and one value per model; the mean of the main scores where every model has every task.

    `image_tasks` get rows for R@1, R@5 and R@10 besides.
    """
    with_recall = set(image_tasks)
    rows = [
        [task, score, *(_show(model.scores.get(task, {}).get(score)) for model in models)]
        for task in tasks
        for score in (MAIN, *(f"R@{k}" for k in CUTOFFS if task in with_recall))
    ]
    if len(tasks) > 1 and all(task in model.scores for task in tasks for model in models):
        means = [np.mean([model.scores[task][MAIN] for task in tasks]) for model in models]
        rows.append(["mean", MAIN, *(_show(float(mean)) for mean in means)])
    return rows


def as_json(models: Sequence[ModelResults], tasks: Sequence[str]) -> dict[str, Any]:
    """The same as a document: task to model to scores."""
    titles = labels(models)
    return {
        task: {
            title: {**model.scores[task], "subsets": dict(model.subsets[task])}
            for title, model in zip(titles, models, strict=True)
            if task in model.scores
        }
        for task in tasks
    }


def _percent(scores: Iterable[float]) -> float:
    """The mean in percent, with the digits that mteb keeps."""
    return round(100 * float(np.mean(list(scores))), 4)


def _show(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
