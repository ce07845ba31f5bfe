"""`export_model`: what stands in the folder, that stock tools can use it, and that nothing wrong is ever kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from PIL import Image
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from jina_clip_integrations.errors import BackendError, CheckpointError, ConfigurationError, InputError
from jina_clip_integrations.export import conversions, export_model, onnx_graphs
from jina_clip_integrations.export.agreement import SMALLEST_COSINE, check_agreement, cosines
from jina_clip_integrations.retrieval.fingerprint import EXPORT_FILE
from tests.exports import GOLDEN, exported


@pytest.fixture(params=["v1", "v2"])
def model(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def describe(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / EXPORT_FILE).read_text("utf-8")))


def unit(rows: Any) -> Any:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_each_tower_is_a_graph_of_its_own_with_dynamic_sizes(model: str) -> None:
    folder = exported(model)
    size = describe(folder)["image"]["preprocessing"]["size"]
    shapes = {}
    for name in ("text", "vision"):
        graph = onnx.load(folder / f"{name}.onnx")
        onnx.checker.check_model(graph)
        # Stable, so that whatever runs an export today runs the next one: nothing but ONNX itself, of this version.
        assert [each.version for each in graph.opset_import if not each.domain] == [18]
        assert {each.domain for each in graph.graph.node} == {""}
        assert len(graph.functions) == 0
        assert graph.ir_version <= 10
        for value in (*graph.graph.input, *graph.graph.output):
            shapes[name, value.name] = [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
    width = describe(folder)["model"]["dimensions"]
    assert shapes == {
        ("text", "input_ids"): ["batch", "length"],
        ("text", "attention_mask"): ["batch", "length"],
        ("text", "embeddings"): ["batch", width],
        ("vision", "pixel_values"): ["batch", 3, size, size],
        ("vision", "embeddings"): ["batch", width],
    }


def test_texts_by_stock_tools_as_the_description_says(model: str) -> None:
    folder = exported(model)
    text = describe(folder)["text"]
    facts = json.loads((GOLDEN / model / "golden.json").read_text("utf-8"))
    expected = load_file(GOLDEN / model / "golden.safetensors")
    tokenizer = Tokenizer.from_file(str(folder / text["tokenizer"]))
    session = onnxruntime.InferenceSession(folder / text["file"])
    for task in facts["tasks"]:
        instruction = "" if task == "none" else text["instructions"][task]
        tokenizer.enable_truncation(512)
        tokenizer.enable_padding(pad_id=text["pad_id"])
        found = tokenizer.encode_batch([instruction + each for each in facts["texts"]])
        inputs = {
            "input_ids": np.array([each.ids for each in found], np.int64),
            "attention_mask": np.array([each.attention_mask for each in found], np.int64),
        }
        [rows] = session.run(["embeddings"], inputs)
        np.testing.assert_allclose(unit(rows), expected[f"text.{task}.normalized"], atol=2e-5, rtol=0)


def test_images_by_stock_tools_as_the_description_says(model: str) -> None:
    folder = exported(model)
    image = describe(folder)["image"]
    steps = image["preprocessing"]
    facts = json.loads((GOLDEN / model / "golden.json").read_text("utf-8"))
    expected = load_file(GOLDEN / model / "golden.safetensors")
    session = onnxruntime.InferenceSession(folder / image["file"])
    assert (steps["resize_mode"], steps["interpolation"]) == ("shortest", "bicubic")
    size, pixels = steps["size"], []
    for each in facts["images"]:
        picture = Image.open(GOLDEN / model / each["file"]).convert("RGB")
        scale = size / min(picture.size)
        wide, high = (size if side == min(picture.size) else int(side * scale) for side in picture.size)
        picture = picture.resize((wide, picture.height), Image.Resampling.BICUBIC)
        picture = picture.resize((wide, high), Image.Resampling.BICUBIC)
        left, top = round((wide - size) / 2), round((high - size) / 2)
        levels = np.asarray(picture.crop((left, top, left + size, top + size)), np.float32)
        normal = (levels / 255 - np.float32(steps["mean"])) / np.float32(steps["std"])
        pixels.append(normal.transpose(2, 0, 1).astype(np.float32))
    [rows] = session.run(["embeddings"], {"pixel_values": np.stack(pixels)})
    np.testing.assert_allclose(unit(rows), expected["images.normalized"], atol=2e-5, rtol=0)


@pytest.mark.parametrize(
    ("format", "dtype"), [("onnx", "float16"), ("onnx", "int8"), ("openvino", "float16"), ("openvino", "int8")]
)
def test_smaller_weights_stay_close_and_are_smaller(format: str, dtype: str) -> None:
    folder = exported("v2", format, dtype)
    agreement = describe(folder)["agreement"]
    assert min(agreement.values()) >= SMALLEST_COSINE[dtype]
    weights = {"onnx": "vision.onnx", "openvino": "vision.bin"}[format]
    full = exported("v2", format) / weights
    assert (folder / weights).stat().st_size < {"float16": 0.7, "int8": 0.6}[dtype] * full.stat().st_size


def test_full_precision_agrees_to_five_digits(model: str) -> None:
    assert min(describe(exported(model))["agreement"].values()) >= 0.99999


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_weights_beyond_a_file_go_beside_it_in_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str
) -> None:
    monkeypatch.setattr(onnx_graphs, "MAX_FILE_BYTES", 200_000)
    report = export_model(GOLDEN / "v2", tmp_path / "parts", dtype=dtype)
    parts = {name: size for name, size in report.files.items() if name.endswith(".data")}
    assert len(parts) >= 2
    assert max(parts.values()) <= 200_000
    about = describe(tmp_path / "parts")
    assert {*about["text"]["weights"], *about["image"]["weights"]} == set(parts)
    assert min(report.agreement.values()) >= SMALLEST_COSINE[dtype]
    assert {path.name for path in (tmp_path / "parts").iterdir()} == {
        *parts, "text.onnx", "vision.onnx", "tokenizer.json", EXPORT_FILE
    }  # fmt: skip


class TestNothingWrongIsKept:
    def test_a_graph_that_computes_something_else(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def write_noise(source: Path, target: Path) -> None:
            graph = onnx.load(source)
            random = np.random.default_rng(0)
            for weight in graph.graph.initializer:
                values = onnx.numpy_helper.to_array(weight)
                if values.ndim == 2 and values.dtype == np.float32:
                    noise = random.normal(0, 1, values.shape).astype(np.float32)
                    weight.CopyFrom(onnx.numpy_helper.from_array(noise, weight.name))
            onnx.save(graph, target)

        monkeypatch.setattr("jina_clip_integrations.export.command.quantize_onnx", write_noise)
        with pytest.raises(
            BackendError, match=r"the exported \w+ graph does not compute the model.*nothing was written"
        ):
            export_model(GOLDEN / "v1", tmp_path / "noise", dtype="int8")
        assert list(tmp_path.iterdir()) == []

    def test_a_failure_half_way(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("jina_clip_integrations.export.command.write_vision_graph", fail)
        with pytest.raises(OSError, match="No space left"):
            export_model(GOLDEN / "v1", tmp_path / "half")
        assert list(tmp_path.iterdir()) == []

    def test_an_output_that_holds_something(self, tmp_path: Path) -> None:
        (tmp_path / "mine.txt").write_text("keep me")
        with pytest.raises(InputError, match="is there already; choose another folder"):
            export_model(GOLDEN / "v1", tmp_path)
        assert [each.name for each in tmp_path.iterdir()] == ["mine.txt"]

    def test_an_output_in_a_folder_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="there is no folder"):
            export_model(GOLDEN / "v1", tmp_path / "no" / "folder")

    @pytest.mark.parametrize(("option", "value"), [("format", "pickle"), ("dtype", "float64")])
    def test_unknown_words(self, tmp_path: Path, option: str, value: str) -> None:
        with pytest.raises(ConfigurationError, match=f"{option} is '{value}'; choose one of"):
            export_model(GOLDEN / "v1", tmp_path / "x", **{option: value})

    def test_a_quick_look(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigurationError, match="only models of their own size are exported"):
            export_model(GOLDEN / "v1", tmp_path / "x", image_size=48)

    def test_no_checkpoint(self, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        with pytest.raises(CheckpointError, match="is not a checkpoint folder"):
            export_model(tmp_path / "empty", tmp_path / "x")


def test_a_cosine_of_what_is_not_finite_fails_the_check() -> None:
    assert cosines(np.array([[1.0, np.nan], [3.0, 4.0]]), np.array([[1.0, 1.0], [6.0, 8.0]])).tolist() == [-1.0, 1.0]
    check_agreement({"text": 0.999995}, "float32")
    with pytest.raises(BackendError, match=r"float32 has to reach 0\.99999"):
        check_agreement({"text": 0.9999}, "float32")


def test_quantized_graphs_say_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    conversions.quantize_onnx(exported("v1") / "vision.onnx", tmp_path / "int8.onnx")
    assert caplog.records == []
