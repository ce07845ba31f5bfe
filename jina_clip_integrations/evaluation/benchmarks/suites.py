"""The benchmarks of the announcements under the names of mteb's tasks, and tasks by any of their names.

mteb is imported when tasks are asked for: it takes seconds.
"""

from __future__ import annotations

import difflib
import importlib
import platform
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import metadata
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ...errors import InputError, require_extra

if TYPE_CHECKING:
    from mteb.abstasks.abstask import AbsTask

OLDEST_PYTHON = (3, 11)
"""What mteb asks for; this package is content with 3.10."""


@dataclass(frozen=True, kw_only=True)
class Suite:
    """What one benchmark of the announcements is in mteb."""

    summary: str
    """For the list of suites."""
    tasks: tuple[str, ...] = ()
    """Names of tasks."""
    benchmark: str | None = None
    """A benchmark whose tasks belong to it."""
    types: tuple[str, ...] = ()
    """Only tasks of these types: of the benchmark, or of all tasks if there is none."""
    lacks: str = ""
    """What of the announcements mteb does not have."""


SUITES = MappingProxyType(
    {
        "flickr30k": Suite(
            summary="Flickr30k, English, both directions", tasks=("Flickr30kT2IRetrieval", "Flickr30kI2TRetrieval")
        ),
        "coco": Suite(summary="MS COCO, English, both directions", tasks=("MSCOCOT2IRetrieval", "MSCOCOI2TRetrieval")),
        "xm3600": Suite(
            summary="Crossmodal-3600, 36 languages, both directions", tasks=("XM3600T2IRetrieval", "XM3600I2TRetrieval")
        ),
        "xtd10": Suite(
            summary="XTD10: mteb does not have it",
            lacks="no task of XTD10; `jina-clip evaluate PAIRS` measures a copy of your own, and --suite xflickr30kco "
            "is the nearest of mteb's (8 languages)",
        ),
        "xflickr30kco": Suite(
            summary="XFlickr&CO, 8 languages, both directions",
            tasks=("XFlickr30kCoT2IRetrieval", "XFlickr30kCoI2TRetrieval"),
        ),
        "mteb-en": Suite(
            summary="MTEB(eng, v1): the retrieval and STS tasks, as announced",
            benchmark="MTEB(eng, v1)",
            types=("Retrieval", "STS"),
        ),
        "mteb-en-retrieval": Suite(
            summary="MTEB(eng, v1): the retrieval tasks", benchmark="MTEB(eng, v1)", types=("Retrieval",)
        ),
        "mteb-en-sts": Suite(summary="MTEB(eng, v1): the STS tasks", benchmark="MTEB(eng, v1)", types=("STS",)),
        "mteb-en-v2": Suite(summary="MTEB(eng, v2): all tasks", benchmark="MTEB(eng, v2)"),
        "mteb-multilingual": Suite(
            summary="MTEB(Multilingual, v2): the retrieval and STS tasks",
            benchmark="MTEB(Multilingual, v2)",
            types=("Retrieval", "STS"),
        ),
        "vidore": Suite(summary="ViDoRe(v1): documents as images", benchmark="ViDoRe(v1)"),
        "cifar100": Suite(summary="CIFAR-100, zero-shot", tasks=("CIFAR100ZeroShot",)),
        "imagenet": Suite(summary="ImageNet-1k, zero-shot", tasks=("Imagenet1kZeroShot",)),
        "voc2007": Suite(
            summary="VOC2007, a classifier trained on the vectors",
            tasks=("VOC2007",),
            lacks="no zero-shot task of VOC2007; this one trains a multilabel classifier on the vectors",
        ),
        "zero-shot": Suite(
            summary="all zero-shot image classification tasks of mteb",
            types=("ZeroShotClassification",),
            lacks="only some of the 37 data sets that CLIP papers classify",
        ),
        "mieb-lite": Suite(summary="MIEB(lite): images, 51 tasks", benchmark="MIEB(lite)"),
        "mieb-en": Suite(summary="MIEB(eng): images, 125 tasks", benchmark="MIEB(eng)"),
        "mieb-multilingual": Suite(summary="MIEB(Multilingual): images, 130 tasks", benchmark="MIEB(Multilingual)"),
        "gallery": Suite(
            summary="the demo gallery, offline, 20 languages, both directions",
            tasks=("DemoGalleryT2IRetrieval", "DemoGalleryI2TRetrieval"),
        ),
    }
)
"""Names for `--suite`."""

BASELINES = MappingProxyType(
    {
        "OpenAI CLIP ViT-B/16": "openai/clip-vit-base-patch16",
        "EVA02-CLIP-B/16": "QuanSun/EVA02-CLIP-B-16",
        "jina-embeddings-v2-base-en": "jinaai/jina-embeddings-v2-base-en",
        "jina-embeddings-v3": "jinaai/jina-embeddings-v3",
        "jina-clip-v1, its remote code": "jinaai/jina-clip-v1",
        "jina-clip-v2, its remote code": "jinaai/jina-clip-v2",
        "NLLB-CLIP-SigLIP": None,
    }
)
"""Models that the announcements compare with, under their names in mteb's registry; None where it has none."""


def suite_tasks(names: Iterable[str]) -> list[AbsTask]:
    """The tasks of suites. Raises `InputError` for one that mteb does not have."""
    found: list[AbsTask] = []
    for name in names:
        suite = SUITES[name]
        tasks = _suite_tasks(suite)
        if not tasks:
            raise InputError(f"--suite {name}: mteb {metadata.version('mteb')} has {suite.lacks}")
        found += tasks
    return _unique(found)


def named_tasks(names: Iterable[str]) -> list[AbsTask]:
    """Tasks by name: a task or a benchmark of mteb, or `MODULE:CLASS` of a task of one's own. Raises `InputError`."""
    return _unique(task for name in names for task in _named(name))


def keep_languages(tasks: Iterable[AbsTask], languages: Sequence[str]) -> list[AbsTask]:
    """The tasks with only their subsets in these languages, `de` or `deu`; tasks without any are left out.

    Raises `InputError` where nothing is left.
    """
    from .meta import LANGUAGES

    wanted = [LANGUAGES.get(language, language).split("-")[0] for language in languages]
    kept = [task.filter_languages(languages=wanted) for task in tasks if speaks(task, wanted)]
    if not kept:
        raise InputError(f"--languages: none of the tasks is in {', '.join(languages)}")
    return kept


def speaks(task: AbsTask, languages: Iterable[str]) -> bool:
    """Whether a task has a subset in one of these languages (ISO 639-3)."""
    spoken = {code.split("-")[0] for codes in task.metadata.hf_subsets_to_langscripts.values() for code in codes}
    return not spoken.isdisjoint(languages)


def _suite_tasks(suite: Suite) -> list[AbsTask]:
    import mteb

    if suite.tasks:
        return named_tasks(suite.tasks)
    if suite.benchmark is not None:
        tasks: list[AbsTask] = list(mteb.get_benchmark(suite.benchmark).tasks)
        return [task for task in tasks if not suite.types or task.metadata.type in suite.types]
    return list(mteb.get_tasks(task_types=list(suite.types))) if suite.types else []


def _named(name: str) -> list[AbsTask]:
    import mteb

    from .gallery import GALLERY_TASKS

    if name in GALLERY_TASKS:
        return [GALLERY_TASKS[name]()]
    if ":" in name:
        return [_own_task(name)]
    benchmarks = [benchmark.name for benchmark in mteb.get_benchmarks()]
    if name in benchmarks:
        return list(mteb.get_benchmark(name).tasks)
    try:
        return [mteb.get_task(name)]
    except KeyError:
        known = [
            *benchmarks,
            *GALLERY_TASKS,
            *(task.metadata.name for task in mteb.get_tasks(exclude_superseded=False)),
        ]
        close = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
        hint = f"; did you mean {' or '.join(close)}?" if close else ""
        version = metadata.version("mteb")
        raise InputError(f"--mteb {name!r}: mteb {version} has no task or benchmark of that name{hint}") from None


def _own_task(path: str) -> AbsTask:
    """The task that `MODULE:CLASS` names. This runs code that the user named, as `python -m` does."""
    from mteb.abstasks.abstask import AbsTask

    module_name, _, class_name = path.partition(":")
    try:
        kind: Any = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError) as error:
        raise InputError(f"--mteb {path}: {error}") from error
    if not (isinstance(kind, type) and issubclass(kind, AbsTask)):
        raise InputError(f"--mteb {path}: that is no task of mteb, which is a class derived from AbsTask")
    return kind()


def _unique(tasks: Iterable[AbsTask]) -> list[AbsTask]:
    """Every task once, by name: a suite and a benchmark may share some."""
    return list({task.metadata.name: task for task in tasks}.values())


def require_mteb() -> None:
    """Raise `ImportError` with the line that installs mteb where it is missing, or says that this Python is too old."""
    if sys.version_info < OLDEST_PYTHON:
        asked = ".".join(map(str, OLDEST_PYTHON))
        raise ImportError(f"mteb needs Python {asked} or newer, and this is {platform.python_version()}")
    require_extra("mteb", extra="evaluate", purpose="jina-clip evaluate --mteb")
