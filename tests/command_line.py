"""A small folder, a content-derived backend, and the command run in process."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from PIL import Image

from jina_clip_integrations.cli.main import main

HERE = Path(__file__).parent / "cli"


@dataclass
class Ran:
    """What a run of the command left."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Ran]


def word_ids(value: object) -> str | None:
    """Test ids for the words of a command line and for errors; None leaves other values to pytest."""
    if isinstance(value, (list, tuple)):
        return " ".join(map(str, value)) or "none"
    return type(value).__name__ if isinstance(value, BaseException) else None


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """`run("embed", "a text", …)` is the command line; usage errors give their code like everything else."""

    def run_command(*arguments: object) -> Ran:
        capsys.readouterr()
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as leaving:
            code = int(leaving.code or 0)
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return run_command


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def colours(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The colour backend that `BACKEND` names, one object for all runs of a test."""
    module: Any = _load("colour_backend")
    backend = module.ColourBackend()
    module.shared = lambda: backend
    monkeypatch.setitem(sys.modules, "colour_backend", module)
    return backend


Paint = Callable[..., Path]


@pytest.fixture
def paint() -> Paint:
    """`paint(path, "red")` saves an image of one colour."""
    rgb = _load("colour_backend").COLOURS

    def save(path: Path, colour: str, size: tuple[int, int] = (24, 24)) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, rgb[colour]).save(path)
        return path

    return save


@pytest.fixture
def folder(tmp_path: Path, paint: Paint) -> Path:
    """Three images, two texts with three passages, and two files of no use."""
    root = tmp_path / "mine"
    paint(root / "apple.png", "red")
    paint(root / "leaf.jpg", "green")
    paint(root / "trip" / "sea.png", "blue")
    (root / "trip" / "notes.md").write_text("# Sea\n\nThe sea was blue.\n\n# Sand\n\nThe sand was yellow.\n", "utf-8")
    (root / "list.txt").write_text("a red tomato", "utf-8")
    (root / "data.bin").write_bytes(b"\0\1")
    (root / ".hidden.txt").write_text("hidden", "utf-8")
    return root
