"""Batches, padding, order and the attention kernel do not matter; nothing is left uninitialised; gradients flow."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # the customary name

from jina_clip_integrations.errors import ConfigurationError, InputError
from jina_clip_integrations.modeling import JinaClipModel, attention
from jina_clip_integrations.modeling.attention import attend
from jina_clip_integrations.modeling.text_rows import alibi_slopes


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_one_padded_batch(golden: Any, embed_texts: Any, implementation: str) -> None:
    model = JinaClipModel.from_pretrained(golden.folder, dtype="float32", attn_implementation=implementation)
    assert model.config._attn_implementation == implementation
    for task in golden.tasks:
        golden.check(embed_texts(model, golden.ids(task)), f"text.{task}.raw", "raw_max_abs")
    with torch.inference_mode():
        raw = model.get_image_features(golden.arrays["images.pixel_values"]).pooler_output
    golden.check(F.normalize(raw, dim=-1), "images.normalized", "embedding_max_abs")


def test_switching_the_implementation(golden: Any, embed_texts: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model = JinaClipModel.from_pretrained(golden.folder, dtype="float32")
    called = []
    monkeypatch.setattr(attention, "_eager", lambda *args: called.append(True) or args[2][:, :, : args[0].shape[2]])
    embed_texts(model, golden.ids()[:3])
    assert not called
    model.set_attn_implementation("eager")
    embed_texts(model, golden.ids()[:3])
    assert called


def test_order_and_padding(golden: Any, model: Any, embed_texts: Any) -> None:
    rows = golden.ids()[:12]
    plain = embed_texts(model, rows)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(0))
    assert (embed_texts(model, [rows[i] for i in order], length=600) - plain[order]).abs().max() < 2e-5


def test_small_blocks(golden: Any, embed_texts: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "BLOCK_ELEMENTS", 2000)
    monkeypatch.setattr(attention, "SHORT_ELEMENTS", 2**30)
    rows = slice(5)
    for implementation in ("sdpa", "eager"):
        model = JinaClipModel.from_pretrained(golden.folder, dtype="float32", attn_implementation=implementation)
        golden.check(embed_texts(model, golden.ids()[rows]), "text.none.raw", "raw_max_abs", rows)


def test_attention_mask_can_only_hide_more(golden: Any, model: Any, pad_id: int) -> None:
    long, short = golden.ids()[7][:20], golden.ids()[7][:12]
    ids = torch.tensor([long, short + [pad_id] * 8])
    with torch.inference_mode():
        plain = model.get_text_features(ids).pooler_output
        assert torch.equal(model.get_text_features(ids, torch.ones_like(ids)).pooler_output, plain)
        hidden = (torch.arange(20) < 12).long().expand(2, -1)
        both = model.get_text_features(ids, attention_mask=hidden).pooler_output
    assert (both[0] - plain[1]).abs().max() < 1e-5


def test_a_masked_token_in_the_middle(golden: Any, pad_id: int) -> None:
    row = golden.ids()[7][:90]
    row[40] = pad_id
    results = []
    for implementation in ("sdpa", "eager"):
        model = JinaClipModel.from_pretrained(golden.folder, dtype="float32", attn_implementation=implementation)
        with torch.inference_mode():
            results.append(model.get_text_features(torch.tensor([row])).pooler_output)
    assert (results[0] - results[1]).abs().max() < 1e-5


@pytest.mark.parametrize("length", [1, 7, 300])
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("with_slopes", [False, True])
def test_kernels_agree_with_plain_arithmetic(length: int, padded: bool, with_slopes: bool) -> None:
    generator = torch.Generator().manual_seed(length)
    q, k, v = (torch.randn(3, 12, length, 8, generator=generator, requires_grad=True) for _ in range(3))
    lengths = torch.tensor([length, max(1, length // 2), max(1, length - 2)])
    real = torch.arange(length) < lengths[:, None]
    mask, slopes = (real if padded else None), (alibi_slopes(12) if with_slopes else None)
    weight = torch.randn(v.shape, generator=generator) * (real[:, None, :, None] if padded else 1.0)
    fused, plain = (attend(q, k, v, mask=mask, slopes=slopes, implementation=name) for name in ("sdpa", "eager"))
    assert ((fused - plain) * (weight != 0)).abs().max() < 5e-6
    for one, other in zip(
        torch.autograd.grad((fused * weight).sum(), (q, k, v)),
        torch.autograd.grad((plain * weight).sum(), (q, k, v)),
        strict=True,
    ):
        assert (one - other).abs().max() < 2e-5


@pytest.mark.parametrize("length", [40, 300])
@pytest.mark.parametrize("padded", [False, True])
def test_half_precision_with_a_float32_bias(monkeypatch: pytest.MonkeyPatch, length: int, padded: bool) -> None:
    """Distances above 256 do not exist in bfloat16, so the bias must not be rounded to it."""
    kernel, biases = F.scaled_dot_product_attention, []

    def record(*args: Any, attn_mask: Tensor) -> Tensor:
        biases.append(attn_mask)
        return kernel(*args, attn_mask=attn_mask)

    monkeypatch.setattr(attention.F, "scaled_dot_product_attention", record)
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, 12, length, 8, generator=generator) for _ in range(3))
    mask = torch.arange(length) < torch.tensor([[length], [length - 9]]) if padded else None
    half = attend(q.bfloat16(), k.bfloat16(), v.bfloat16(), mask=mask, slopes=alibi_slopes(12)).float()
    assert biases
    assert {bias.dtype for bias in biases} == {torch.float32}
    exact = attend(q, k, v, mask=mask, slopes=alibi_slopes(12), implementation="eager")
    assert (half - exact)[:, :, : length - 9].abs().max() < 0.03


def test_slopes() -> None:
    assert alibi_slopes(8).tolist() == [2.0**-n for n in range(1, 9)]
    twelve = [2.0**-n for n in range(1, 9)] + [2.0**-0.5, 2.0**-1.5, 2.0**-2.5, 2.0**-3.5]
    assert torch.equal(alibi_slopes(12), torch.tensor(twelve))


def test_unknown_implementation(golden: Any) -> None:
    with pytest.raises(ConfigurationError, match="flex"):
        attend(*(torch.zeros(1, 1, 1, 4) for _ in range(3)), implementation="flex")
    with pytest.raises(ValueError, match="lash"):
        JinaClipModel.from_pretrained(golden.folder, attn_implementation="flash_attention_2")


def test_nothing_is_left_on_the_meta_device(model: Any) -> None:
    assert not any(tensor.is_meta for tensor in [*model.parameters(), *model.buffers()])
    assert not list(model.buffers()), "tables are made on the fly, so that a meta-device load cannot leave them unset"
    assert all(tensor.isfinite().all() for tensor in model.parameters())


def test_patch_keep(golden: Any, model: Any) -> None:
    pixels = golden.arrays["pixels.input"]
    patches = model.config.vision_config.grid_size**2
    everything = torch.arange(patches).expand(len(pixels), -1)
    with torch.inference_mode():
        plain = model.get_image_features(pixels).pooler_output
        assert (model.get_image_features(pixels, ids_keep=everything).pooler_output - plain).abs().max() < 1e-5
        shuffled = everything.flip(1)
        assert (model.vision_model(pixels, shuffled).pooler_output - plain).abs().max() < 1e-5
        some = model.get_image_features(pixels, ids_keep=everything[:, ::2])
        assert some.last_hidden_state.shape[1] == 1 + len(range(0, patches, 2))
        assert (some.pooler_output - plain).abs().max() > 1e-3
        # Patches that are left out do not matter at all.
        size, side = model.config.vision_config.patch_size, model.config.vision_config.grid_size
        changed = pixels.clone()
        changed[:, :, :size, size : 2 * size] += 1.0  # patch 1
        other = model.get_image_features(changed, ids_keep=everything[:, 2 : side * 2]).pooler_output
        assert torch.equal(other, model.get_image_features(pixels, ids_keep=everything[:, 2 : side * 2]).pooler_output)


def test_pixels_beyond_the_last_patch_are_not_seen(golden: Any, model: Any) -> None:
    vision = model.config.vision_config
    edge = vision.grid_size * vision.patch_size
    if edge == vision.image_size:
        return
    pixels = golden.arrays["pixels.input"][:1].clone()
    with torch.inference_mode():
        plain = model.get_image_features(pixels).pooler_output
        pixels[:, :, edge:], pixels[:, :, :, edge:] = 9.0, 9.0
        assert torch.equal(model.get_image_features(pixels).pooler_output, plain)


@pytest.mark.parametrize("shape", [(1, 3, 10, 10), (3, 56, 56), (1, 1, 75, 75)])
def test_other_image_sizes_are_refused(model: Any, shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="pixel_values"):
        model.get_image_features(torch.zeros(shape))


def test_training(golden: Any) -> None:
    model = JinaClipModel.from_pretrained(golden.folder, dtype="float32").train()
    ids = torch.tensor([row[:9] for row in golden.ids()[5:9]])
    keep = torch.stack([torch.randperm(model.config.vision_config.grid_size**2)[:5] for _ in range(4)])
    output = model(ids, golden.arrays["pixels.input"], return_loss=True, ids_keep=keep)
    assert output.loss.item() > 0
    output.loss.backward()
    used = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert used == {name for name, _ in model.named_parameters()}


def test_training_mode_computes_the_same(golden: Any, model: Any, embed_texts: Any) -> None:
    """No dropout is implemented, so a model left in training mode gives the same vectors."""
    trained = JinaClipModel.from_pretrained(golden.folder, dtype="float32").train()
    assert torch.equal(embed_texts(trained, golden.ids()[:4]), embed_texts(model, golden.ids()[:4]))


def test_outputs_are_those_of_the_framework(golden: Any, model: Any) -> None:
    ids, pixels = torch.tensor([golden.ids()[5]]), golden.arrays["pixels.input"][:1]
    with torch.inference_mode():
        text = model.get_text_features(ids, output_hidden_states=True)
        assert type(text).__name__ == "BaseModelOutputWithPooling"
        assert len(text.hidden_states) == 1 + model.config.text_config.num_hidden_layers
        assert torch.equal(text.hidden_states[-1], text.last_hidden_state)
        image = model.get_image_features(pixels, output_hidden_states=True)
        assert len(image.hidden_states) == 1 + model.config.vision_config.num_hidden_layers
        as_tuple = model.get_image_features(pixels, return_dict=False)
        assert torch.equal(as_tuple[1], image.pooler_output)
        only_text = model(input_ids=ids)
        assert only_text.image_embeds is None
        assert only_text.logits_per_text is None
        assert model(pixel_values=pixels).image_embeds.shape == (1, model.config.embed_dim)
        with pytest.raises(InputError, match="input_ids"):
            model()
