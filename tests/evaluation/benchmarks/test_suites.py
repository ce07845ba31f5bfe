"""The announcements' benchmarks against mteb's registry: what it has, under which name, and what it lacks."""

from __future__ import annotations

import mteb
import pytest
from mteb.models.model_implementations import MODEL_REGISTRY

from jina_clip_integrations.errors import InputError
from jina_clip_integrations.evaluation.benchmarks.suites import (
    BASELINES,
    SUITES,
    keep_languages,
    named_tasks,
    suite_tasks,
)

MOCK = "mteb.mocks.mock_tasks:MockMultilingualRetrievalTask"


@pytest.mark.parametrize("name", [name for name in SUITES if name != "xtd10"])
def test_every_suite_has_its_tasks(name: str) -> None:
    suite, tasks = SUITES[name], suite_tasks([name])
    assert tasks
    names = [task.metadata.name for task in tasks]
    assert len(set(names)) == len(names)
    if suite.tasks:
        assert names == list(suite.tasks)
    if suite.types:
        assert {task.metadata.type for task in tasks} == set(suite.types)
    both = {"text", "image"}
    if name in ("flickr30k", "coco", "xm3600", "xflickr30kco", "gallery"):
        assert all(set(task.metadata.modalities) == both for task in tasks)
        assert {task.metadata.category for task in tasks} == {"t2i", "i2t"}


@pytest.mark.parametrize(
    ("name", "languages"), [("flickr30k", 1), ("coco", 1), ("xm3600", 36), ("xflickr30kco", 8), ("gallery", 20)]
)
def test_suites_have_the_announced_languages(name: str, languages: int) -> None:
    assert [len(task.hf_subsets) for task in suite_tasks([name])] == [languages] * 2


def test_the_text_suites_are_those_of_the_announcements() -> None:
    assert len(suite_tasks(["mteb-en-retrieval"])) == 15
    assert len(suite_tasks(["mteb-en-sts"])) == 10
    assert len(suite_tasks(["mteb-en"])) == 25
    assert len(suite_tasks(["zero-shot"])) == 24


def test_what_mteb_lacks_is_said() -> None:
    every = [task.metadata.name.lower() for task in mteb.get_tasks(exclude_superseded=False)]
    assert [name for name in every if "xtd" in name] == []
    with pytest.raises(InputError, match="has no task of XTD10"):
        suite_tasks(["xtd10"])
    assert [name for name in every if "voc2007" in name and "zeroshot" in name] == []


def test_baselines_are_models_of_the_registry() -> None:
    assert [name for name in BASELINES.values() if name is not None and name not in MODEL_REGISTRY] == []
    assert BASELINES["NLLB-CLIP-SigLIP"] is None
    assert [name for name in MODEL_REGISTRY if "nllb" in name.lower()] == []


def test_tasks_have_any_of_their_names() -> None:
    tasks = named_tasks(["STS12", "NanoBEIR", MOCK, "STS12", "DemoGalleryT2IRetrieval"])
    names = [task.metadata.name for task in tasks]
    assert names[0] == "STS12"
    assert names[-2:] == ["MockMultilingualRetrievalTask", "DemoGalleryT2IRetrieval"]
    assert len(names) == 3 + len(mteb.get_benchmark("NanoBEIR").tasks)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Flickr30kT2I", "did you mean Flickr30kT2IRetrieval"),
        ("MTEB(eng, v0)", r"did you mean MTEB\(eng, v[12]\)"),
        ("zzzz", "no task or benchmark of that name$"),
        ("nowhere:Task", "No module named 'nowhere'"),
        ("mteb:NoTask", "NoTask"),
        ("pathlib:Path", "is no task of mteb"),
    ],
)
def test_unknown_names_are_one_line(name: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as raised:
        named_tasks([name])
    assert "\n" not in str(raised.value)


def test_languages_narrow_the_tasks() -> None:
    [image, text] = [suite_tasks(["gallery"])[0], named_tasks(["STS12"])[0]]
    assert [task.hf_subsets for task in keep_languages([image], ["de", "jpn"])] == [["de", "ja"]]
    tasks = keep_languages([suite_tasks(["gallery"])[0], text], ["de"])
    assert [task.metadata.name for task in tasks] == ["DemoGalleryT2IRetrieval"]  # STS12 is English
    with pytest.raises(InputError, match="none of the tasks is in th"):
        keep_languages(suite_tasks(["gallery"]), ["th"])
    with pytest.raises(InputError, match="none of the tasks is in klingon"):
        keep_languages(suite_tasks(["gallery"]), ["klingon"])
