"""Scripts of `benchmarks/` run as a user runs them, on the demo model instead of one of full size."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from jina_clip_integrations.demo import demo_model_path

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def small_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the demo model, which a script may add files to."""
    return Path(shutil.copytree(demo_model_path(), tmp_path_factory.mktemp("benchmarks") / "model"))


@pytest.fixture(scope="session")
def run_script() -> Run:
    """Runs `benchmarks/<name>.py` with these arguments."""

    def run(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(BENCHMARKS / f"{name}.py"), *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)

    return run


def cells(printed: str) -> list[dict[str, str]]:
    """The rows of all tables of a report, each by the names of its columns."""
    rows: list[dict[str, str]] = []
    names: list[str] | None = None
    for line in printed.splitlines():
        values = [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else None
        if values is None or names is None:
            names = values
        elif not set("".join(values)) <= set("-:"):
            rows.append(dict(zip(names, values, strict=True)))
    return rows
