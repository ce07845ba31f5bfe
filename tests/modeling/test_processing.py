"""Texts and images become model inputs, with the task, the length and the padding that were asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import BatchFeature

from jina_clip_integrations.errors import ConfigurationError, ImageError, InputError
from jina_clip_integrations.modeling import JinaClipImageProcessor, JinaClipProcessor


@pytest.fixture(scope="module")
def processor(golden: Any) -> Any:
    return JinaClipProcessor.from_pretrained(golden.folder)


def test_leftover_truncation_and_padding_are_replaced(golden: Any, processor: Any) -> None:
    """The tokenizer.json of v2 cuts and pads to 77 tokens unless told otherwise."""
    assert [len(row) for row in processor(text=[golden.texts[0]])["input_ids"]] == [len(golden.ids()[0])]
    long = golden.facts["long_text_indices"][0]
    assert len(processor(text=golden.texts[long])["input_ids"]) > 512


def test_padding_and_tensors(golden: Any, processor: Any) -> None:
    inputs = processor(text=golden.texts[:6], return_tensors="pt")
    assert set(inputs) == {"input_ids", "attention_mask"}
    longest = max(len(row) for row in golden.ids()[:6])
    assert inputs["input_ids"].shape == inputs["attention_mask"].shape == (6, longest)
    assert inputs["attention_mask"].sum(1).tolist() == [len(row) for row in golden.ids()[:6]]
    fixed = processor(text="a", padding="max_length", max_length=20, return_tensors="pt")
    assert fixed["input_ids"].shape == (1, 20)


def test_the_longest_text_is_the_models(processor: Any) -> None:
    assert len(processor(text="word " * 20000, padding=False)["input_ids"]) == 8192


def test_tasks(golden: Any, processor: Any) -> None:
    if golden.folder.name == "v1":
        with pytest.raises(ConfigurationError, match="this model's tasks: none"):
            processor(text="a", task="retrieval.query")
        return
    query = processor(text=golden.texts[3], task="retrieval.query", padding=False)["input_ids"]
    assert query == golden.ids("retrieval.query")[3]
    with pytest.raises(ValueError, match=r"'retrieval.passage'.*'retrieval.query'"):
        processor(text="a", task="retrieval.passage")


def test_a_default_task(processor: Any) -> None:
    other = JinaClipProcessor(processor.image_processor, processor.tokenizer, {"search": "find: "}, "search")
    assert other(text="a")["input_ids"] == processor(text="find: a")["input_ids"]


def test_text_and_images_together(golden: Any, processor: Any) -> None:
    with Image.open(golden.image_files()[0]) as image:
        inputs = processor(images=[image, image], text=["a"], return_tensors="pt")
    assert isinstance(inputs, BatchFeature)
    assert set(inputs) == set(processor.model_input_names)
    assert inputs["pixel_values"].shape[0] == 2
    with pytest.raises(InputError, match="text, images or both"):
        processor()


def test_kinds_of_images(golden: Any, processor: Any) -> None:
    with Image.open(golden.image_files()[0]) as opened:
        image = opened.convert("RGB")
    pixels = np.asarray(image)
    expected = processor(images=image)["pixel_values"]
    assert expected.dtype == np.float32
    assert expected.shape == (1, 3, processor.image_processor.size, processor.image_processor.size)
    alpha = np.dstack([pixels, np.full(pixels.shape[:2], 7, np.uint8)])
    for same in (pixels, pixels[None], [pixels], (image,), pixels.transpose(2, 0, 1), torch.tensor(pixels), alpha):
        assert np.array_equal(processor(images=same)["pixel_values"], expected)
    grey = np.asarray(image.convert("L"))
    of_grey = processor(images=[grey, grey[:, :, None], image.convert("L")])["pixel_values"]
    assert np.array_equal(of_grey[0], of_grey[1])
    assert np.array_equal(of_grey[0], of_grey[2])
    assert processor(images=[])["pixel_values"].shape == (0, *expected.shape[1:])


@pytest.mark.parametrize(
    "bad",
    ["photo.png", b"bytes", None, np.zeros((4, 4, 3)), np.zeros((5, 4, 2), np.uint8), np.zeros((0, 4, 3), np.uint8)],
    ids=["path", "bytes", "None", "float", "two channels", "empty"],
)
def test_images_that_cannot_be_used(processor: Any, bad: object) -> None:
    good = Image.new("RGB", (9, 9))
    with pytest.raises(ImageError) as caught:
        processor.image_processor([good, bad])
    assert caught.value.index == 1


def test_image_settings(golden: Any, tmp_path: Any) -> None:
    processor = JinaClipImageProcessor.from_pretrained(golden.folder)
    size = {"v1": 56, "v2": 75}[golden.folder.name]
    assert (processor.size, processor.image_size, processor.resize_mode, processor.fill_color) == (
        size, size, "shortest", 0,
    )  # fmt: skip
    assert processor.image_mean == processor.mean == [0.48145466, 0.4578275, 0.40821073]
    assert processor.image_std == processor.std
    smaller = JinaClipImageProcessor.from_pretrained(golden.folder, size=20, resize_mode="squash")
    assert smaller(Image.new("RGB", (30, 10)))["pixel_values"].shape == (1, 3, 20, 20)
    smaller.save_pretrained(tmp_path)
    again = JinaClipImageProcessor.from_pretrained(tmp_path)
    assert again.to_dict() == smaller.to_dict()
    assert "size" in repr(again)


@pytest.mark.parametrize(
    "setting", [{"size": 0}, {"size": {"height": 9}}, {"resize_mode": "x"}, {"interpolation": "random"}]
)
def test_unknown_image_settings(setting: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(setting))):
        JinaClipImageProcessor(**setting)
