"""`jina-clip export`: a folder that the other commands take as a model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.exports import GOLDEN


def test_export_then_embed(run: Any, tmp_path: Path) -> None:
    folder = tmp_path / "clip"
    ran = run("export", str(folder), "--model", str(GOLDEN / "v1"), "--json")
    report = json.loads(ran.out)
    assert report["format"] == "onnx"
    assert set(report["files"]) == {"text.onnx", "vision.onnx", "tokenizer.json", "jina_clip_export.json"}
    assert min(report["agreement"].values()) >= 0.99999
    # Without --backend: each folder has its own.
    options = (["--model", str(folder)], ["--model", str(GOLDEN / "v1"), "--dtype", "float32"])
    rows = [json.loads(run("embed", "a red bicycle", *each).out)["embedding"] for each in options]
    assert max(abs(a - b) for a, b in zip(*rows, strict=True)) < 2e-5


def test_an_output_that_is_there_is_one_line(run: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ran = run("export", str(tmp_path), "--model", str(GOLDEN / "v1"))
    assert ran.code != 0
    assert "is there already; choose another folder, or delete it first" in ran.err
