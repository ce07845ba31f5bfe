"""The image gallery: complete, readable, safe to share."""

from __future__ import annotations

import copy
import pickle
from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from jina_clip_integrations.demo import gallery

LANGUAGES = {"en", "de", "fr", "es", "pt", "it", "nl", "pl", "ru", "tr", "ar", "hi", "id", "zh", "ja", "ko"}


def test_every_image_is_named_in_every_language() -> None:
    images = gallery()
    assert len(images) > 1400
    languages = set(images[0].names)
    assert languages >= LANGUAGES
    assert all(set(image.names) == languages and all(image.names.values()) for image in images)


def test_ids_emoji_names_and_files_are_distinct() -> None:
    images = gallery()
    assert len({image.id for image in images}) == len(images)
    assert len({image.emoji for image in images}) == len(images)
    assert len({image.data() for image in images}) == len(images)
    assert len({image.names["en"] for image in images}) == len(images)


def test_ids_are_the_code_points_of_the_emoji() -> None:
    for image in gallery():
        assert image.id == "-".join(f"{ord(char):04x}" for char in image.emoji if char != "\ufe0f")


def test_images_decode_to_small_squares_on_white() -> None:
    for entry in gallery()[::50]:
        image = entry.image()
        assert image.mode == "RGB"
        assert image.width == image.height
        assert 96 <= image.width <= 128
    heart = next(entry for entry in gallery() if entry.names["en"] == "red heart").image()
    pixels = np.asarray(heart)
    assert pixels[0, 0].min() > 245
    red, green, blue = pixels[heart.height // 2, heart.width // 2]
    assert red > 180
    assert green < 90
    assert blue < 90


def test_an_image_decodes_anew_each_time() -> None:
    image = gallery()[0]
    first = image.image()
    first.putpixel((0, 0), (1, 2, 3))
    assert image.image().getpixel((0, 0)) != (1, 2, 3)


def test_images_cannot_be_changed_and_survive_copying() -> None:
    image = gallery()[10]
    with pytest.raises(FrozenInstanceError):
        image.id = "other"
    with pytest.raises(TypeError):
        image.names["en"] = "other"
    for clone in (pickle.loads(pickle.dumps(image)), copy.deepcopy(image)):
        assert clone == image
        assert hash(clone) == hash(image)
        assert clone.names == image.names
        assert clone.data() == image.data()


def test_the_gallery_is_read_once() -> None:
    assert gallery() is gallery()


def test_repr_is_short() -> None:
    assert len(repr(gallery()[0])) < 120
