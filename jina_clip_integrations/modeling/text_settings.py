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
            most = MAX_LAYERS if name == "num_hidden_layers" else MAX_COUNT
            require_count(f"text_config.hf_model_config_kwargs.{name}", getattr(self, name), most=most)
        if type(self.pad_token_id) is not int or not 0 <= self.pad_token_id < self.vocab_size:
            raise ConfigurationError(
                f"text_config.hf_model_config_kwargs.pad_token_id: a token below {self.vocab_size} expected, "
                f"not {self.pad_token_id!r:.100}"
            )
        for name in ("layer_norm_eps", "rotary_emb_base", "lora_alpha"):
            require_number(f"text_config.hf_model_config_kwargs.{name}", getattr(self, name))
        require_strings("text_config.hf_model_config_kwargs.lora_adaptations", self.lora_adaptations or ())
        instructions: Any = self.task_instructions or {}
        if not isinstance(instructions, Mapping):
            raise ConfigurationError("text_config.hf_model_config_kwargs.task_instructions: a mapping expected")
        require_strings("text_config.hf_model_config_kwargs.task_instructions", list(instructions.values()))
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


MAX_COUNT = 10**8
"""Largest size that any tower can have, so that no list of its tensors grows without bound."""

MAX_NUMBER = 1e15
"""Bound of all other numbers: a factor or an epsilon beyond it makes no vector."""

MAX_LAYERS = 1000
"""The same for layers; v2 has 24."""


def require_count(name: str, value: object, *, most: int = MAX_COUNT) -> None:
    """Raise `ConfigurationError`, naming the setting, unless `value` is a positive integer up to `most`."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise ConfigurationError(f"{name}: a positive integer expected, at most {most}, not {value!r:.100}")


def require_number(name: str, value: object) -> None:
    """Raise `ConfigurationError`, naming the setting, unless `value` is a positive, finite number."""
    if not is_number(value) or not value > 0:  # type: ignore[operator]
        raise ConfigurationError(f"{name}: a positive number expected, not {value!r:.100}")


def is_number(value: object) -> bool:
    """Whether `value` is a finite number of a size that settings have."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < MAX_NUMBER


def require_strings(name: str, values: Any) -> None:
    """Raise `ConfigurationError`, naming the setting, unless `values` is a sequence of strings."""
    if not isinstance(values, list | tuple) or not all(
        isinstance(value, str) and _is_unicode(value) for value in values
    ):
        raise ConfigurationError(f"{name}: strings expected, not {values!a:.100}")


def _is_unicode(text: str) -> bool:
    """Whether there is no lone surrogate, which JSON can spell and no tokenizer takes."""
    return not any("\ud800" <= character <= "\udfff" for character in text)
