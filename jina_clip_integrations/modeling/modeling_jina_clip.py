"""`JinaClipModel`: both towers of jina-clip-v1 and v2 in plain PyTorch, from the published files."""

from __future__ import annotations

import os
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the customary name
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.models.clip.modeling_clip import CLIPOutput
from transformers.utils.generic import can_return_tuple

from ..errors import CheckpointError, ConfigurationError, InputError
from .checkpoint import Checkpoint, find_weights, published_state
from .configuration_jina_clip import JinaClipConfig
from .encode import EncodeMethods, Origin
from .text_tower import TextTower
from .vision_tower import VisionTower

DOWNLOAD_OPTIONS = ("cache_dir", "force_download", "local_files_only", "proxies", "revision", "subfolder", "token")

UNSUPPORTED_OPTIONS = ("gguf_file", "ignore_mismatched_sizes", "key_mapping", "state_dict", "variant")
"""Options of the framework that would read other weights, or fill gaps with random ones."""

INIT_STD = 0.02
"""Spread of freshly initialised weights, for training from scratch."""


class JinaClipModel(EncodeMethods, PreTrainedModel):  # type: ignore[misc]  # transformers is untyped here
    """Text and image encoder with one vector space.

    See `encode_text` and `encode_image` for what people have, `forward`, `get_text_features` and `get_image_features`
    for token ids and pixels.
    """

    config_class = JinaClipConfig
    base_model_prefix = "jina_clip"
    input_modalities = ("text", "image")
    _supports_sdpa = True
    _no_split_modules = ("TextBlock", "VisionBlock")

    def __init__(self, config: JinaClipConfig) -> None:
        config.check()
        super().__init__(config)
        self.text_model = TextTower(config.text_config)
        self.vision_model = VisionTower(config.vision_config)
        self.logit_scale = nn.Parameter(torch.tensor(float(config.logit_scale_init_value)))
        self.post_init()

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str] | None,
        *model_args: Any,
        config: JinaClipConfig | str | os.PathLike[str] | None = None,
        dtype: str | torch.dtype | None = None,
        **kwargs: Any,
    ) -> Any:
        """Load a published checkpoint, a folder or a Hub id, as the framework's own method does.

        Takes the framework's arguments. `dtype` None or `"auto"` is the type named in `config.json`. The weights are
        read by `checkpoint`, which merges the adapters, and handed to the framework as a finished state. Raises
        `CheckpointError` unless the file holds exactly the weights of the configuration, `ConfigurationError` for a
        model or an option that is not implemented.
        """
        source = pretrained_model_name_or_path
        if source is None:
            return super().from_pretrained(None, *model_args, config=config, dtype=dtype, **kwargs)
        for option in UNSUPPORTED_OPTIONS:
            if kwargs.pop(option, None):
                raise ConfigurationError(f"{option} cannot be used with a Jina CLIP checkpoint")
        download = {name: kwargs.pop(name) for name in DOWNLOAD_OPTIONS if kwargs.get(name) is not None}
        if kwargs.pop("use_safetensors", None) is False:
            raise CheckpointError("use_safetensors=False: pickled weights are not read, because unpickling runs code")
        legacy_dtype = kwargs.pop("torch_dtype", None)
        wanted = _float_type(legacy_dtype if dtype is None else dtype)
        settings: Any = config
        if not isinstance(config, JinaClipConfig):
            settings, kwargs = _read_config(config or source, {**download, **kwargs})
        device = _single_device(kwargs.get("device_map"))
        if device is not None:
            kwargs["device_map"] = None
        with Checkpoint(find_weights(source, **download)) as checkpoint:
            wanted = wanted or _float_type(settings.dtype) or checkpoint.dtype()
            state = checkpoint.read(settings, wanted)
        model = super().from_pretrained(None, *model_args, config=settings, state_dict=state, dtype=wanted, **kwargs)
        loaded = model[0] if isinstance(model, tuple) else model  # a tuple with `output_loading_info`
        loaded.name_or_path = loaded.config.name_or_path = str(source)
        loaded._origin = Origin(source, download)
        if device is not None:
            loaded.to(device)
        return model

    def save_pretrained(
        self, save_directory: str | os.PathLike[str], *, state_dict: dict[str, Tensor] | None = None, **kwargs: Any
    ) -> None:
        """Save as the framework's own method does, under the published names, adapters merged."""
        state = published_state(self.config, state_dict or self.state_dict())
        super().save_pretrained(save_directory, state_dict=state, **kwargs)

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=INIT_STD * self.config.initializer_factor)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, VisionTower):
            nn.init.normal_(module.cls_token, std=INIT_STD)
            nn.init.normal_(module.pos_embed, std=INIT_STD)

    @can_return_tuple  # type: ignore[untyped-decorator]
    def get_text_features(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, output_hidden_states: bool = False
    ) -> BaseModelOutputWithPooling:
        """Encode token ids `(n, length)`; `pooler_output` `(n, d)` float32 is the raw vector, not normalised."""
        return self.text_model(input_ids, attention_mask, output_hidden_states)

    @can_return_tuple  # type: ignore[untyped-decorator]
    def get_image_features(
        self, pixel_values: Tensor, ids_keep: Tensor | None = None, output_hidden_states: bool = False
    ) -> BaseModelOutputWithPooling:
        """Encode pixels `(n, 3, S, S)`; `pooler_output` `(n, d)` float32 is the raw vector, not normalised.

        `ids_keep` `(n, k)` restricts the computation to those patches, for training.
        """
        return self.vision_model(pixel_values, ids_keep, output_hidden_states)

    @can_return_tuple  # type: ignore[untyped-decorator]
    def forward(
        self,
        input_ids: Tensor | None = None,
        pixel_values: Tensor | None = None,
        attention_mask: Tensor | None = None,
        return_loss: bool | None = None,
        ids_keep: Tensor | None = None,
        output_hidden_states: bool = False,
    ) -> CLIPOutput:
        """Unit vectors of texts `(n, length)` and images `(m, 3, S, S)` and, if both are given, their similarities.

        `logits_per_text` `(n, m)` is `exp(logit_scale)` times the cosines, `logits_per_image` its transpose. `loss` is
        the symmetric cross-entropy of CLIP (Radford et al., 2021) if `return_loss`, for n = m matching pairs.
        """
        if input_ids is None and pixel_values is None:
            raise InputError("pass input_ids, pixel_values or both")
        text: Any = None
        image: Any = None
        text_embeds = image_embeds = per_text = loss = None
        if input_ids is not None:
            text = self.text_model(input_ids, attention_mask, output_hidden_states)
            text_embeds = F.normalize(text.pooler_output, dim=-1)
        if pixel_values is not None:
            image = self.vision_model(pixel_values, ids_keep, output_hidden_states)
            image_embeds = F.normalize(image.pooler_output, dim=-1)
        if text_embeds is not None and image_embeds is not None:
            per_text = self.logit_scale.float().exp() * text_embeds @ image_embeds.to(text_embeds.device).t()
            loss = contrastive_loss(per_text) if return_loss else None
        return CLIPOutput(
            loss=loss,
            logits_per_image=None if per_text is None else per_text.t(),
            logits_per_text=per_text,
            text_embeds=text_embeds,
            image_embeds=image_embeds,
            text_model_output=text,
            vision_model_output=image,
        )


def _read_config(source: str | os.PathLike[str], options: dict[str, Any]) -> tuple[JinaClipConfig, dict[str, Any]]:
    """The configuration in a folder, file or Hub id, with the options that it has applied and those left over."""
    try:
        config, unused = JinaClipConfig.from_pretrained(source, **options, return_unused_kwargs=True)
    except OSError as error:
        raise CheckpointError(
            f"{source} is neither a checkpoint folder nor a Hub id from which config.json can be read: {error}"
        ) from error
    return config, unused


def _single_device(device_map: Any) -> torch.device | None:
    """The device of a `device_map` that names only one; anything else is left to transformers and accelerate."""
    if isinstance(device_map, dict) and set(device_map) == {""}:
        device_map = device_map[""]
    if not isinstance(device_map, str | int | torch.device):
        return None
    try:
        return torch.device(device_map)
    except RuntimeError:  # "auto" and other strategies
        return None


def _float_type(dtype: Any) -> torch.dtype | None:
    """A floating type by name or as it is, None for None and `"auto"`."""
    if dtype is None or dtype == "auto":
        return None
    found = getattr(torch, dtype.removeprefix("torch."), None) if isinstance(dtype, str) else dtype
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        raise ConfigurationError(f"dtype: {dtype!r} is not a floating type")
    return found


def contrastive_loss(logits_per_text: Tensor) -> Tensor:
    """Mean of the cross-entropies of rows and columns of `(n, n)` logits whose diagonal holds the matching pairs."""
    target = torch.arange(len(logits_per_text), device=logits_per_text.device)
    return (F.cross_entropy(logits_per_text, target) + F.cross_entropy(logits_per_text.t(), target)) / 2
