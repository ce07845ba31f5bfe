"""Exported folders that are damaged, incomplete or of another kind: one clear error, before anything is computed."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jina_clip_integrations.backends.exported import OnnxBackend, OpenVinoBackend
from jina_clip_integrations.backends.exported.folder import read_description
from jina_clip_integrations.backends.exported.graphs import choose_providers
from jina_clip_integrations.backends.registry import default_backend
from jina_clip_integrations.errors import CheckpointError, ConfigurationError
from jina_clip_integrations.retrieval.fingerprint import EXPORT_FILE, model_identity
from tests.exports import GOLDEN, exported


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An export that a test may damage."""
    copied = tmp_path / "clip"
    shutil.copytree(exported("v1"), copied)
    return copied


def edit(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    path = folder / EXPORT_FILE
    content = json.loads(path.read_text("utf-8"))
    change(content)
    path.write_text(json.dumps(content), "utf-8")


def test_what_is_written_is_read_back(folder: Path) -> None:
    description = read_description(folder)
    assert json.loads(json.dumps(description.to_json())) == json.loads((folder / EXPORT_FILE).read_text("utf-8"))


def test_a_checkpoint_is_no_export() -> None:
    with pytest.raises(CheckpointError, match=r"has no jina_clip_export\.json; `jina-clip export` makes such a folder"):
        OnnxBackend(GOLDEN / "v1")


DAMAGE: dict[str, Callable[[dict[str, Any]], Any]] = {
    "of another version": lambda content: content.update(version=99),
    "no 'model'": lambda content: content.pop("model"),
    "no 'pad_id'": lambda content: content["text"].pop("pad_id"),
    "unknown format 'pickle'": lambda content: content.update(format="pickle"),
    "dimensions: a positive integer expected": lambda content: content["model"].update(dimensions=-1),
    "size: a positive integer expected": lambda content: content["image"]["preprocessing"].update(size=True),
    "mean: three numbers expected": lambda content: content["image"]["preprocessing"].update(mean=[0.5]),
    "resize_mode: 'stretch' is unknown": lambda content: content["image"]["preprocessing"].update(
        resize_mode="stretch"
    ),
    "does not describe an exported model": lambda content: content.update(text=[]),
}


@pytest.mark.parametrize("message", DAMAGE)
def test_a_damaged_description(folder: Path, message: str) -> None:
    edit(folder, DAMAGE[message])
    with pytest.raises((CheckpointError, ConfigurationError), match=message):
        OnnxBackend(folder)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000])
def test_a_description_that_is_no_json(folder: Path, content: bytes) -> None:
    (folder / EXPORT_FILE).write_bytes(content)
    with pytest.raises(CheckpointError, match=EXPORT_FILE):
        OnnxBackend(folder)
    assert default_backend(str(folder)) == "local"
    model_identity(str(folder))  # another digest, and no error


def test_a_description_of_any_size(folder: Path) -> None:
    (folder / EXPORT_FILE).write_bytes(b" " * (2 << 20))
    with pytest.raises(CheckpointError, match="not a regular file of at most"):
        OnnxBackend(folder)


def test_a_missing_graph(folder: Path) -> None:
    (folder / "vision.onnx").unlink()
    with pytest.raises(CheckpointError, match=r"the file vision\.onnx is missing"):
        OnnxBackend(folder)


def test_files_of_weights_are_named() -> None:
    folder = exported("v2", "openvino")
    assert read_description(folder).weights == {"text": ("text.bin",), "image": ("vision.bin",)}


def test_a_file_of_weights_that_is_not_there(folder: Path) -> None:
    edit(folder, lambda content: content["text"].update(weights=["text-00001-of-00002.onnx.data"]))
    with pytest.raises(CheckpointError, match=r"the file text-00001-of-00002\.onnx\.data is missing"):
        OnnxBackend(folder)


@pytest.mark.parametrize("name", ["text.onnx", "vision.onnx"])
@pytest.mark.parametrize("content", [b"", b"no graph", os.urandom(5000)], ids=["empty", "text", "noise"])
def test_a_damaged_graph(folder: Path, name: str, content: bytes) -> None:
    (folder / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"{name} cannot be loaded"):
        OnnxBackend(folder).load()


def test_a_damaged_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{}", "utf-8")
    with pytest.raises(CheckpointError, match=r"tokenizer\.json cannot be read"):
        OnnxBackend(folder).load()


def test_the_other_format_says_which_backend_runs_it(folder: Path) -> None:
    with pytest.raises(ConfigurationError, match='was exported for onnx; use backend="onnx"'):
        OpenVinoBackend(folder)
    assert default_backend(str(folder)) == "onnx"


def test_devices() -> None:
    both = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    assert choose_providers("auto", both) == both
    assert choose_providers("auto", both[1:]) == both[1:]
    assert choose_providers("cpu", both) == both[1:]
    assert choose_providers("cuda", both) == both
    with pytest.raises(ConfigurationError, match="install the package onnxruntime-gpu"):
        choose_providers("cuda", both[1:])
    with pytest.raises(ConfigurationError, match="runs on 'auto', 'cpu' or 'cuda'"):
        choose_providers("cuda:1", both)


def test_a_device_that_openvino_does_not_see() -> None:
    with pytest.raises(ConfigurationError, match="device='npu': OpenVINO sees cpu here"):
        OpenVinoBackend(exported("v2", "openvino"), device="npu").load()


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"num_threads": 0}, "num_threads=0: must be at least 1"),
        ({"max_length": 2}, "max_length=2"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"device": ["cpu", "cpu"]}, "runs on one device"),
    ],
)
def test_options_that_cannot_work(option: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        OnnxBackend(exported("v1"), **option)
