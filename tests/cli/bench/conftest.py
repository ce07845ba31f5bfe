"""Engines that the benchmark's tests share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from jina_clip_integrations.backends.local.devices import DeviceChoice
from jina_clip_integrations.backends.local.engine import Engine
from jina_clip_integrations.cli.bench.model import BenchmarkModel

LoadEngine = Callable[[BenchmarkModel, DeviceChoice], Engine]


@pytest.fixture(scope="session")
def load_engine() -> LoadEngine:
    """`BenchmarkModel.engine`, except that the weights of a folder are read once per precision."""
    load = BenchmarkModel.engine
    engines: dict[tuple[Path, str], Engine] = {}

    def load_once(model: BenchmarkModel, choice: DeviceChoice) -> Engine:
        if model.folder is None:
            return load(model, choice)
        key = (model.folder, choice.dtype)
        if key not in engines:
            engines[key] = load(model, choice)
        return engines[key]

    return load_once
