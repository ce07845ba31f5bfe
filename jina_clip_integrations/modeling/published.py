"""What the published `config.json` files say, as far as the models read it.

Source: `config.json` of `jinaai/jina-clip-v1` and `jinaai/jina-clip-v2`. From these a model of the published size can
be built where its weights are not at hand: to measure a machine, to count tensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PUBLISHED: Mapping[str, Mapping[str, Any]] = {
    "jina-clip-v1": {
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
    "jina-clip-v2": {
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
"""Name of a model to the parts of its configuration that change the model."""
