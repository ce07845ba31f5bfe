"""Both models give the stored outputs: ids, vectors, pixels, logits."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # the customary name
from transformers import AutoProcessor

from jina_clip_integrations.modeling import JinaClipImageProcessor, JinaClipModel, JinaClipProcessor


@pytest.fixture(scope="module")
def processor(golden: Any) -> Any:
    return JinaClipProcessor.from_pretrained(golden.folder)


def _task(name: str) -> str | None:
    return None if name == "none" else name


def _raw(model: Any, processor: Any, texts: list[str], **options: Any) -> Tensor:
    """Raw vectors from text, one text at a time."""
    with torch.inference_mode():
        rows = [processor(text=[text], return_tensors="pt", **options) for text in texts]
        return torch.cat([model.get_text_features(**row).pooler_output for row in rows])


def test_token_ids(golden: Any, processor: Any) -> None:
    for task in golden.tasks:
        assert processor(text=golden.texts, task=_task(task), max_length=512)["input_ids"] != golden.ids(task)
        unpadded = processor(text=golden.texts, task=_task(task), max_length=512, padding=False)
        assert unpadded["input_ids"] == golden.ids(task)


def test_texts(golden: Any, model: Any, processor: Any) -> None:
    short = golden.facts["short_dim"]
    for task in golden.tasks:
        raw = _raw(model, processor, golden.texts, task=_task(task), max_length=512)
        golden.check(raw, f"text.{task}.raw", "raw_max_abs")
        golden.check(F.normalize(raw, dim=-1), f"text.{task}.normalized", "embedding_max_abs")
        golden.check(F.normalize(raw[:, :short], dim=-1), f"text.{task}.dim{short}", "embedding_max_abs")
        cosine = F.cosine_similarity(raw, golden.arrays[f"text.{task}.normalized"])
        assert cosine.min() >= golden.tolerance["cosine_min"]


def test_other_lengths(golden: Any, model: Any, processor: Any) -> None:
    long = [golden.texts[i] for i in golden.facts["long_text_indices"]]
    for task in golden.tasks:
        cut = _raw(model, processor, golden.texts, task=_task(task), max_length=16)
        golden.check(F.normalize(cut, dim=-1), f"text.{task}.max16", "embedding_max_abs")
        whole = _raw(model, processor, long, task=_task(task), max_length=4096)
        golden.check(F.normalize(whole, dim=-1), f"text.{task}.max4096", "embedding_max_abs")


def test_the_default_length_takes_long_texts_whole(golden: Any, model: Any, processor: Any) -> None:
    long = [golden.texts[i] for i in golden.facts["long_text_indices"]]
    golden.check(F.normalize(_raw(model, processor, long), dim=-1), "text.none.max4096", "embedding_max_abs")


def test_pixels(golden: Any, model: Any) -> None:
    with torch.inference_mode():
        raw = model.get_image_features(golden.arrays["pixels.input"]).pooler_output
    golden.check(raw, "pixels.raw", "raw_max_abs")
    golden.check(F.normalize(raw, dim=-1), "pixels.normalized", "embedding_max_abs")


def test_images(golden: Any, model: Any) -> None:
    processor = JinaClipImageProcessor.from_pretrained(golden.folder)
    images = []
    for file in golden.image_files():
        with Image.open(file) as image:
            images.append(processor(image, return_tensors="pt")["pixel_values"])
    pixel_values = torch.cat(images)
    golden.check(pixel_values, "images.pixel_values", "pixel_values_max_abs")
    with torch.inference_mode():
        raw = model.get_image_features(pixel_values).pooler_output
    short = golden.facts["short_dim"]
    golden.check(raw, "images.raw", "raw_max_abs")
    golden.check(F.normalize(raw, dim=-1), "images.normalized", "embedding_max_abs")
    golden.check(F.normalize(raw[:, :short], dim=-1), f"images.dim{short}", "embedding_max_abs")


def test_logits(golden: Any, model: Any, processor: Any) -> None:
    inputs = processor(text=golden.texts, max_length=512, return_tensors="pt")
    with torch.inference_mode():
        output = model(**inputs, pixel_values=golden.arrays["images.pixel_values"])
    golden.check(output.logits_per_text, "logits_per_text", "logits_max_abs")
    assert torch.equal(output.logits_per_image, output.logits_per_text.t())
    golden.check(output.text_embeds, "text.none.normalized", "embedding_max_abs")
    golden.check(output.image_embeds, "images.normalized", "embedding_max_abs")


def test_everything_through_the_auto_processor(golden: Any, model: Any) -> None:
    processor = AutoProcessor.from_pretrained(golden.folder)
    images = []
    for file in golden.image_files():
        with Image.open(file) as image:
            image.load()
            images.append(image)
    inputs = processor(text=golden.texts, images=images, max_length=512, return_tensors="pt")
    with torch.inference_mode():
        golden.check(model(**inputs).logits_per_text, "logits_per_text", "logits_max_abs")


@pytest.mark.parametrize(("dtype", "minimum"), [("bfloat16", 0.995), ("float16", 0.999)])
def test_half_precision(golden: Any, embed_texts: Any, dtype: str, minimum: float) -> None:
    model = JinaClipModel.from_pretrained(golden.folder, dtype=dtype)
    assert {p.dtype for p in model.parameters()} == {getattr(torch, dtype)}
    with torch.inference_mode():
        images = model.get_image_features(golden.arrays["images.pixel_values"]).pooler_output
    for raw, name in ((embed_texts(model, golden.ids()), "text.none.raw"), (images, "images.raw")):
        assert raw.dtype == torch.float32
        assert F.cosine_similarity(raw, golden.arrays[name]).min() >= minimum


def test_a_changed_golden_value_fails(golden: Any, model: Any, embed_texts: Any) -> None:
    name = "text.none.normalized"
    changed = golden.arrays[name].clone()
    changed[-1, -1] += 1e-4
    other = dataclasses.replace(golden, arrays={**golden.arrays, name: changed})
    vectors = F.normalize(embed_texts(model, golden.ids()), dim=-1)
    golden.check(vectors, name, "embedding_max_abs")
    with pytest.raises(AssertionError, match=name):
        other.check(vectors, name, "embedding_max_abs")
