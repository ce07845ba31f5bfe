"""The text tower of v2 against the framework's own `jina_embeddings_v3`, which is that tower without adapters."""

from __future__ import annotations

import pytest
import torch

from jina_clip_integrations.modeling import JinaClipTextConfig
from jina_clip_integrations.modeling.text_tower import TextTower


def test_against_jina_embeddings_v3() -> None:
    reference = pytest.importorskip("transformers.models.jina_embeddings_v3", reason="newer than this transformers")
    sizes = {
        "vocab_size": 99, "hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 100,
    }  # fmt: skip
    config = JinaClipTextConfig(embed_dim=64, hf_model_name_or_path="jinaai/jina-embeddings-v3", **sizes)
    tower = TextTower(config).eval()
    other = reference.JinaEmbeddingsV3Model(reference.JinaEmbeddingsV3Config(**sizes), add_pooling_layer=False).eval()
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.normal_(std=0.2)
        _copy_weights(other, tower)
        ids = torch.randint(2, 99, (3, 700), generator=torch.Generator().manual_seed(0))
        ids[1, 300:] = 1
        expected = other(input_ids=ids, attention_mask=(ids != 1).long()).last_hidden_state
        actual = tower(ids).last_hidden_state
    assert ((actual - expected) * (ids != 1)[..., None]).abs().max() < 1e-4


def _copy_weights(source: torch.nn.Module, target: TextTower) -> None:
    given = source.state_dict()
    state = {
        f"{name}.weight": given[f"embeddings.{name}.weight"] for name in ("word_embeddings", "token_type_embeddings")
    }
    for kind in ("weight", "bias"):
        state[f"norm.{kind}"] = given[f"embeddings.LayerNorm.{kind}"]
        for i in range(len(target.blocks)):
            theirs, ours = f"layers.{i}", f"blocks.{i}"
            qkv = [given[f"{theirs}.self_attn.{x}_proj.{kind}"] for x in "qkv"]
            state[f"{ours}.attn.qkv.{kind}"] = torch.cat(qkv)
            state[f"{ours}.attn.out.{kind}"] = given[f"{theirs}.self_attn.o_proj.{kind}"]
            state[f"{ours}.mlp.up.{kind}"] = given[f"{theirs}.mlp.fc1.{kind}"]
            state[f"{ours}.mlp.down.{kind}"] = given[f"{theirs}.mlp.fc2.{kind}"]
            state[f"{ours}.norm1.{kind}"] = given[f"{theirs}.post_attention_layernorm.{kind}"]
            state[f"{ours}.norm2.{kind}"] = given[f"{theirs}.post_mlp_layernorm.{kind}"]
    target.load_state_dict(state)
