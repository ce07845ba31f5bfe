"""Bad checkpoints are refused by name; variants that exist in the wild are read; what is written reads back."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from jina_clip_integrations.errors import CheckpointError, ConfigurationError
from jina_clip_integrations.modeling import JinaClipConfig, JinaClipModel, expected_tensors, save_published
from jina_clip_integrations.modeling.checkpoint import read_logit_scale
from jina_clip_integrations.modeling.layout import layout

Change = Callable[[dict[str, Tensor]], None]


@pytest.fixture
def folder(golden: Any, tmp_path: Path) -> Path:
    """A copy of the golden checkpoint that a test may damage."""
    for name in ("config.json", "model.safetensors"):
        shutil.copy(golden.folder / name, tmp_path / name)
    return tmp_path


def rewrite(folder: Path, change: Change) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "model.safetensors")


def load(folder: Path) -> Any:
    return JinaClipModel.from_pretrained(folder, dtype="float32")


def state_equal(one: Any, other: Any) -> bool:
    pairs = zip(one.state_dict().items(), other.state_dict().items(), strict=True)
    return all(a == b and torch.equal(x, y) for (a, x), (b, y) in pairs)


def test_missing_tensors(folder: Path) -> None:
    gone = ["logit_scale", "vision_model.blocks.1.attn.v_bias"]
    rewrite(folder, lambda tensors: [tensors.pop(name) for name in gone] and None)
    with pytest.raises(CheckpointError, match=r"missing: 2 \(logit_scale, vision_model") as caught:
        load(folder)
    assert caught.value.tensors == tuple(gone)


def test_unexpected_tensors(folder: Path) -> None:
    extra = "vision_model.blocks.0.attn.k_bias"
    rewrite(folder, lambda tensors: tensors.update({extra: torch.zeros(3), "text_projection.weight": torch.zeros(2)}))
    with pytest.raises(CheckpointError, match="unexpected: 2 ") as caught:
        load(folder)
    assert set(caught.value.tensors) == {extra, "text_projection.weight"}


def test_misshapen_tensors(folder: Path) -> None:
    rewrite(folder, lambda tensors: tensors.update({"vision_model.norm.weight": torch.zeros(3)}))
    with pytest.raises(CheckpointError, match=r"misshapen: 1 \(vision_model.norm.weight \[3\], not") as caught:
        load(folder)
    assert caught.value.tensors == ("vision_model.norm.weight",)


def test_integer_tensors(folder: Path) -> None:
    name = "vision_model.norm.weight"
    rewrite(folder, lambda tensors: tensors.update({name: tensors[name].to(torch.int8)}))
    with pytest.raises(CheckpointError, match="not floating: 1 "):
        load(folder)


def test_long_lists_are_cut_in_the_message(folder: Path) -> None:
    rewrite(folder, lambda tensors: [tensors.pop(name) for name in list(tensors) if "blocks" in name] and None)
    with pytest.raises(CheckpointError, match=r"and \d+ more") as caught:
        load(folder)
    assert len(caught.value.tensors) > 20
    assert len(str(caught.value)) < 2500
    assert pickle.loads(pickle.dumps(caught.value)).tensors == caught.value.tensors


def test_another_size(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config["text_config"]["hf_model_config_kwargs"]["num_hidden_layers"] += 1
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(CheckpointError, match="missing"):
        load(folder)


@pytest.mark.parametrize("keep", [0, 4, 1000, -1])
def test_a_truncated_file(folder: Path, keep: int) -> None:
    file = folder / "model.safetensors"
    content = file.read_bytes()
    file.write_bytes(content[:keep])
    with pytest.raises(CheckpointError, match=r"not a complete safetensors file"):
        load(folder)


def test_a_file_of_something_else(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n" * 9
    )
    with pytest.raises(CheckpointError, match="not a complete safetensors file"):
        load(folder)


class Boom:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_pickled_weights_are_refused(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"holds no model\.safetensors"):
        load(folder)
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Boom(folder / "ran")))
    with pytest.raises(CheckpointError, match="pickled weights"):
        load(folder)
    with pytest.raises(CheckpointError, match="use_safetensors"):
        JinaClipModel.from_pretrained(folder, use_safetensors=False)
    assert not (folder / "ran").exists()


def test_another_kind_of_model(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "clip"}', encoding="utf-8")
    with pytest.raises(ConfigurationError, match="this is a 'clip' model"):
        load(folder)


def test_no_configuration(folder: Path) -> None:
    (folder / "config.json").unlink()
    with pytest.raises(ConfigurationError, match=r"there is no config\.json"):
        load(folder)


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="neither a checkpoint folder"):
        load(tmp_path / "nowhere")


def test_broken_configuration(folder: Path) -> None:
    (folder / "config.json").write_text("{", encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"config\.json"):
        load(folder)


@pytest.mark.parametrize("option", [{"variant": "fp16"}, {"ignore_mismatched_sizes": True}, {"state_dict": {"a": 1}}])
def test_options_that_would_read_something_else(golden: Any, option: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(option))):
        JinaClipModel.from_pretrained(golden.folder, **option)


def test_merged_adapters_are_read(golden: Any, model: Any, folder: Path) -> None:
    if golden.folder.name != "v2":
        return

    def merge_some(tensors: dict[str, Tensor]) -> None:
        state = model.state_dict()
        for parameter in layout(model.config)[:40]:
            part = parameter.parts[0]
            if part.adapter is not None:
                for name in part.published_tensors(1, 4):
                    del tensors[name]
                tensors[part.plain_name] = state[parameter.name].clone()

    rewrite(folder, merge_some)
    assert state_equal(load(folder), model)
    rewrite(folder, lambda tensors: tensors.update({f"{TYPES}.parametrizations.weight.original": torch.zeros(1, 64)}))
    with pytest.raises(CheckpointError, match="unexpected"):
        load(folder)


TYPES = "text_model.transformer.roberta.embeddings.token_type_embeddings"


def test_without_a_default_task_no_adapter_applies(golden: Any, folder: Path) -> None:
    if golden.folder.name != "v2":
        return
    config = JinaClipConfig.from_pretrained(folder)
    config.text_config.default_lora_task = None
    model = JinaClipModel.from_pretrained(folder, config=config, dtype="float32")
    stored = load_file(folder / "model.safetensors")[f"{TYPES}.parametrizations.weight.original"]
    assert torch.equal(model.text_model.token_type_embeddings.weight, stored.float())


def test_one_more_level_in_the_names_of_v1(golden: Any, model: Any, folder: Path) -> None:
    if golden.folder.name != "v1":
        return

    def rename(tensors: dict[str, Tensor]) -> None:
        for name in list(tensors):
            if name.startswith("text_model.transformer."):
                tensors[name.replace("transformer.", "transformer.bert.", 1)] = tensors.pop(name)

    rewrite(folder, rename)
    assert state_equal(load(folder), model)
    extra = "text_model.transformer.pooler.dense.bias"
    rewrite(folder, lambda tensors: tensors.update({extra: torch.zeros(1)}))
    with pytest.raises(CheckpointError, match=extra):
        load(folder)


def test_float16_files_are_read_exactly(golden: Any, folder: Path) -> None:
    rewrite(folder, lambda tensors: tensors.update({name: t.half() for name, t in tensors.items()}))
    stored = load_file(folder / "model.safetensors")["vision_model.blocks.0.mlp.w2.weight"]
    inner = stored.shape[0]
    assert torch.equal(load(folder).vision_model.blocks[0].mlp.up.weight[inner:], stored.float())


def test_shards(model: Any, folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    shards = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    for file, part in shards.items():
        save_file({name: tensors[name] for name in part}, folder / file)
    weight_map = {name: file for file, part in shards.items() for name in part}
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}), encoding="utf-8")
    assert state_equal(load(folder), model)
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(CheckpointError, match="model-00002-of-00002"):
        load(folder)
    save_file({"logit_scale": torch.zeros(())}, folder / "model-00002-of-00002.safetensors")
    with pytest.raises(CheckpointError, match="logit_scale is stored twice"):
        load(folder)
    index.write_text(json.dumps({"weight_map": {"a": "../elsewhere.safetensors"}}), encoding="utf-8")
    with pytest.raises(CheckpointError, match="outside its folder"):
        load(folder)
    index.write_text('{"weight_map": 3}', encoding="utf-8")
    with pytest.raises(CheckpointError, match="not an index"):
        load(folder)


def test_save_and_reload(model: Any, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    again = JinaClipModel.from_pretrained(tmp_path)
    assert again.dtype == torch.float32
    assert state_equal(again, model)
    stored = load_file(tmp_path / "model.safetensors")
    merged = {part.plain_name for parameter in layout(model.config) for part in parameter.parts}
    assert set(stored) == merged


def test_save_in_shards(model: Any, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path, max_shard_size="300KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    assert state_equal(JinaClipModel.from_pretrained(tmp_path), model)


def test_saving_over_the_file_that_was_loaded(folder: Path) -> None:
    first = load(folder)
    with torch.no_grad():
        first.logit_scale.add_(1.0)
    first.save_pretrained(folder)
    assert state_equal(load(folder), first)


def test_save_published_without_adapters(model: Any, tmp_path: Path) -> None:
    save_published(model, tmp_path / "new")
    assert state_equal(JinaClipModel.from_pretrained(tmp_path / "new"), model)


def test_save_published_with_adapters(golden: Any, model: Any, tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    factors = {}
    for parameter in layout(model.config):
        part = parameter.parts[0]
        if part.adapter is not None and "blocks.1" not in parameter.name:
            shapes = [shape[1:] for shape in list(part.published_tensors(1, 4).values())[1:]]
            a, b = (torch.randn(shape, generator=generator) for shape in shapes)
            factors[parameter.name] = (a, b)
    if golden.folder.name == "v1":
        with pytest.raises(CheckpointError, match="adapters"):
            save_published(model, tmp_path, adapters=factors)
        return
    save_published(model, tmp_path, adapters=factors)
    stored = {name: tuple(tensor.shape) for name, tensor in load_file(tmp_path / "model.safetensors").items()}
    assert stored == expected_tensors(model.config)
    again = JinaClipModel.from_pretrained(tmp_path)
    scale = model.config.text_config.settings.lora_scale
    a, b = factors["text_model.blocks.0.mlp.up.weight"]
    merged = model.text_model.blocks[0].mlp.up.weight + scale * b @ a
    assert (again.text_model.blocks[0].mlp.up.weight - merged).abs().max() < 1e-5
    a, b = factors["text_model.word_embeddings.weight"]
    merged = model.text_model.word_embeddings.weight + scale * a @ b
    assert (again.text_model.word_embeddings.weight - merged).abs().max() < 1e-5
    assert torch.equal(again.text_model.blocks[1].mlp.up.weight, model.text_model.blocks[1].mlp.up.weight)


def test_the_logit_scale_is_read_alone(golden: Any, folder: Path) -> None:
    expected = load(golden.folder).logit_scale.exp().item()
    rewrite(folder, lambda tensors: [tensors.pop(name) for name in list(tensors) if name != "logit_scale"] and None)
    assert read_logit_scale(folder) == pytest.approx(expected, rel=1e-6)


def test_a_checkpoint_without_a_logit_scale(folder: Path) -> None:
    rewrite(folder, lambda tensors: tensors.pop("logit_scale") and None)
    with pytest.raises(CheckpointError, match="holds no logit_scale") as caught:
        read_logit_scale(folder)
    assert caught.value.tensors == ("logit_scale",)
