"""Configuration of Jina CLIP, read from the published `config.json` as it is.

The published file keeps most settings of the text tower in another repository, named by `hf_model_name_or_path`, with
overrides in `hf_model_config_kwargs`. Those settings are built in here (`text_settings`), so nothing is fetched.
Everything that changes the arithmetic and is not implemented is refused.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, ClassVar

from transformers import PretrainedConfig

from ..errors import ConfigurationError
from .settings_files import check_files, name_faults
from .text_settings import (
    COUNTS,
    MAX_COUNT,
    MAX_LAYERS,
    TEXT_MODELS,
    TextSettings,
    is_number,
    require_count,
    require_number,
)

_SETTING_NAMES = frozenset(f.name for f in fields(TextSettings))
_BY_NAME = ("layer_norm_eps", *(name for name in COUNTS if name != "lora_rank"))

FOREIGN_SETTINGS = ("quantization_config", "compression_config")
"""Settings that make the framework load the weights in a way of its own."""

IGNORED_SETTINGS = ("attn_implementation", "_attn_implementation", "experts_implementation", "kernel_config")
"""Settings that are the caller's to make: the framework takes some values for a repository whose code it is to run."""


class JinaClipTextConfig(PretrainedConfig):  # type: ignore[misc]  # transformers is untyped here
    """The `text_config` of a Jina CLIP model: which text model, and what differs from it.

    `settings` is the result. A setting of the tower passed by name (`hidden_size=64`) is the same as that entry in
    `hf_model_config_kwargs`, which is where the published format keeps it.

    Raises:
        ConfigurationError: the text model is unknown, or a size is not a positive integer.
    """

    model_type = "jina_clip_text"
    base_config_key = "text_config"

    def __init__(
        self,
        *,
        embed_dim: int = 768,
        hf_model_name_or_path: str = "jinaai/jina-bert-flash-implementation",
        hf_model_config_kwargs: dict[str, Any] | None = None,
        default_instruction_task: str | None = None,
        default_lora_task: str | None = None,
        pooler_type: str | None = "mean_pooler",
        proj_type: str | None = None,
        proj_bias: bool = False,
        **kwargs: Any,
    ) -> None:
        if not isinstance(hf_model_config_kwargs, Mapping | None):
            raise ConfigurationError(
                f"text_config.hf_model_config_kwargs: a mapping expected, not {hf_model_config_kwargs!r}"
            )
        named = {key: kwargs.pop(key) for key in _BY_NAME if key in kwargs}
        self.embed_dim = embed_dim
        self.hf_model_name_or_path = hf_model_name_or_path
        self.hf_model_config_kwargs = {**(hf_model_config_kwargs or {}), **named}
        self.default_instruction_task = default_instruction_task
        self.default_lora_task = default_lora_task
        self.pooler_type = pooler_type
        self.proj_type = proj_type
        self.proj_bias = proj_bias
        _ = self.settings  # refuses what no tower can have, before the framework's own validation reads it
        super().__init__(**kwargs)

    @property
    def settings(self) -> TextSettings:
        """The text tower's settings: the built-in table with the overrides on top."""
        table = TEXT_MODELS.get(self.hf_model_name_or_path)
        if table is None:
            raise ConfigurationError(
                f"text_config.hf_model_name_or_path: {self.hf_model_name_or_path!r} is not a known text model; "
                f"known: {', '.join(TEXT_MODELS)}"
            )
        overrides = {k: v for k, v in self.hf_model_config_kwargs.items() if k in _SETTING_NAMES and v is not None}
        return TextSettings(**{**table, **overrides})

    @property
    def adapter(self) -> int | None:
        """Index of the adapter that is merged into the weights, None where there is none."""
        adaptations = self.settings.lora_adaptations
        if not adaptations or self.default_lora_task is None:
            return None
        if self.default_lora_task not in adaptations:
            raise ConfigurationError(
                f"text_config.default_lora_task: {self.default_lora_task!r} is not one of {list(adaptations)}"
            )
        return adaptations.index(self.default_lora_task)

    @property
    def hidden_size(self) -> int:
        return self.settings.hidden_size

    @property
    def vocab_size(self) -> int:
        return self.settings.vocab_size

    @property
    def num_hidden_layers(self) -> int:
        return self.settings.num_hidden_layers

    @property
    def num_attention_heads(self) -> int:
        return self.settings.num_attention_heads

    @property
    def intermediate_size(self) -> int:
        return self.settings.intermediate_size

    def check(self) -> None:
        """Raise `ConfigurationError` unless this text tower is one of those implemented."""
        settings, where = self.settings, "text_config.hf_model_config_kwargs"
        table = TEXT_MODELS[self.hf_model_name_or_path]
        _require(f"{where}.position_embedding_type", settings.position_embedding_type, table["position_embedding_type"])
        _require(f"{where}.hidden_act", settings.hidden_act, "gelu")
        _require("text_config.pooler_type", self.pooler_type, "mean_pooler", None)
        _require("text_config.proj_type", self.proj_type, None)
        _require_heads("text_config", settings.hidden_size, settings.head_dim, settings.num_attention_heads, even=2)
        _require("text_config.embed_dim", self.embed_dim, settings.hidden_size)
        if settings.is_alibi and settings.lora_adaptations:
            raise ConfigurationError(f"{where}.lora_adaptations: this text model has no adapters")
        if self.default_instruction_task not in (None, *settings.task_instructions):
            raise ConfigurationError(
                f"text_config.default_instruction_task: {self.default_instruction_task!r} has no instruction; "
                f"known: {list(settings.task_instructions)}"
            )
        _ = self.adapter


class JinaClipVisionConfig(PretrainedConfig):  # type: ignore[misc]  # transformers is untyped here
    """The `vision_config` of a Jina CLIP model. Defaults are what the published code takes for an absent key."""

    model_type = "jina_clip_vision"
    base_config_key = "vision_config"

    def __init__(
        self,
        *,
        embed_dim: int = 768,
        width: int = 768,
        image_size: int = 224,
        patch_size: int = 16,
        layers: int = 12,
        head_width: int = 64,
        mlp_ratio: float = 4.0,
        ls_init_value: float | None = None,
        patch_dropout: float = 0.0,
        qkv_bias: bool = True,
        post_norm: bool = False,
        rope_embeddings: bool = False,
        pt_hw_seq_len: int = 16,
        intp_freq: bool = False,
        naive_swiglu: bool = False,
        subln: bool = False,
        drop_path_rate: float = 0.0,
        proj_type: str | None = None,
        **kwargs: Any,
    ) -> None:
        self.embed_dim = embed_dim
        self.width = width
        self.image_size = image_size
        self.patch_size = patch_size
        self.layers = layers
        self.head_width = head_width
        self.mlp_ratio = mlp_ratio
        self.ls_init_value = ls_init_value
        self.patch_dropout = patch_dropout
        self.qkv_bias = qkv_bias
        self.post_norm = post_norm
        self.rope_embeddings = rope_embeddings
        self.pt_hw_seq_len = pt_hw_seq_len
        self.intp_freq = intp_freq
        self.naive_swiglu = naive_swiglu
        self.subln = subln
        self.drop_path_rate = drop_path_rate
        self.proj_type = proj_type
        super().__init__(**kwargs)

    @property
    def hidden_size(self) -> int:
        return self.width

    @property
    def num_hidden_layers(self) -> int:
        return self.layers

    @property
    def num_attention_heads(self) -> int:
        return self.width // self.head_width

    @property
    def intermediate_size(self) -> int:
        """Width inside the MLP: `int(width * mlp_ratio)`, 2730 for v2."""
        return int(self.width * self.mlp_ratio)

    @property
    def grid_size(self) -> int:
        """Patches per side. Pixels beyond the last whole patch are not seen."""
        return self.image_size // self.patch_size

    def check(self) -> None:
        """Raise `ConfigurationError` unless this vision tower is the one implemented."""
        for name in ("embed_dim", "width", "image_size", "patch_size", "layers", "head_width", "pt_hw_seq_len"):
            require_count(
                f"vision_config.{name}", getattr(self, name), most=MAX_LAYERS if name == "layers" else MAX_COUNT
            )
        require_number("vision_config.mlp_ratio", self.mlp_ratio)
        for name in ("qkv_bias", "rope_embeddings", "naive_swiglu", "subln"):
            _require(f"vision_config.{name}", getattr(self, name), True)
        for name in ("ls_init_value", "proj_type"):
            _require(f"vision_config.{name}", getattr(self, name), None)
        _require("vision_config.post_norm", self.post_norm, False)
        _require("vision_config.embed_dim", self.embed_dim, self.width)
        _require_heads("vision_config", self.width, self.head_width, self.num_attention_heads, even=4)
        if self.grid_size < 1:
            raise ConfigurationError(f"vision_config.image_size: {self.image_size} is less than one patch")
        if not self.intp_freq:
            _require("vision_config.pt_hw_seq_len", self.pt_hw_seq_len, self.grid_size)


class JinaClipConfig(PretrainedConfig):  # type: ignore[misc]  # transformers is untyped here
    """Configuration of `JinaClipModel`; reads and writes the published `config.json`. Unknown keys are kept.

    `from_pretrained` and `from_dict` raise `ConfigurationError` for a model that is not implemented.
    """

    model_type = "jina_clip"
    sub_configs: ClassVar[dict[str, type]] = {
        "text_config": JinaClipTextConfig,
        "vision_config": JinaClipVisionConfig,
    }
    has_no_defaults_at_init = False

    def __init__(
        self,
        *,
        text_config: dict[str, Any] | JinaClipTextConfig | None = None,
        vision_config: dict[str, Any] | JinaClipVisionConfig | None = None,
        add_projections: bool = False,
        projection_dim: int = 768,
        logit_scale_init_value: float = 2.6592,
        initializer_factor: float = 1.0,
        matryoshka_dimensions: list[int] | None = None,
        truncate_dim: int | None = None,
        **kwargs: Any,
    ) -> None:
        # The sub-configurations come first: the base class hands attention and dtype settings on to them.
        self.text_config = _sub_config(JinaClipTextConfig, text_config)
        self.vision_config = _sub_config(JinaClipVisionConfig, vision_config)
        self.add_projections = add_projections
        self.projection_dim = projection_dim
        self.logit_scale_init_value = logit_scale_init_value
        self.initializer_factor = initializer_factor
        self.matryoshka_dimensions = matryoshka_dimensions
        self.truncate_dim = truncate_dim
        super().__init__(**kwargs)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | os.PathLike[str], **kwargs: Any) -> Any:
        """As in the base class. A file that says what cannot be is a `CheckpointError` and a `ConfigurationError`."""
        check_files(pretrained_model_name_or_path)
        with name_faults(pretrained_model_name_or_path, "config.json"):
            return super().from_pretrained(pretrained_model_name_or_path, **kwargs)

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """As in the base class, refusing a model that is not implemented."""
        if "model_type" not in config_dict:  # the framework hands on an empty configuration where there is no file
            raise ConfigurationError("there is no config.json, or it has no model_type; not a Jina CLIP checkpoint")
        if config_dict["model_type"] != cls.model_type:
            found = config_dict["model_type"]
            raise ConfigurationError(f"this is a {found!r} model; Jina CLIP has model_type {cls.model_type!r}")
        for name in FOREIGN_SETTINGS:
            if config_dict.get(name) is not None:
                raise ConfigurationError(f"{name}: not implemented for Jina CLIP")
        kept = {key: value for key, value in config_dict.items() if key not in IGNORED_SETTINGS}
        result = super().from_dict(kept, **kwargs)
        (result[0] if isinstance(result, tuple) else result).check()  # a tuple with `return_unused_kwargs`
        return result

    @property
    def embed_dim(self) -> int:
        """Full width of the vectors of both towers."""
        return int(self.vision_config.embed_dim)

    def check(self) -> None:
        """Raise `ConfigurationError` unless this model is implemented."""
        _require("add_projections", self.add_projections, False)
        for name in ("logit_scale_init_value", "initializer_factor"):
            if not is_number(getattr(self, name)):
                raise ConfigurationError(f"{name}: a number expected, not {getattr(self, name)!r:.100}")
        self.text_config.check()
        self.vision_config.check()
        _require("text_config.embed_dim", self.text_config.embed_dim, self.vision_config.embed_dim)


def _sub_config(cls: type, value: Any) -> Any:
    if value is None or isinstance(value, Mapping):
        return cls(**(value or {}))
    if isinstance(value, cls):
        return value
    raise ConfigurationError(f"{cls.__name__} or a mapping expected, not {type(value).__name__}")


def _require(name: str, value: object, *supported: object) -> None:
    if value not in supported:
        raise ConfigurationError(f"{name}: {value!r} is not implemented, only {' or '.join(map(repr, supported))}")


def _require_heads(name: str, width: int, head: int, heads: int, *, even: int) -> None:
    if heads < 1 or head * heads != width or head % even:
        raise ConfigurationError(f"{name}: {width} is not a whole number of heads of a size divisible by {even}")
