"""Runs tasks of mteb one after the other and keeps what is done: results in mteb's own folders, to go on from."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mteb
from datasets import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars
from mteb.abstasks.aggregated_task import AbsTaskAggregate

from ...errors import JinaClipError
from .model import JinaClipMteb

if TYPE_CHECKING:
    from mteb.abstasks.abstask import AbsTask


class DataSetError(JinaClipError):
    """The data of a task cannot be had; other tasks are not concerned."""


def run_task(model: JinaClipMteb, task: AbsTask, folder: Path) -> None:
    """Evaluate one task, and write its results to `folder`, in mteb's layout, after every subset.

    What is in the folder for this model, revision and width is not computed again.

    Raises:
        DataSetError: the data set cannot be loaded.
        BackendError, InputError: from the encoder.
    """
    explain_missing_data(task)
    mteb.evaluate(
        model,
        task,
        cache=mteb.ResultCache(folder),
        co2_tracker=False,
        encode_kwargs={"show_progress_bar": False},
        show_progress_bar=False,
    )


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """No bars of the data sets library, since ours count what takes long, and no log of the Hub client's attempts."""
    hub = logging.getLogger("huggingface_hub")
    level, shown = hub.level, not are_progress_bars_disabled()
    hub.setLevel(logging.ERROR)
    disable_progress_bars()
    try:
        yield
    finally:
        hub.setLevel(level)
        if shown:
            enable_progress_bars()


def explain_missing_data(task: AbsTask) -> None:
    """Have the task raise `DataSetError` for whatever keeps its data from being loaded."""
    if isinstance(task, AbsTaskAggregate):
        for part in task.metadata.tasks:
            explain_missing_data(part)
        return
    load = task.load_data

    def load_data(*args: Any, **kwargs: Any) -> None:
        try:
            load(*args, **kwargs)
        except Exception as error:  # the Hub client, datasets and the tasks' own code raise many kinds
            raise DataSetError(
                f"{task.metadata.name}: its data set {task.metadata.dataset['path']} cannot be loaded "
                f"({type(error).__name__}: {' '.join(str(error).split())[:160]}); it comes from the Hugging Face Hub: "
                "run this once where that can be reached, or point HF_HOME at a folder that has it"
            ) from error

    # Of this object only: mteb decides when the data is needed, and loads nothing for what is done already.
    task.load_data = load_data
