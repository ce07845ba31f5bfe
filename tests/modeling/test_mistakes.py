"""Each of the small mistakes that give plausible vectors is caught by the golden values."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the customary name

from jina_clip_integrations.modeling import JinaClipConfig, JinaClipModel, attention, linear, text_rows, vision_tower

Patch = pytest.MonkeyPatch


def _load(golden: Any, **text_overrides: Any) -> Any:
    config = JinaClipConfig.from_pretrained(golden.folder)
    config.text_config.hf_model_config_kwargs |= text_overrides
    return JinaClipModel.from_pretrained(golden.folder, config=config, dtype="float32")


def _with_epsilon(model: Any, tower: str, epsilon: float) -> Any:
    model = copy.deepcopy(model)
    for module in getattr(model, tower).modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = epsilon
    return model


def _tanh_gelu(golden: Any, model: Any, patch: Patch) -> Any:
    patch.setitem(linear.ACTIVATIONS, "gelu", partial(F.gelu, approximate="tanh"))
    return model


def _rotary_base(golden: Any, model: Any, patch: Patch) -> Any:
    return _load(golden, rotary_emb_base=10000.0)


def _adapter_scale(golden: Any, model: Any, patch: Patch) -> Any:
    return _load(golden, lora_alpha=4)


def _sorted_slopes(golden: Any, model: Any, patch: Patch) -> Any:
    right = text_rows.alibi_slopes
    patch.setattr(text_rows, "alibi_slopes", lambda *args: right(*args).sort(descending=True).values)
    return model


def _neighbours_in_text(golden: Any, model: Any, patch: Patch) -> Any:
    patch.setattr(text_rows, "rotate_halves", attention.rotate_interleaved)
    return model


def _halves_in_images(golden: Any, model: Any, patch: Patch) -> Any:
    patch.setattr(vision_tower, "rotate_interleaved", attention.rotate_halves)
    return model


def _unscaled_grid(golden: Any, model: Any, patch: Patch) -> Any:
    model = copy.deepcopy(model)
    config = model.vision_model.config
    config.intp_freq, config.pt_hw_seq_len = not config.intp_freq, 16
    return model


def _epsilon(tower: str, epsilon: float) -> Callable[[Any, Any, Patch], Any]:
    return lambda golden, model, patch: _with_epsilon(model, tower, epsilon)


MISTAKES = {
    "tanh instead of exact GELU": ("text", ("v1", "v2"), _tanh_gelu),
    "rotary base 10000": ("text", ("v2",), _rotary_base),
    "adapter scale 1": ("text", ("v2",), _adapter_scale),
    "sorted slopes": ("text", ("v1",), _sorted_slopes),
    "neighbouring pairs in text": ("text", ("v2",), _neighbours_in_text),
    "half rotation in images": ("images", ("v1", "v2"), _halves_in_images),
    "grid rescaled the wrong way": ("images", ("v1", "v2"), _unscaled_grid),
    "vision epsilon 1e-5": ("images", ("v1", "v2"), _epsilon("vision_model", 1e-5)),
    "text epsilon 1e-4": ("text", ("v1", "v2"), _epsilon("text_model", 1e-4)),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake_is_caught(golden: Any, model: Any, embed_texts: Any, monkeypatch: Patch, mistake: str) -> None:
    tower, versions, make = MISTAKES[mistake]
    if golden.folder.name not in versions:
        return
    wrong = make(golden, model, monkeypatch)
    vectors: Tensor
    if tower == "text":
        vectors, name = embed_texts(wrong, golden.ids()), "text.none.normalized"
    else:
        with torch.inference_mode():
            vectors = wrong.get_image_features(golden.arrays["images.pixel_values"]).pooler_output
        name = "images.normalized"
    with pytest.raises(AssertionError, match=name):
        golden.check(F.normalize(vectors, dim=-1), name, "embedding_max_abs")
