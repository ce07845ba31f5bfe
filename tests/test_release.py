"""What is published: the same bytes from the same tree, a list of its parts, and a question for known faults."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import tarfile
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from jina_clip_integrations import __version__

ROOT = Path(__file__).parents[1]


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    """Two builds: of this tree, and of a copy elsewhere with other times, modes and another order of its files."""
    build = load("build").build
    folder = tmp_path_factory.mktemp("release")
    copy = folder / "some" / "other" / "place"
    copy.mkdir(parents=True)
    names = sorted([*ROOT.glob("*"), ROOT / ".gitignore"], reverse=True)
    for path in names:
        if path.name in ("jina_clip_integrations", "docs"):
            shutil.copytree(path, copy / path.name, ignore=shutil.ignore_patterns("__pycache__"))
        elif path.is_file():
            shutil.copy(path, copy / path.name)
    for file in sorted(copy.rglob("*"), reverse=True):
        os.utime(file, (10**9, 10**9))
        if file.is_file():
            file.chmod(0o600)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOURCE_DATE_EPOCH", "1700000000")
        return {"here": build(ROOT, folder / "one"), "elsewhere": build(copy, folder / "two")}


def test_two_builds_are_byte_identical(built: dict[str, list[Path]]) -> None:
    digests = [{file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files} for files in built.values()]
    assert len(digests[0]) == 3
    assert digests[0] == digests[1]


def test_the_archives_hold_the_package_and_nothing_else(built: dict[str, list[Path]]) -> None:
    wheel, archive, _ = built["here"]
    names = zipfile.ZipFile(wheel).namelist()
    assert f"jina_clip_integrations-{__version__}.dist-info/METADATA" in names
    assert {name.split("/")[0].split("-")[0] for name in names} == {"jina_clip_integrations"}
    assert not [name for name in names if name.endswith((".pyc", ".log")) or "/tests/" in name]
    with tarfile.open(archive) as opened:
        folders = {"/".join(name.split("/")[:2]) for name in opened.getnames()}
    root = f"jina_clip_integrations-{__version__}"
    kept = {
        "jina_clip_integrations",
        "README.md",
        "CHANGELOG.md",
        "LICENSE",
        "PKG-INFO",
        "pyproject.toml",
        ".gitignore",
    }
    assert folders == {f"{root}/{name}" for name in kept}


def test_the_list_of_parts(built: dict[str, list[Path]]) -> None:
    """Every declared dependency, in a CycloneDX document without times and random numbers."""
    document = json.loads(built["here"][2].read_text("utf-8"))
    assert document["bomFormat"] == "CycloneDX"
    assert document["metadata"]["component"]["name"] == "jina-clip-integrations"
    assert document["metadata"]["component"]["type"] == "library"
    names = {component["name"].lower() for component in document["components"]}
    assert {"numpy", "pillow", "httpx", "torch", "qdrant-client", "fastapi"} <= names
    assert "pytest" not in names
    assert "serialNumber" not in document


def answer(*packages: dict[str, Any]) -> str:
    return json.dumps({"dependencies": [{"version": "1.0", "vulns": [], **package} for package in packages]})


FOUND = {"id": "PYSEC-1", "fix_versions": ["1.1"], "description": "bad"}


@pytest.mark.parametrize(
    ("output", "errors", "said", "is_finding"),
    [
        ("", "ERROR:pip_audit:Connection refused\n", "could not be asked (ERROR:pip_audit:Connection refused)", False),
        ("", "", "could not be asked", False),
        ("<html>", "", "could not be asked", False),
        (answer({"name": "a", "skip_reason": "Dependency could not be audited: a"}), "", "could not be asked", False),
        (answer({"name": "a"}), "", "0 findings in 1 of 1", False),
        (answer({"name": "a", "vulns": [FOUND]}, {"name": "b"}), "", "a 1.0: PYSEC-1, fixed in 1.1", True),
    ],
    ids=["refused", "silent", "no JSON", "a mirror without advisories", "clean", "a finding"],
)
def test_an_audit_that_cannot_ask_is_no_finding(output: str, errors: str, said: str, is_finding: bool) -> None:
    lines, found = load("audit").judge(output, errors)
    assert said in "\n".join(lines)
    assert found is is_finding
