"""Texts and images become model inputs, with the task, the length and the padding that were asked for."""

from __future__ import annotations

from pathlib import Path
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


def test_keywords_of_tokenizers(golden: Any, processor: Any) -> None:
    text = golden.texts[0]
    plain = processor(text=text)["input_ids"]
    assert processor(text=text, truncation=True, padding=False, max_length=8192)["input_ids"] == plain
    assert len(processor(text="word " * 30, truncation=True, max_length=12)["input_ids"]) == 12
    assert len(processor(text="word " * 30, truncation=False, max_length=None)["input_ids"]) > 12
    bare = processor(text=text, add_special_tokens=False, return_attention_mask=False)
    assert (set(bare), bare["input_ids"]) == ({"input_ids"}, plain[1:-1])
    even = processor(text=[text], pad_to_multiple_of=8, padding_side="left", return_tensors="np")
    assert even["input_ids"].shape[1] % 8 == 0
    assert even["attention_mask"][0, 0] == (1 if len(plain) % 8 == 0 else 0)


def test_keywords_in_groups(golden: Any, processor: Any) -> None:
    image = Image.new("RGB", (30, 20), (9, 90, 200))
    given = {"text": [golden.texts[0]], "images": image}
    flat = processor(**given, padding="max_length", max_length=16, do_normalize=False, return_tensors="pt")
    grouped = processor(
        **given,
        text_kwargs={"padding": "max_length", "max_length": 16},
        images_kwargs={"do_normalize": False},
        common_kwargs={"return_tensors": "pt"},
    )
    assert set(flat) == set(grouped) == {"input_ids", "attention_mask", "pixel_values"}
    assert all(torch.equal(flat[name], grouped[name]) for name in flat)
    assert flat["input_ids"].shape == (1, 16)


def test_an_unknown_keyword_is_named(processor: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"'truncaton'.*Did you mean 'truncation'"):
        processor(text="a", truncaton=True)
    with pytest.raises(ConfigurationError, match=r"'do_rescal'.*Did you mean 'do_rescale'"):
        processor.image_processor(Image.new("RGB", (9, 9)), do_rescal=False)


def test_steps_of_the_image_processor(golden: Any, processor: Any) -> None:
    images = processor.image_processor
    with Image.open(golden.image_files()[0]) as opened:
        image = opened.convert("RGB")
    expected = images(image)["pixel_values"]
    everything = dict.fromkeys(("do_convert_rgb", "do_resize", "do_center_crop", "do_rescale", "do_normalize"), True)
    assert np.array_equal(images(image, **everything, do_pad=False, resample=3)["pixel_values"], expected)
    assert np.array_equal(images(image, do_rescale=None, size=None)["pixel_values"], expected)
    last = images(image, data_format="channels_last", return_tensors="pt")["pixel_values"]
    assert np.array_equal(last.permute(0, 3, 1, 2).numpy(), expected)
    square = images.fit(image)
    assert np.array_equal(images(square, do_resize=False, do_center_crop=False)["pixel_values"], expected)
    levels = images(image, do_rescale=False, do_normalize=False)["pixel_values"][0]
    assert np.array_equal(levels, square.transpose(2, 0, 1))
    np.testing.assert_allclose(images(image, do_normalize=False)["pixel_values"][0], levels / 255, atol=1e-7)
    np.testing.assert_allclose(images(image, rescale_factor=1 / 51, do_normalize=False)["pixel_values"][0], levels / 51)
    mean = images(image, image_mean=[0, 0, 0], image_std=[1, 1, 1])["pixel_values"]
    assert np.array_equal(mean, images(image, do_normalize=False)["pixel_values"])
    assert images([], data_format="channels_last")["pixel_values"].shape == (0, images.size, images.size, 3)


def test_floats_that_were_rescaled_already(golden: Any, processor: Any) -> None:
    """What `torchvision.transforms.ToTensor` gives, for which `do_rescale=False` is meant."""
    images = processor.image_processor
    with Image.open(golden.image_files()[0]) as opened:
        pixels = np.asarray(opened.convert("RGB"))
    tensor = torch.tensor(pixels).permute(2, 0, 1).float() / 255
    expected = images(pixels)["pixel_values"]
    assert np.array_equal(images(tensor, do_rescale=False)["pixel_values"], expected)
    assert np.array_equal(
        images(tensor.numpy(), do_rescale=False, input_data_format="channels_first")["pixel_values"], expected
    )
    with pytest.raises(ImageError, match="from 0 to 1"):
        images(tensor * 255, do_rescale=False)


@pytest.mark.parametrize("size", [{"height": 20, "width": 20}, {"shortest_edge": 20}, 20])
def test_another_size_for_one_call(processor: Any, size: Any) -> None:
    image = Image.new("RGB", (30, 25))
    assert processor(images=image, size=size, crop_size=size)["pixel_values"].shape == (1, 3, 20, 20)
    assert processor.image_processor.size != 20


@pytest.mark.parametrize(
    ("keywords", "reason"),
    [
        ({"do_convert_rgb": False}, "RGB"),
        ({"do_resize": False}, "do_center_crop"),
        ({"do_pad": True}, "do_pad"),
        ({"crop_size": 3}, "crop_size"),
        ({"size": {"height": 3, "width": 4}}, "no square"),
        ({"data_format": "none"}, "data_format"),
        ({"resample": 5}, "interpolation"),
    ],
)
def test_keywords_that_cannot_be_honoured(processor: Any, keywords: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        processor.image_processor(Image.new("RGB", (9, 9)), **keywords)


def test_an_image_of_another_size_that_is_not_resized(processor: Any) -> None:
    with pytest.raises(ImageError, match="9 x 8 instead of") as caught:
        processor.image_processor([Image.new("RGB", (9, 8))], do_resize=False, do_center_crop=False)
    assert caught.value.index == 0


def test_the_tokenizers_own_limit_counts(golden_folder: Path) -> None:
    processor = JinaClipProcessor.from_pretrained(golden_folder)
    assert len(processor(text="word " * 40)["input_ids"]) > 10
    processor.tokenizer.model_max_length = 10
    assert len(processor(text="word " * 40)["input_ids"]) == 10
    assert len(processor(text="word " * 40, max_length=12)["input_ids"]) == 12


def test_keywords_for_sound_and_video_concern_nobody(golden_folder: Path) -> None:
    processor = JinaClipProcessor.from_pretrained(golden_folder)
    with_them = processor(text="a word", audio_kwargs={"padding": True}, videos_kwargs={"do_resize": False})
    assert with_them == processor(text="a word")
