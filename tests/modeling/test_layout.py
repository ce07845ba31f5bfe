"""The published tensor lists, name for name and shape for shape."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from jina_clip_integrations.modeling import JinaClipConfig, JinaClipModel, expected_tensors
from jina_clip_integrations.modeling.layout import layout

GOLDEN = Path(__file__).parents[1] / "golden"
TOTALS = {"v1": (395, 222_647_041), "v2": (999, 865_278_477)}


def full_size_config(version: str) -> JinaClipConfig:
    return JinaClipConfig.from_pretrained(GOLDEN / f"config-{version}.json")


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_published_lists(version: str) -> None:
    listed = json.loads((GOLDEN / f"tensors-{version}.json").read_text(encoding="utf-8"))
    expected = {name: list(shape) for name, shape in expected_tensors(full_size_config(version)).items()}
    assert expected == listed
    assert (len(listed), sum(math.prod(shape) for shape in listed.values())) == TOTALS[version]


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_every_parameter_of_the_model_is_listed(version: str) -> None:
    config = full_size_config(version)
    with torch.device("meta"):
        model = JinaClipModel(config)
    parameters = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    assert {parameter.name: parameter.shape for parameter in layout(config)} == parameters
    count = sum(math.prod(shape) for shape in parameters.values())
    adapters = sum(math.prod(s) for name, s in expected_tensors(config).items() if ".lora_" in name)
    assert adapters == {"v1": 0, "v2": 2_581_068}[version]
    assert count + adapters == TOTALS[version][1]


def test_golden_files(golden: Any) -> None:
    with safe_open(golden.folder / "model.safetensors", framework="pt") as file:
        stored = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118  # no mapping
    derived = {name for name in stored if ".rope.freqs_" in name}
    assert len(derived) == (2 if golden.folder.name == "v1" else 0)
    config = JinaClipConfig.from_pretrained(golden.folder)
    assert expected_tensors(config) == {name: shape for name, shape in stored.items() if name not in derived}
