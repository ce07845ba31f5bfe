"""Tokenizer and image processor of a checkpoint in one object."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from transformers import AutoTokenizer, BatchFeature, ProcessorMixin
from transformers.processing_utils import TextKwargs

from ..errors import ConfigurationError, InputError
from ..settings import reject_unknown
from .configuration_jina_clip import JinaClipConfig
from .image_processing_jina_clip import JinaCLIPImageProcessor
from .image_steps import KEYWORDS as IMAGE_KEYWORDS
from .settings_files import name_faults

MAX_LENGTH = 8192
"""Longest text in tokens. The published `encode_text` stops at 512 unless told otherwise; the models go up to here."""

TEXT_DEFAULTS: Mapping[str, Any] = {
    "truncation": True,
    "padding": True,
    "return_token_type_ids": False,
    "return_attention_mask": True,
}
"""Set on every call, because a `tokenizer.json` may have leftovers from training."""

TEXT_KEYWORDS = frozenset(TextKwargs.__annotations__) - {
    "is_split_into_words",
    "text_pair",
    "text_pair_target",
    "text_target",
}
"""The framework's keywords of tokenizers that make sense for single texts."""

NESTED = ("text_kwargs", "images_kwargs", "common_kwargs", "audio_kwargs", "videos_kwargs")
"""Keywords that hold keywords, as in the framework's own processors. Those for audio and video concern no input of a
call; libraries that serve many models (sentence-transformers) pass them always.
"""

IGNORED_OPTIONS = ("_from_auto", "_from_pipeline", "config", "fix_mistral_regex", "trust_remote_code", "use_fast")
"""Options of the auto classes that mean nothing here, or that are set below."""


# Named as in the published files, which is how the auto classes find it; `JinaClipProcessor` is our spelling.
class JinaCLIPProcessor(ProcessorMixin):  # type: ignore[misc]  # transformers is untyped here
    """Texts to `input_ids` and `attention_mask`, images to `pixel_values`.

    `task_instructions` maps the model's tasks to the text put in front of a query, from `config.json`;
    `default_task` is what `task=None` means (None in both published models). Truncation and padding are set on every
    call: the `tokenizer.json` of v2 has a truncation and a padding to 77 tokens left over from training.
    """

    def __init__(
        self,
        image_processor: JinaCLIPImageProcessor,
        tokenizer: Any,
        task_instructions: Mapping[str, str] | None = None,
        default_task: str | None = None,
    ) -> None:
        self.task_instructions = dict(task_instructions or {})
        self.default_task = default_task
        super().__init__(image_processor, tokenizer)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | os.PathLike[str], **kwargs: Any) -> JinaCLIPProcessor:
        """Read the tokenizer, `preprocessor_config.json` and the tasks in `config.json` of a folder or Hub id.

        Takes the framework's download options. Code in a checkpoint is never run, and the tokenizer is used as it is:
        `fix_mistral_regex`, which some versions of the framework suggest for it, would change ids.
        """
        source = pretrained_model_name_or_path
        options = {name: value for name, value in kwargs.items() if name not in IGNORED_OPTIONS}
        text_config = JinaClipConfig.from_pretrained(source, **options).text_config
        with name_faults(source, "preprocessor_config.json"):
            image_processor = JinaCLIPImageProcessor.from_pretrained(source, **options)
        return cls(
            image_processor,
            _read_tokenizer(source, options),
            text_config.settings.task_instructions,
            text_config.default_instruction_task,
        )

    def save_pretrained(self, save_directory: str | os.PathLike[str], **kwargs: Any) -> list[str]:
        """Write the tokenizer's files and `preprocessor_config.json`, as published; tasks are in the model's config."""
        return [
            *self.tokenizer.save_pretrained(save_directory, **kwargs),
            *self.image_processor.save_pretrained(save_directory, **kwargs),
        ]

    def __call__(
        self,
        images: Any = None,
        text: str | Sequence[str] | None = None,
        *,
        task: str | None = None,
        **options: Any,
    ) -> BatchFeature:
        """Prepare texts, images or both for `JinaClipModel`.

        `options` are the framework's keywords for tokenizers (`padding`, `truncation`, `max_length`, …) and image
        processors (`do_rescale`, …), flat or in `text_kwargs`, `images_kwargs` and `common_kwargs`. By default texts
        are cut from the right after 8192 tokens (or the tokenizer's `model_max_length`, if that is less), special
        tokens and instruction included, and padded to the longest.

        Raises:
            ConfigurationError: an unknown task or keyword.
            ImageError: a bad image; `index` says which.
        """
        if images is None and text is None:
            raise InputError("pass text, images or both")
        for_text, for_images = split_keywords(options)
        data: dict[str, Any] = {}
        if text is not None:
            instruction = self.instruction(task)
            texts = instruction + text if isinstance(text, str) else [instruction + one for one in text]
            data |= self.tokenizer(texts, **_complete(for_text, self.tokenizer.model_max_length))
        if images is not None:
            data |= self.image_processor(images, **for_images)
        return BatchFeature(data)

    def instruction(self, task: str | None) -> str:
        """The text that `task` puts in front of a query, empty for no task. `ConfigurationError` for an unknown one."""
        task = self.default_task if task is None else task
        if task is None:
            return ""
        if task not in self.task_instructions:
            known = ", ".join(map(repr, self.task_instructions)) or "none"
            raise ConfigurationError(f"unknown task {task!r}; this model's tasks: {known}")
        return self.task_instructions[task]

    @property
    def model_input_names(self) -> list[str]:
        return ["input_ids", "attention_mask", "pixel_values"]


JinaClipProcessor = JinaCLIPProcessor


def _read_tokenizer(source: str | os.PathLike[str], options: dict[str, Any]) -> Any:
    with name_faults(source, "the tokenizer"):
        tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False, fix_mistral_regex=False, **options)
        # A configuration may name any class that the framework has, some without the fast tokenizer behind them.
        if getattr(tokenizer, "backend_tokenizer", None) is None:
            raise ConfigurationError(f"{type(tokenizer).__name__} has no fast tokenizer")
        return tokenizer


def split_keywords(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The keywords of a call that are for texts, and those for images; a None is left out. `ConfigurationError`."""
    flat = {name: value for name, value in options.items() if name not in NESTED}
    reject_unknown(flat, {*TEXT_KEYWORDS, *IMAGE_KEYWORDS, *NESTED}, where="JinaClipProcessor")
    flat |= dict(options.get("common_kwargs") or {})
    text = {name: value for name, value in flat.items() if name in TEXT_KEYWORDS}
    images = {name: value for name, value in flat.items() if name in (*IMAGE_KEYWORDS, "return_tensors")}
    text |= dict(options.get("text_kwargs") or {})
    images |= dict(options.get("images_kwargs") or {})
    return _given(text), _given(images)


def _given(keywords: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in keywords.items() if value is not None}


def _complete(keywords: Mapping[str, Any], limit: int) -> dict[str, Any]:
    """The keywords for the tokenizer, with the defaults for what they do not say; `limit` is the tokenizer's own."""
    # Libraries on top shorten texts by setting the tokenizer's limit: `max_seq_length` of sentence-transformers.
    merged = {**TEXT_DEFAULTS, "max_length": min(MAX_LENGTH, limit), **keywords}
    if merged["truncation"] in (False, "do_not_truncate") and merged["padding"] != "max_length":
        del merged["max_length"]  # it would have no effect, of which the framework warns
    return merged
