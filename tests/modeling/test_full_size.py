"""Checkpoints of the published size with random weights: every tensor arrives, and bfloat16 stays close to float32.

Marked `full_size`: about 5 GB on disk and 7 GB of memory.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch.nn import functional as F  # noqa: N812  # the customary name

from jina_clip_integrations.backends.local.devices import cpu_has_native_bfloat16
from jina_clip_integrations.export import export_model
from jina_clip_integrations.modeling import JinaClipConfig, JinaClipModel, expected_tensors
from jina_clip_integrations.modeling.layout import layout

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
GOLDEN = Path(__file__).parents[1] / "golden"

pytestmark = pytest.mark.full_size


def benchmark(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module", params=["v1", "v2"])
def full_size(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp(request.param)
    benchmark("random_checkpoint").write_random_checkpoint(folder, request.param)
    benchmark("random_checkpoint").add_processor(folder, request.param)
    config = JinaClipConfig.from_pretrained(folder)
    published = JinaClipConfig.from_pretrained(GOLDEN / f"config-{request.param}.json")
    assert expected_tensors(config) == expected_tensors(published)
    return folder


def embed(model: Any) -> list[torch.Tensor]:
    """A text and an image, the same for every model of one size."""
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(5, 30000, (1, 50), generator=generator)
    size = model.config.vision_config.image_size
    pixels = torch.randn(1, 3, size, size, generator=generator)
    with torch.inference_mode():
        return [model.get_text_features(ids).pooler_output, model.get_image_features(pixels).pooler_output]


def check_every_tensor(model: Any, folder: Path) -> None:
    """Each tensor of the file is in the model: as it is, or as part of a merged weight."""
    parameters = dict(model.named_parameters())
    seen: set[str] = set()
    with safe_open(folder / "model.safetensors", framework="pt") as file:
        for entry in layout(model.config):
            pieces = []
            for part in entry.parts:
                names = list(part.published_tensors(len(model.config.text_config.settings.lora_adaptations), 4))
                seen.update(names)
                tensors = [file.get_tensor(name).float() for name in names]
                if len(tensors) == 3:
                    original, a, b = tensors
                    pieces.append(original + (b[0] @ a[0] if part.adapter == "linear" else a[0] @ b[0]))
                else:
                    pieces.append(tensors[0])
            expected = torch.cat(pieces) if pieces[0].ndim else pieces[0]
            actual = parameters.pop(entry.name)
            assert (actual - expected.reshape(actual.shape)).abs().max() <= 1e-6, entry.name
        assert seen == set(file.keys())
    assert not parameters


def test_full_size(full_size: Path) -> None:
    torch.set_num_threads(os.cpu_count() or 1)
    model = JinaClipModel.from_pretrained(full_size, dtype="float32")
    check_every_tensor(model, full_size)
    assert all(vector.isfinite().all() for vector in embed(model))
    exact = embed(shortened(model))
    del model
    half = embed(shortened(JinaClipModel.from_pretrained(full_size, dtype="bfloat16")))
    for one, other in zip(half, exact, strict=True):
        assert F.cosine_similarity(one, other).item() >= 0.999


def shortened(model: Any) -> Any:
    """The model with one block per tower where bfloat16 is emulated: a v2 image would take minutes there."""
    if not cpu_has_native_bfloat16():
        for tower in (model.text_model, model.vision_model):
            del tower.blocks[1:]
    return model


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="private memory is measured on Linux")
def test_memory_while_loading(full_size: Path) -> None:
    """Peak private memory of loading in the stored type is at most 1.3 times the weights."""
    stored = json.loads((full_size / "config.json").read_text(encoding="utf-8"))["torch_dtype"]
    command = [sys.executable, str(BENCHMARKS / "load.py"), "--case", str(full_size), stored]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["peak"] <= 1.3 * result["weights"]


def test_an_export_agrees(full_size: Path, tmp_path: Path) -> None:
    """To five digits, on texts and images; no file is larger than browsers and protobuf take."""
    report = export_model(full_size, tmp_path / "exported")
    assert min(report.agreement.values()) >= 0.99999
    assert max(report.files.values()) < 2_000_000_000
