"""The picture gallery: complete, readable, safe to share."""

from __future__ import annotations

import copy
import pickle
from dataclasses import FrozenInstanceError

import pytest

from jina_clip_integrations.demo import gallery

LANGUAGES = {"en", "de", "fr", "es", "pt", "it", "nl", "pl", "ru", "tr", "ar", "hi", "id", "zh", "ja", "ko"}


def test_every_picture_is_named_in_every_language():
    pictures = gallery()
    assert len(pictures) > 1400
    languages = set(pictures[0].names)
    assert languages >= LANGUAGES
    assert all(set(picture.names) == languages and all(picture.names.values()) for picture in pictures)


def test_ids_emoji_names_and_files_are_distinct():
    pictures = gallery()
    assert len({picture.id for picture in pictures}) == len(pictures)
    assert len({picture.emoji for picture in pictures}) == len(pictures)
    assert len({picture.data() for picture in pictures}) == len(pictures)
    assert len({picture.names["en"] for picture in pictures}) == len(pictures)


def test_ids_are_the_code_points_of_the_emoji():
    for picture in gallery():
        assert picture.id == "-".join(f"{ord(char):04x}" for char in picture.emoji if char != "\ufe0f")


def test_pictures_decode_to_small_squares_on_white():
    for picture in gallery()[::50]:
        image = picture.image()
        assert image.mode == "RGB"
        assert image.width == image.height
        assert 96 <= image.width <= 128
    heart = next(picture for picture in gallery() if picture.names["en"] == "red heart").image()
    assert min(heart.getpixel((0, 0))) > 245
    red, green, blue = heart.getpixel((heart.width // 2, heart.height // 2))
    assert red > 180
    assert green < 90
    assert blue < 90


def test_a_picture_decodes_anew_each_time():
    picture = gallery()[0]
    first = picture.image()
    first.putpixel((0, 0), (1, 2, 3))
    assert picture.image().getpixel((0, 0)) != (1, 2, 3)


def test_pictures_cannot_be_changed_and_survive_copying():
    picture = gallery()[10]
    with pytest.raises(FrozenInstanceError):
        picture.id = "other"
    with pytest.raises(TypeError):
        picture.names["en"] = "other"
    for twin in (pickle.loads(pickle.dumps(picture)), copy.deepcopy(picture)):
        assert twin == picture
        assert hash(twin) == hash(picture)
        assert twin.names == picture.names
        assert twin.data() == picture.data()


def test_the_gallery_is_read_once():
    assert gallery() is gallery()


def test_repr_is_short():
    assert len(repr(gallery()[0])) < 120
