"""What mteb is told about a model: facts of the catalogue, the revision of the weights, what changes the scores."""

from __future__ import annotations

import shutil
from pathlib import Path

import mteb
import pytest

from jina_clip_integrations import JinaClipEncoder
from jina_clip_integrations.backends.local.backend import LocalBackend
from jina_clip_integrations.catalog import JINA_CLIP_V1, JINA_CLIP_V2, ModelSpec
from jina_clip_integrations.evaluation.benchmarks.meta import LANGUAGES, UNVERSIONED, model_meta, model_name
from jina_clip_integrations.evaluation.benchmarks.model import JinaClipMteb
from tests.fakes import BlockingBackend

GOLDEN = Path(__file__).parents[2] / "golden"


@pytest.mark.parametrize("spec", [JINA_CLIP_V1, JINA_CLIP_V2], ids=lambda spec: spec.name)
def test_published_models_are_described_as_mteb_knows_them(spec: ModelSpec) -> None:
    with JinaClipEncoder(spec.name, api_key="k") as encoder:
        meta = model_meta(encoder, query_task=encoder.query_task)
    theirs = mteb.get_model_meta(str(spec.hub_id))
    assert (meta.name, meta.license) == (theirs.name, theirs.license)
    assert (meta.embed_dim, meta.max_tokens) == (theirs.embed_dim, theirs.max_tokens)
    assert meta.n_parameters == theirs.n_parameters
    assert meta.training_datasets == theirs.training_datasets
    assert meta.citation == theirs.citation
    assert meta.modalities == ["text", "image"]
    # What is not theirs: nothing that loads code from the Hub, and what a service runs nobody knows.
    assert (meta.loader, meta.extra_requirements_groups, meta.revision) == (None, None, UNVERSIONED)
    assert meta.framework == ["API"]
    assert meta.use_instructions is bool(spec.tasks)
    assert len(meta.languages or []) == (30 if spec.tasks else 1)
    assert meta.experiment_kwargs is None


def test_languages_are_codes_that_mteb_knows() -> None:
    mteb.get_tasks(languages=[code.split("-")[0] for code in LANGUAGES.values()])  # raises for an unknown one
    assert JinaClipMteb("demo", backend="local").mteb_model_meta.languages == sorted(
        set(LANGUAGES.values())
        - {LANGUAGES[code] for code in ("bn", "da", "el", "fi", "ka", "lv", "no", "ro", "sk", "th", "ur")}
    )


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("jina-clip-v2", "jinaai/jina-clip-v2"),
        ("jinaai/jina-clip-v1", "jinaai/jina-clip-v1"),
        ("demo", "jina-clip-integrations/demo"),
        (str(GOLDEN / "v1"), "local/v1"),
        ("somebody/else", "somebody/else"),
        ("mine", "custom/mine"),
    ],
)
def test_names_have_an_organisation(model: str, name: str) -> None:
    assert model_name(model) == name


def test_the_revision_of_a_folder_follows_from_its_content(tmp_path: Path) -> None:
    copied = shutil.copytree(GOLDEN / "v1", tmp_path / "copied")
    changed = shutil.copytree(GOLDEN / "v1", tmp_path / "changed")
    (changed / "config.json").write_text((changed / "config.json").read_text() + "\n")
    first, second, third = (
        JinaClipMteb(str(folder), backend="local").mteb_model_meta for folder in (GOLDEN / "v1", copied, changed)
    )
    assert first.revision == second.revision != third.revision
    assert str(first.revision).startswith("sha256-")
    assert (second.name, first.license, first.languages) == ("local/copied", None, None)


def test_the_revision_of_hub_files_is_the_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = shutil.copytree(GOLDEN / "v2", tmp_path / "models--jinaai--jina-clip-v2" / "snapshots" / "abc123")
    monkeypatch.setattr(LocalBackend, "folder", snapshot)
    with JinaClipEncoder("jina-clip-v2", backend="local") as encoder:
        meta = model_meta(encoder)
    assert (meta.name, meta.revision) == ("jinaai/jina-clip-v2", "abc123")
    assert "PyTorch" in meta.framework


@pytest.mark.parametrize(
    ("options", "changed"),
    [
        ({}, None),
        ({"dimensions": 64}, {"embed_dim": 64}),
        ({"dtype": "float32", "max_length": 77}, {"dtype": "float32", "max_length": 77}),
        ({"image_size": 48}, {"image_size": 48}),
        ({"exif_orientation": False}, {"rendering": "stored"}),
        ({"background": "white", "high_bit_depth": "scale"}, {"rendering": "upright-ffffff-scale"}),
        ({"batch_size": 3, "num_workers": 1}, None),
    ],
    ids=str,
)
def test_what_changes_the_scores_gets_a_folder_of_its_own(options: dict[str, object], changed: object) -> None:
    assert JinaClipMteb("demo", backend="local", **options).mteb_model_meta.experiment_kwargs == changed


def test_no_instruction_is_a_change_where_the_model_has_one() -> None:
    encoder = JinaClipEncoder(backend=BlockingBackend())
    assert JinaClipMteb(encoder).mteb_model_meta.use_instructions is True
    without = JinaClipMteb(encoder, query_task=None).mteb_model_meta
    assert (without.use_instructions, without.experiment_kwargs) == (False, {"query_task": "none"})


def test_name_and_revision_can_be_given() -> None:
    meta = JinaClipMteb("demo", "r1", backend="local", name="me/mine").mteb_model_meta
    assert (meta.name, meta.revision) == ("me/mine", "r1")
