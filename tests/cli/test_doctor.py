"""`jina-clip doctor`: what is there, what is missing, and that no key shows."""

from __future__ import annotations

import importlib.util
import re
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from jina_clip_integrations.cli import doctor
from tests.command_line import word_ids

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"
KEY = "jina_0123456789abcdef"


def test_people_read_what_would_be_used(run: Any) -> None:
    ran = run("doctor")
    assert ran.code == 0, ran.err
    for part in ("Python", "numpy", "Extras", "torch", "Local", "API key", "Model"):
        assert part in ran.out


def test_machines_read_the_same(run: Any) -> None:
    report = run("doctor", "--json").json
    assert report["extras"]["local"]["versions"]["torch"] == metadata.version("torch")
    assert set(report["device"]) >= {"device", "dtype", "reason"}
    assert report["model"]["name"] == "jina-clip-v2"


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("jina-clip-v1", "Apache-2.0: commercial use is allowed"),
        ("jina-clip-v2", "CC-BY-NC-4.0: the weights are not for commercial use without an agreement"),
        ("jinaai/jina-clip-v2", "not for commercial use"),
        ("demo", "Apache-2.0"),
        ("some/other", "not known"),
    ],
)
def test_the_licence_of_the_weights_is_said(run: Any, model: str, said: str) -> None:
    assert said in run("doctor", "--model", model).out


@pytest.mark.parametrize("variable", ["JINA_API_KEY", "JINAAI_API_KEY", "JINA_AUTH_TOKEN"])
@pytest.mark.parametrize("json", [(), ("--json",)], ids=word_ids)
def test_a_key_is_noticed_and_never_shown(
    run: Any, monkeypatch: pytest.MonkeyPatch, variable: str, json: tuple[str, ...]
) -> None:
    monkeypatch.setenv(variable, KEY)
    ran = run("doctor", *json)
    assert variable in ran.out
    assert KEY not in ran.out + ran.err
    assert "0123456789" not in ran.out + ran.err


@pytest.mark.parametrize("around", ['"{}"', "Bearer {}", "\u200b'{}'\n"], ids=ascii)
def test_a_key_with_quotes_is_as_good(run: Any, monkeypatch: pytest.MonkeyPatch, around: str) -> None:
    monkeypatch.setenv("JINA_API_KEY", around.format(KEY))
    assert "found in JINA_API_KEY" in run("doctor").out


@pytest.mark.parametrize("around", ['"{}', "{}...", "{} {}"], ids=ascii)
def test_a_key_that_is_none_is_said_and_not_shown(run: Any, monkeypatch: pytest.MonkeyPatch, around: str) -> None:
    monkeypatch.setenv("JINA_API_KEY", around.format(KEY, KEY))
    ran = run("doctor")
    assert "JINA_API_KEY ho" in ran.out or "JINA_API_KEY has" in ran.out
    assert KEY not in ran.out + ran.err


@pytest.mark.parametrize("value", ["", "  ", "****"])
def test_an_empty_key_is_none(run: Any, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("JINA_API_KEY", value)
    assert run("doctor", "--json").json["api_key"]["present"] is False


def test_an_unusable_key_is_said_without_showing_it(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JINA_API_KEY", "two words")
    ran = run("doctor")
    assert "JINA_API_KEY holds a character" in ran.out
    assert "two words" not in ran.out


def test_a_missing_extra_names_its_line(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = doctor.find_version
    monkeypatch.setattr(doctor, "find_version", lambda name: None if name == "qdrant-client" else installed(name))
    ran = run("doctor")
    assert 'missing; pip install "jina-clip-integrations[qdrant]"' in ran.out


def test_without_torch_it_still_runs(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torch" else found(name))
    assert "torch is not installed" in run("doctor").out


def test_the_table_of_extras_is_the_one_of_the_package() -> None:
    section = PYPROJECT.read_text("utf-8").split("[project.optional-dependencies]")[1]
    declared = dict(re.findall(r"^([a-z-]+) = \[(.*)\]$", section, re.MULTILINE))
    for_people = re.findall(r"[a-z-]+", declared["all"].split("[")[1])
    assert set(for_people) - {"demo"} == set(doctor.EXTRAS) == set(doctor.EXTRA_PURPOSE)
    for extra, packages in doctor.EXTRAS.items():
        brought = set(re.findall(r'"([a-z0-9-]+)', declared[extra])) - {"jina-clip-integrations"}
        assert set(packages) == brought, extra


def test_the_dependencies_are_those_of_the_package() -> None:
    declared = PYPROJECT.read_text("utf-8").split("\ndependencies = [")[1].partition("]")[0]
    assert sorted(doctor.DEPENDENCIES) == sorted(re.findall(r'"([a-z0-9-]+)', declared))
