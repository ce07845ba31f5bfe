"""Settings of the two text towers, which the published files keep in other repositories.

Source: the `config.json` of `jinaai/jina-embeddings-v3` and `jinaai/jina-bert-flash-implementation`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import ConfigurationError

COUNTS = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "type_vocab_size",
    "lora_rank",
)
"""Settings that are positive integers."""


@dataclass(frozen=True, kw_only=True)
class TextSettings:
    """What the text tower needs to know, after the overrides of `hf_model_config_kwargs`.

    Raises:
        ConfigurationError: a size is not a positive integer, or a factor not a positive number.
    """

    position_embedding_type: str
    """`"rotary"` (v2: plain MLP, low-rank adapters) or `"alibi"` (v1: gated MLP)."""
    vocab_size: int
    """Rows of the word table; may exceed the tokenizer's vocabulary."""
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    type_vocab_size: int
    """Rows of the token type table, of which only row 0 is used."""
    pad_token_id: int
    """Tokens with this id are neither attended to nor pooled."""
    layer_norm_eps: float
    rotary_emb_base: float = 20000.0
    """Base of the rotary frequencies. The class that the published code reads says 10000, the checkpoint 20000."""
    hidden_act: str = "gelu"
    lora_adaptations: tuple[str, ...] = ()
    """Names of the adapters in the checkpoint, in the order in which they are stacked; empty for none."""
    lora_rank: int = 4
    lora_alpha: float = 1.0
    task_instructions: Mapping[str, str] = field(default_factory=dict)
    """Task name to the instruction put in front of the text."""

    def __post_init__(self) -> None:
        for name in COUNTS:
            require_count(f"text_config.hf_model_config_kwargs.{name}", getattr(self, name))
        for name in ("layer_norm_eps", "rotary_emb_base", "lora_alpha"):
            require_number(f"text_config.hf_model_config_kwargs.{name}", getattr(self, name))
        object.__setattr__(self, "lora_adaptations", tuple(self.lora_adaptations or ()))
        object.__setattr__(self, "task_instructions", dict(self.task_instructions or {}))

    @property
    def head_dim(self) -> int:
        return self.hidden_size // self.num_attention_heads

    @property
    def is_alibi(self) -> bool:
        return self.position_embedding_type == "alibi"

    @property
    def lora_scale(self) -> float:
        """Factor of the low-rank product: alpha / rank."""
        return self.lora_alpha / self.lora_rank


XLM_ROBERTA: Mapping[str, Any] = {
    "position_embedding_type": "rotary",
    "vocab_size": 250002,
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
    "type_vocab_size": 1,
    "pad_token_id": 1,
    "layer_norm_eps": 1e-5,
    "rotary_emb_base": 20000.0,
}
"""Settings of `jinaai/jina-embeddings-v3`. Its adapters count only where the overrides name them."""

JINA_BERT: Mapping[str, Any] = {
    "position_embedding_type": "alibi",
    "vocab_size": 30528,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "type_vocab_size": 2,
    "pad_token_id": 0,
    "layer_norm_eps": 1e-12,
}
"""Settings of `jinaai/jina-bert-flash-implementation`."""

TEXT_MODELS: Mapping[str, Mapping[str, Any]] = {
    "jinaai/jina-embeddings-v3": XLM_ROBERTA,
    "jinaai/jina-bert-flash-implementation": JINA_BERT,
    "jinaai/jina-bert-v2-base-en-flash": JINA_BERT,
}
"""The text models that the published configurations refer to."""


def require_count(name: str, value: object) -> None:
    """Raise `ConfigurationError`, naming the setting, unless `value` is a positive integer."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigurationError(f"{name}: a positive integer expected, not {value!r}")


def require_number(name: str, value: object) -> None:
    """Raise `ConfigurationError`, naming the setting, unless `value` is a positive number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise ConfigurationError(f"{name}: a positive number expected, not {value!r}")
