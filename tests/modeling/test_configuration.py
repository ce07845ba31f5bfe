"""The published `config.json` is read as it is; what is not implemented is refused."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from jina_clip_integrations.errors import ConfigurationError
from jina_clip_integrations.modeling import JinaClipConfig, JinaClipModel, JinaClipTextConfig, JinaClipVisionConfig

GOLDEN = Path(__file__).parents[1] / "golden"


def published(version: str) -> dict[str, Any]:
    settings: dict[str, Any] = json.loads((GOLDEN / f"config-{version}.json").read_text(encoding="utf-8"))
    return settings


def test_v1() -> None:
    config = JinaClipConfig.from_pretrained(GOLDEN / "config-v1.json")
    text, vision = config.text_config.settings, config.vision_config
    assert (text.hidden_size, text.num_hidden_layers, text.num_attention_heads, text.head_dim) == (768, 12, 12, 64)
    assert (text.vocab_size, text.type_vocab_size, text.intermediate_size) == (30528, 2, 3072)
    assert (text.layer_norm_eps, text.pad_token_id, text.is_alibi) == (1e-12, 0, True)
    assert (vision.grid_size, vision.intermediate_size, vision.num_attention_heads) == (14, 2048, 12)
    assert config.text_config.adapter is None
    assert config.embed_dim == 768
    assert config.matryoshka_dimensions is None


def test_v2() -> None:
    config = JinaClipConfig.from_pretrained(GOLDEN / "config-v2.json")
    text, vision = config.text_config.settings, config.vision_config
    assert (text.hidden_size, text.num_hidden_layers, text.num_attention_heads, text.head_dim) == (1024, 24, 16, 64)
    assert (text.vocab_size, text.type_vocab_size, text.intermediate_size) == (250002, 1, 4096)
    assert (text.layer_norm_eps, text.pad_token_id, text.is_alibi) == (1e-5, 1, False)
    assert (text.rotary_emb_base, text.lora_scale, config.text_config.adapter) == (20000.0, 1.0, 0)
    assert text.task_instructions == {"retrieval.query": "Represent the query for retrieving evidence documents: "}
    assert (vision.grid_size, vision.intermediate_size, vision.num_attention_heads) == (36, 2730, 16)
    assert config.matryoshka_dimensions[-1] == config.embed_dim == 1024


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_round_trip(version: str, tmp_path: Path) -> None:
    before = published(version)
    JinaClipConfig.from_pretrained(GOLDEN / f"config-{version}.json").save_pretrained(tmp_path)
    after = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    skipped = {"torch_dtype", "transformers_version", "_name_or_path", "use_bfloat16", "pad_token_id"}
    for part in ("text_config", "vision_config"):
        for key, value in before.pop(part).items():
            if key not in skipped:
                assert after[part][key] == value
    for key, value in before.items():
        # A value that is the default need not be written.
        if key not in skipped and key in after:
            assert after[key] == value
    assert after["dtype"] == before["torch_dtype"]
    again = JinaClipConfig.from_pretrained(tmp_path)
    first = JinaClipConfig.from_pretrained(GOLDEN / f"config-{version}.json")
    assert again.text_config.settings == first.text_config.settings
    assert again.to_dict()["vision_config"] == first.to_dict()["vision_config"]


def test_unknown_keys_are_kept(tmp_path: Path) -> None:
    settings = published("v2")
    settings["something_new"] = {"a": [1, 2]}
    settings["vision_config"]["another"] = 3
    (tmp_path / "config.json").write_text(json.dumps(settings), encoding="utf-8")
    config = JinaClipConfig.from_pretrained(tmp_path)
    assert config.something_new == {"a": [1, 2]}
    assert getattr(config, "transformers.js_config") == {"use_external_data_format": {"model.onnx": True}}
    config.save_pretrained(tmp_path)
    again = JinaClipConfig.from_pretrained(tmp_path)
    assert again.something_new == {"a": [1, 2]}
    assert again.vision_config.another == 3


def test_absent_keys() -> None:
    vision = JinaClipVisionConfig()
    assert (vision.width, vision.layers, vision.patch_size, vision.mlp_ratio) == (768, 12, 16, 4.0)
    assert (vision.subln, vision.rope_embeddings, vision.naive_swiglu, vision.qkv_bias) == (False, False, False, True)
    text = JinaClipTextConfig()
    assert (text.embed_dim, text.adapter, text.settings.is_alibi) == (768, None, True)
    config = JinaClipConfig()
    assert (config.projection_dim, config.logit_scale_init_value) == (768, 2.6592)
    with pytest.raises(ConfigurationError, match="rope_embeddings"):
        JinaClipModel(config)


def test_sizes_by_name_are_overrides() -> None:
    text = JinaClipTextConfig(hidden_size=96, vocab_size=50, hf_model_config_kwargs={"num_hidden_layers": 3})
    assert text.hf_model_config_kwargs == {"num_hidden_layers": 3, "hidden_size": 96, "vocab_size": 50}
    assert (text.hidden_size, text.vocab_size, text.num_hidden_layers) == (96, 50, 3)
    assert (text.num_attention_heads, text.intermediate_size) == (12, 3072)


REFUSED = [
    ("add_projections", True),
    ("text_config.pooler_type", "cls_pooler"),
    ("text_config.proj_type", "linear"),
    ("text_config.embed_dim", 512),
    ("text_config.hf_model_name_or_path", "xlm-roberta-base"),
    ("text_config.default_lora_task", "separation"),
    ("text_config.default_instruction_task", "separation"),
    ("text_config.hf_model_config_kwargs.hidden_act", "gelu_new"),
    ("text_config.hf_model_config_kwargs.position_embedding_type", "alibi"),
    ("text_config.hf_model_config_kwargs.num_hidden_layers", 0),
    ("text_config.hf_model_config_kwargs.num_hidden_layers", "many"),
    ("text_config.hf_model_config_kwargs.num_attention_heads", 7),
    ("text_config.hf_model_config_kwargs.lora_rank", 0),
    ("text_config.hf_model_config_kwargs.lora_alpha", "4"),
    ("text_config.hf_model_config_kwargs.rotary_emb_base", -1.0),
    ("text_config.hf_model_config_kwargs", [1]),
    ("text_config", "v2"),
    ("vision_config.mlp_ratio", None),
    ("vision_config.post_norm", True),
    ("vision_config.subln", False),
    ("vision_config.naive_swiglu", False),
    ("vision_config.rope_embeddings", False),
    ("vision_config.qkv_bias", False),
    ("vision_config.ls_init_value", 1e-5),
    ("vision_config.proj_type", "linear"),
    ("vision_config.embed_dim", 512),
    ("vision_config.head_width", 60),
    ("vision_config.image_size", 7),
    ("vision_config.layers", True),
]


@pytest.mark.parametrize(("key", "value"), REFUSED)
def test_what_is_not_implemented_is_refused(key: str, value: object) -> None:
    settings = copy.deepcopy(published("v2"))
    *path, last = key.split(".")
    target = settings
    for name in path:
        target = target[name]
    target[last] = value
    with pytest.raises(ConfigurationError) as caught:
        JinaClipConfig.from_dict(settings)
    assert (path[0] if path else last).removesuffix("_config") in str(caught.value).lower()


def test_a_grid_that_does_not_fit_its_positions() -> None:
    settings = published("v1")
    settings["vision_config"]["pt_hw_seq_len"] = 16
    with pytest.raises(ConfigurationError, match=r"pt_hw_seq_len: 16 .* only 14"):
        JinaClipConfig.from_dict(settings)


def test_another_kind_of_model() -> None:
    with pytest.raises(ConfigurationError, match="'clip' model"):
        JinaClipConfig.from_dict({"model_type": "clip"})


def test_adapters_of_a_tower_without_any() -> None:
    settings = published("v1")
    settings["text_config"]["hf_model_config_kwargs"]["lora_adaptations"] = ["retrieval.query"]
    with pytest.raises(ConfigurationError, match="no adapters"):
        JinaClipConfig.from_dict(settings)


def test_a_sub_configuration_of_another_type() -> None:
    with pytest.raises(ConfigurationError, match="mapping"):
        JinaClipConfig(text_config=[1])
