"""Checkpoints of the published size with random weights, written tensor by tensor in little memory."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path
from typing import Any

import torch

from jina_clip_integrations.modeling import JinaClipConfig, expected_tensors

TYPES = {"float32": ("F32", torch.float32), "bfloat16": ("BF16", torch.bfloat16)}

CONFIGS: dict[str, dict[str, Any]] = {
    "v1": {
        "model_type": "jina_clip",
        "architectures": ["JinaCLIPModel"],
        "logit_scale_init_value": 2.6592,
        "projection_dim": 768,
        "torch_dtype": "float32",
        "text_config": {
            "embed_dim": 768,
            "hf_model_config_kwargs": {"use_flash_attn": False},
            "hf_model_name_or_path": "jinaai/jina-bert-flash-implementation",
            "model_type": "jina_clip_text",
            "pooler_type": "mean_pooler",
        },
        "vision_config": {
            "embed_dim": 768, "head_width": 64, "image_size": 224, "intp_freq": False, "layers": 12,
            "mlp_ratio": 2.6667, "model_type": "jina_clip_vision", "naive_swiglu": True, "patch_size": 16,
            "pt_hw_seq_len": 14, "qkv_bias": True, "rope_embeddings": True, "subln": True, "width": 768,
        },
    },
    "v2": {
        "model_type": "jina_clip",
        "architectures": ["JinaCLIPModel"],
        "logit_scale_init_value": 2.6592,
        "matryoshka_dimensions": [32, 64, 128, 256, 512, 768, 1024],
        "projection_dim": 1024,
        "torch_dtype": "bfloat16",
        "text_config": {
            "default_lora_task": "retrieval.query",
            "embed_dim": 1024,
            "hf_model_config_kwargs": {
                "lora_adaptations": ["retrieval.query"],
                "lora_alpha": 4,
                "lora_rank": 4,
                "task_instructions": {
                    "retrieval.query": "Represent the query for retrieving evidence documents: "
                },
            },
            "hf_model_name_or_path": "jinaai/jina-embeddings-v3",
            "model_type": "jina_clip_text",
            "pooler_type": "mean_pooler",
        },
        "vision_config": {
            "embed_dim": 1024, "head_width": 64, "image_size": 512, "intp_freq": True, "layers": 24,
            "mlp_ratio": 2.6667, "model_type": "jina_clip_vision", "naive_swiglu": True, "patch_size": 14,
            "pt_hw_seq_len": 16, "qkv_bias": True, "rope_embeddings": True, "subln": True, "width": 1024,
        },
    },
}  # fmt: skip
"""The parts of the published `config.json` files that the models read."""


def write_random_checkpoint(folder: Path, version: str, *, seed: int = 0) -> JinaClipConfig:
    """Write `config.json` and `model.safetensors` of `"v1"` (float32) or `"v2"` (bfloat16) with random weights."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(CONFIGS[version], indent=2), encoding="utf-8")
    config = JinaClipConfig.from_pretrained(folder)
    code, dtype = TYPES[CONFIGS[version]["torch_dtype"]]
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
