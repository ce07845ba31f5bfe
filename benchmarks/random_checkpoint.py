"""Checkpoints of the published size with random weights, written tensor by tensor in little memory."""

from __future__ import annotations

import json
import math
import shutil
import struct
from pathlib import Path
from typing import Any

import torch

from jina_clip_integrations.demo import demo_model_path
from jina_clip_integrations.modeling import JinaClipConfig, expected_tensors
from jina_clip_integrations.modeling.published import PUBLISHED

TYPES = {"float32": ("F32", torch.float32), "bfloat16": ("BF16", torch.bfloat16)}


def write_random_checkpoint(folder: Path, version: str, *, seed: int = 0) -> JinaClipConfig:
    """Write `config.json` and `model.safetensors` of `"v1"` (float32) or `"v2"` (bfloat16) with random weights."""
    folder.mkdir(parents=True, exist_ok=True)
    published = PUBLISHED[f"jina-clip-{version}"]
    (folder / "config.json").write_text(json.dumps(published, indent=2), encoding="utf-8")
    config = JinaClipConfig.from_pretrained(folder)
    code, dtype = TYPES[published["torch_dtype"]]
    shapes = expected_tensors(config)
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in shapes.items():
        start, end = end, end + math.prod(shape) * dtype.itemsize
        header[name] = {"dtype": code, "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    generator = torch.Generator().manual_seed(seed)
    with (folder / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name, shape in shapes.items():
            tensor = _random(name, shape, generator).to(dtype)
            file.write(memoryview(tensor.reshape(-1).view(torch.uint8).numpy()))
    return config


def add_processor(folder: Path, version: str) -> None:
    """Give a checkpoint the demo model's tokenizer (16,000 tokens) and the published image settings.

    The published tokenizers are not at hand. The ids of this one exist in both models, which is all that measurements
    of time need; `config.json` is written too where there is none yet, for measurements that need no weights at all.
    """
    folder.mkdir(parents=True, exist_ok=True)
    published = PUBLISHED[f"jina-clip-{version}"]
    if not (folder / "config.json").exists():
        (folder / "config.json").write_text(json.dumps(published, indent=2), encoding="utf-8")
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        shutil.copy(demo_model_path() / name, folder)
    if version == "v1":
        _pad_with_zero(folder / "tokenizer.json")
    settings = json.loads((demo_model_path() / "preprocessor_config.json").read_text(encoding="utf-8"))
    settings["size"] = published["vision_config"]["image_size"]
    (folder / "preprocessor_config.json").write_text(json.dumps(settings, indent=2), encoding="utf-8")


def _pad_with_zero(file: Path) -> None:
    """Exchange the ids of `<s>` and `<pad>`, 0 and 1: the text tower of v1 takes 0 for padding."""
    content = json.loads(file.read_text(encoding="utf-8"))
    vocab = content["model"]["vocab"]
    vocab[0], vocab[1] = vocab[1], vocab[0]
    for token in content["added_tokens"]:
        token["id"] = {0: 1, 1: 0}.get(token["id"], token["id"])
    content["added_tokens"].sort(key=lambda token: token["id"])
    content["post_processor"]["special_tokens"]["<s>"]["ids"] = [1]
    if content.get("padding"):
        content["padding"]["pad_id"] = 0
    file.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def _random(name: str, shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    """Values of a plausible spread: matrices keep the size of what they multiply, norms stay near 1."""
    if name == "logit_scale":
        return torch.tensor(2.6592)
    values = torch.randn(shape, generator=generator)
    if name.endswith("bias"):
        return values.mul_(0.02)
    if len(shape) == 1:
        return values.mul_(0.1).add_(1.0)
    if "embeddings" in name or "lora" in name or len(shape) == 3:
        return values.mul_(0.05)
    return values.mul_(math.prod(shape[1:]) ** -0.5)
