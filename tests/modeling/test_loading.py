"""The framework's own ways of loading lead here, and nothing that a checkpoint brings along is run."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import AutoConfig, AutoImageProcessor, AutoModel, AutoProcessor, AutoTokenizer
from transformers.utils import is_accelerate_available

from jina_clip_integrations.errors import ConfigurationError
from jina_clip_integrations.modeling import (
    JinaClipConfig,
    JinaClipImageProcessor,
    JinaClipModel,
    JinaClipProcessor,
)

GOLDEN = Path(__file__).parents[1] / "golden"


def test_auto_classes(golden: Any) -> None:
    assert type(AutoConfig.from_pretrained(golden.folder)) is JinaClipConfig
    assert type(AutoModel.from_pretrained(golden.folder)) is JinaClipModel
    assert type(AutoProcessor.from_pretrained(golden.folder)) is JinaClipProcessor
    assert type(AutoImageProcessor.from_pretrained(golden.folder)) is JinaClipImageProcessor


def test_auto_tokenizer_gives_the_right_ids(golden: Any) -> None:
    tokenizer = AutoTokenizer.from_pretrained(golden.folder)
    rows = tokenizer(golden.texts, truncation=True, max_length=512, padding=False)["input_ids"]
    assert rows == golden.ids()


def test_code_of_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    """In an interpreter of its own, with the defaults a user has: no prompt, no warning, no code of the checkpoint."""
    folder = tmp_path / "checkpoint"
    shutil.copytree(GOLDEN / "v2", folder)
    proof = tmp_path / "ran"
    evil = f"open({str(proof)!r}, 'w').close()\nclass Evil: pass\n"
    for name in ("configuration_clip", "modeling_clip", "processing_clip", "tokenization"):
        (folder / f"{name}.py").write_text(evil, encoding="utf-8")
    changes = {
        "config.json": {"AutoConfig": "configuration_clip.Evil", "AutoModel": "modeling_clip.Evil"},
        "preprocessor_config.json": {
            "AutoImageProcessor": "processing_clip.Evil",
            "AutoProcessor": "processing_clip.Evil",
        },
        "tokenizer_config.json": {"AutoTokenizer": ["tokenization.Evil", "tokenization.Evil"]},
    }
    for name, auto_map in changes.items():
        settings = json.loads((folder / name).read_text(encoding="utf-8"))
        (folder / name).write_text(json.dumps({**settings, "auto_map": auto_map}), encoding="utf-8")
    script = (
        "import sys, warnings\n"
        "warnings.simplefilter('error')\n"
        "from transformers import AutoConfig, AutoImageProcessor, AutoModel, AutoProcessor\n"
        "import jina_clip_integrations.modeling\n"
        "for auto in (AutoConfig, AutoModel, AutoProcessor, AutoImageProcessor):\n"
        "    print(type(auto.from_pretrained(sys.argv[1])).__name__)\n"
    )
    environment = {"HF_HUB_OFFLINE": "1", "PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}
    environment |= {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", script, str(folder)]
    done = subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    names = ["JinaClipConfig", "JinaClipModel", "JinaCLIPProcessor", "JinaCLIPImageProcessor"]
    assert done.stdout.split() == names
    assert not proof.exists()
    for word in ("trust_remote_code", "[y/N]", "Warning", "fix_mistral_regex", "newly initialized"):
        assert word not in done.stderr


@pytest.mark.parametrize("dtype", ["float32", torch.float16, "bfloat16"])
def test_dtype(golden: Any, dtype: Any) -> None:
    model = AutoModel.from_pretrained(golden.folder, dtype=dtype)
    wanted = getattr(torch, dtype) if isinstance(dtype, str) else dtype
    assert {parameter.dtype for parameter in model.parameters()} == {wanted}
    assert model.config.dtype == wanted


def test_the_default_dtype_is_the_configured_one(golden: Any) -> None:
    wanted = {"v1": torch.float32, "v2": torch.bfloat16}[golden.folder.name]
    for options in ({}, {"dtype": "auto"}, {"torch_dtype": "auto"}):
        assert JinaClipModel.from_pretrained(golden.folder, **options).dtype == wanted
    assert JinaClipModel.from_pretrained(golden.folder, torch_dtype="float16").dtype == torch.float16


@pytest.mark.parametrize("dtype", ["int8", "float33", torch.int64, 3])
def test_a_wrong_dtype(golden: Any, dtype: Any) -> None:
    with pytest.raises(ConfigurationError, match="dtype"):
        JinaClipModel.from_pretrained(golden.folder, dtype=dtype)


@pytest.mark.parametrize("device_map", ["cpu", torch.device("cpu"), {"": "cpu"}])
def test_one_device(golden: Any, device_map: Any) -> None:
    model = JinaClipModel.from_pretrained(golden.folder, device_map=device_map)
    assert {parameter.device.type for parameter in model.parameters()} == {"cpu"}


@pytest.mark.skipif(is_accelerate_available(), reason="accelerate is here, so the framework splits the model itself")
@pytest.mark.parametrize("device_map", ["auto", {"text_model": "cpu", "vision_model": "cpu", "logit_scale": "cpu"}])
def test_a_split_over_devices_says_what_it_needs(golden: Any, device_map: Any) -> None:
    with pytest.raises((ImportError, ValueError), match="pip install accelerate"):
        JinaClipModel.from_pretrained(golden.folder, device_map=device_map)


def test_the_model_is_ready_to_use(golden: Any, model: Any) -> None:
    assert not model.training
    assert model.name_or_path == str(golden.folder)
    assert all(parameter.requires_grad for parameter in model.parameters())
    loaded, info = JinaClipModel.from_pretrained(golden.folder, output_loading_info=True)
    assert isinstance(loaded, JinaClipModel)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]


def test_from_a_state_and_a_configuration(golden: Any, model: Any) -> None:
    config = JinaClipConfig.from_pretrained(golden.folder)
    again = JinaClipModel.from_pretrained(None, config=config, state_dict=model.state_dict(), dtype="float32")
    assert torch.equal(again.logit_scale, model.logit_scale)


def test_configuration_options_are_passed_on(golden: Any) -> None:
    model = JinaClipModel.from_pretrained(golden.folder, attn_implementation="eager", truncate_dim=16)
    assert model.config.truncate_dim == 16
    assert model.config.text_config._attn_implementation == "eager"
    assert model.config.vision_config._attn_implementation == "eager"


def test_a_checkpoint_saved_by_hand(golden: Any, model: Any, tmp_path: Path) -> None:
    """The model's and the processor's `save_pretrained` make a folder that the auto classes load."""
    model.save_pretrained(tmp_path)
    processor = JinaClipProcessor.from_pretrained(golden.folder)
    processor.save_pretrained(tmp_path)
    again, tokens = AutoModel.from_pretrained(tmp_path), AutoProcessor.from_pretrained(tmp_path)
    assert type(again) is JinaClipModel
    assert type(tokens) is JinaClipProcessor
    assert tokens.task_instructions == processor.task_instructions
    with Image.open(golden.image_files()[0]) as image:
        inputs = tokens(text=golden.texts[:5], images=image, return_tensors="pt")
    with torch.inference_mode():
        golden.check(again(**inputs).text_embeds, "text.none.normalized", "embedding_max_abs", slice(5))
