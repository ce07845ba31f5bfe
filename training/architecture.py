"""The demo model's configuration, in the published layout of `jina-clip-v2` with small sizes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from captions import QUERY_PREFIX
from vocabulary import VOCAB_SIZE

IMAGE_SIZE = 64
PATCH_SIZE = 8
WIDTH = 128
MATRYOSHKA_DIMENSIONS = (16, 32, 64, 96, 128)
LORA_RANK = 4

CONFIG: dict[str, Any] = {
    "_name_or_path": "jina-clip-integrations demo model (not Jina's weights)",
    "add_projections": False,
    "architectures": ["JinaCLIPModel"],
    "initializer_factor": 1.0,
    "logit_scale_init_value": 2.6592,
    "matryoshka_dimensions": list(MATRYOSHKA_DIMENSIONS),
    "model_type": "jina_clip",
    "projection_dim": WIDTH,
    "text_config": {
        "default_instruction_task": None,
        "default_lora_task": "retrieval.query",
        "embed_dim": WIDTH,
        "hf_model_config_kwargs": {
            "hidden_size": WIDTH,
            "intermediate_size": 4 * WIDTH,
            "load_trained_adapters": False,
            "lora_adaptations": ["retrieval.query"],
            "lora_alpha": LORA_RANK,
            "lora_dropout_p": 0.0,
            "lora_main_params_trainable": False,
            "lora_rank": LORA_RANK,
            "num_attention_heads": 4,
            "num_hidden_layers": 2,
            "task_instructions": {"retrieval.query": QUERY_PREFIX},
            "use_flash_attn": True,
            "vocab_size": VOCAB_SIZE,
        },
        "hf_model_name_or_path": "jinaai/jina-embeddings-v3",
        "model_type": "jina_clip_text",
        "pooler_type": "mean_pooler",
        "proj_bias": False,
        "proj_type": None,
    },
    "torch_dtype": "bfloat16",
    "truncate_dim": None,
    "use_text_flash_attn": None,
    "use_vision_xformers": None,
    "vision_config": {
        "embed_dim": WIDTH,
        "fused_layer_norm": False,
        "head_width": 32,
        "image_size": IMAGE_SIZE,
        "intp_freq": True,
        "layers": 6,
        "ls_init_value": None,
        "mlp_ratio": 2.75,
        "model_type": "jina_clip_vision",
        "naive_swiglu": True,
        "patch_dropout": 0.1,
        "patch_size": PATCH_SIZE,
        "post_norm": False,
        "proj_type": None,
        "pt_hw_seq_len": 16,
        "qkv_bias": True,
        "rope_embeddings": True,
        "subln": True,
        "width": WIDTH,
        "x_attention": True,
    },
}

PREPROCESSOR_CONFIG: dict[str, Any] = {
    "auto_map": {
        "AutoImageProcessor": "jinaai/jina-clip-implementation--processing_clip.JinaCLIPImageProcessor",
        "AutoProcessor": "jinaai/jina-clip-implementation--processing_clip.JinaCLIPProcessor",
    },
    "fill_color": 0,
    "image_processor_type": "JinaCLIPImageProcessor",
    "interpolation": "bicubic",
    "mean": [0.48145466, 0.4578275, 0.40821073],
    "processor_class": "JinaCLIPProcessor",
    "resize_mode": "shortest",
    "size": IMAGE_SIZE,
    "std": [0.26862954, 0.26130258, 0.27577711],
}


def write_config(folder: Path) -> None:
    """Write `config.json` and `preprocessor_config.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in (("config.json", CONFIG), ("preprocessor_config.json", PREPROCESSOR_CONFIG)):
        (folder / name).write_text(json.dumps(content, indent=2) + "\n", "utf-8")
