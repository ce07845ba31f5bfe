"""`jina-clip evaluate --mteb` and `--suite`: public benchmarks through mteb, beside other models' results."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..cache import MemoryCache, open_cache
from ..encoder import JinaClipEncoder
from ..errors import InputError
from ..evaluation.benchmarks.suites import SUITES, keep_languages, named_tasks, require_mteb, suite_tasks
from ..settings import DEFAULT_MODEL
from .messages import FAILED, OK
from .options import DEMO_MODEL, open_encoder, open_output, rendering_options
from .output import Output

if TYPE_CHECKING:
    from mteb.abstasks.abstask import AbsTask

    from ..evaluation.benchmarks.model import JinaClipMteb

RESULTS = "mteb-results"
"""Default folder of the results."""

OTHER_DATA = ("pairs", "queries", "qrels", "split", "output", "plot", "against")
"""Options of `evaluate` that have no meaning here."""


def add_mteb_options(parser: argparse.ArgumentParser) -> None:
    """Options of public benchmarks."""
    group = parser.add_argument_group("public benchmarks (mteb)")
    group.add_argument(
        "--mteb",
        nargs="*",
        metavar="TASK",
        help="tasks or benchmarks by mteb's names, or MODULE:CLASS of your own; without any, only show results",
    )
    group.add_argument(
        "--suite",
        nargs="+",
        choices=SUITES,
        metavar="NAME",
        help=f"benchmarks of the announcements: {', '.join(SUITES)}",
    )
    group.add_argument(
        "--results",
        metavar="FOLDER",
        default=RESULTS,
        help="results in mteb's format; done ones are kept (default: %(default)s)",
    )
    group.add_argument(
        "--beside", nargs="+", metavar="FOLDER", default=[], help="show results of other models, from folders of mteb's"
    )
    group.add_argument(
        "--no-query-instruction", action="store_true", help="queries as they are, without the model's instruction (v2)"
    )


def wants_mteb(args: argparse.Namespace) -> bool:
    """Whether public benchmarks were asked for."""
    return args.mteb is not None or bool(args.suite)


def run_mteb(args: argparse.Namespace) -> int:
    """Run the tasks that are not done yet, then show all results."""
    require_mteb()
    refuse_other_data(args)
    out = open_output(args)
    tasks = choose_tasks(args)
    # Before anything is computed, a mistyped folder is one clear line.
    for folder in args.beside:
        if not Path(folder).is_dir():
            raise InputError(f"--beside {folder}: there is no such folder")
    failed = run_tasks(args, tasks, out) if tasks else {}
    report(args, tasks, failed, out)
    return FAILED if failed else OK


def refuse_other_data(args: argparse.Namespace) -> None:
    """Raise `InputError` for options that would have no effect: they are about data of one's own, and their report."""
    for name in OTHER_DATA:
        if getattr(args, name, None):
            word = "PAIRS" if name == "pairs" else f"--{name}"
            raise InputError(
                f"{word} is for data of your own, which --mteb and --suite do not use; leave one of them out"
            )


def choose_tasks(args: argparse.Namespace) -> list[AbsTask]:
    """The tasks that were asked for, each once. Raises `InputError`."""
    found = [*suite_tasks(args.suite or ()), *named_tasks(args.mteb or ())]
    tasks = list({task.metadata.name: task for task in found}.values())
    languages = [part.strip() for part in (args.languages or "").split(",") if part.strip()]
    return keep_languages(tasks, languages) if languages and tasks else tasks


def run_tasks(args: argparse.Namespace, tasks: Sequence[AbsTask], out: Output) -> dict[str, str]:
    """Evaluate the tasks; the result is why some could not be. What is done is kept, whatever happens."""
    from ..evaluation.benchmarks.model import JinaClipMteb
    from ..evaluation.benchmarks.run import quiet_libraries

    for lacks in sorted({SUITES[name].lacks for name in args.suite or () if SUITES[name].lacks}):
        out.note(f"mteb has {lacks}")
    if args.model is None:
        args.model = (
            DEMO_MODEL if all(task.metadata.name.startswith("DemoGallery") for task in tasks) else DEFAULT_MODEL
        )
    # Several languages of a task share their images, and several widths everything: without a cache each image would
    # be computed once for every one of them.
    cache = open_cache(args.cache) or MemoryCache()
    with quiet_libraries(), open_encoder(args, cache=cache) as encoder:
        query_task = None if args.no_query_instruction else args.query_task or "auto"
        models = [
            JinaClipMteb(of_width, query_task=query_task, progress=out.progress)
            for of_width in encoders_of_widths(encoder, args)
        ]
        return run_each(models, tasks, Path(args.results), out)


def encoders_of_widths(encoder: JinaClipEncoder, args: argparse.Namespace) -> list[JinaClipEncoder]:
    """The encoder itself, or one for each width of `--at`, the widest first, with the same backend and cache."""
    if not args.at:
        return [encoder]
    for width in args.at:
        encoder.spec.check_dimensions(width)
    shared = {"backend": encoder.backend, "cache": encoder.cache, **rendering_options(args)}
    return [JinaClipEncoder(dimensions=width, **shared) for width in sorted(set(args.at), reverse=True)]


def run_each(models: Sequence[JinaClipMteb], tasks: Sequence[AbsTask], results: Path, out: Output) -> dict[str, str]:
    """Every task with every model; a task whose data cannot be had is left out and named in the result."""
    from ..evaluation.benchmarks.run import DataSetError, run_task

    failed: dict[str, str] = {}
    for number, task in enumerate(tasks, 1):
        out.note(f"{task.metadata.name} ({number} of {len(tasks)})")
        try:
            for model in models:
                run_task(model, task, results)
        except DataSetError as error:
            out.warn(str(error))
            failed[task.metadata.name] = str(error)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f"interrupted: finished tasks and languages are in {results}; the same command again goes on from there"
            ) from None
    return failed


def report(args: argparse.Namespace, tasks: Sequence[AbsTask], failed: dict[str, str], out: Output) -> None:
    """One table of all models: those in our folder, and those beside it."""
    from ..evaluation.benchmarks.results import as_json, labels, read_results, table

    names = [task.metadata.name for task in tasks] or None
    # Where nothing was computed, ours may have nothing yet; the others were named for what they have.
    ours = [Path(args.results)] if (Path(args.results) / "results").is_dir() else []
    folders = [*ours, *map(Path, args.beside)]
    models = [model for folder in folders for model in read_results(folder, names) if model.scores]
    if not models and not failed:
        where = " or ".join(map(str, folders)) or args.results
        raise InputError(f"no results in {where}; name tasks after --mteb")
    shown = [
        name for name in names or sorted({task for model in models for task in model.scores}) if name not in failed
    ]
    if shown:
        out.table(["task", "score", *labels(models)], table(models, shown, image_tasks(shown, tasks)))
    result: dict[str, Any] = {"results": args.results, "tasks": as_json(models, shown), "failed": failed}
    out.result(result)


def image_tasks(names: Sequence[str], tasks: Sequence[AbsTask]) -> list[str]:
    """Which of the tasks are retrieval between texts and images, whose papers speak of recall."""
    known = {task.metadata.name: task for task in tasks}
    found = []
    for name in names:
        try:
            task = known.get(name) or named_tasks([name])[0]
        except InputError:  # a task of somebody's own
            continue
        if "Any2Any" in task.metadata.type:
            found.append(name)
    return found
