"""The one conversion to RGB: no copy of what is RGB already, and a caller's image stays as it was."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from jina_clip_integrations.images.decode import ORIENTATION_TAG, as_rgb
from jina_clip_integrations.images.rendering import Rendering


def image(mode: str = "RGB", *, orientation: int = 1) -> Image.Image:
    levels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    made = Image.fromarray(levels).convert(mode)
    made.getexif()[ORIENTATION_TAG] = orientation
    return made


@pytest.mark.parametrize("upright", [True, False])
@pytest.mark.parametrize("borrowed", [True, False])
def test_an_upright_rgb_image_is_returned_itself(upright: bool, borrowed: bool) -> None:
    given = image()
    assert as_rgb(given, Rendering(upright=upright), borrowed=borrowed) is given


def test_orientation_is_applied_to_a_copy() -> None:
    given = image(orientation=6)
    before = given.tobytes()
    turned = as_rgb(given, Rendering(upright=True), borrowed=True)
    assert turned.size == (given.height, given.width)
    np.testing.assert_array_equal(np.asarray(turned), np.rot90(np.asarray(given), -1))
    assert given.tobytes() == before
    assert as_rgb(given, Rendering(upright=False), borrowed=True) is given


@pytest.mark.parametrize(
    ("mode", "transparency"),
    [("P", bytes(range(16))), ("P", 3), ("L", 7), ("L", (1, 2, 3)), ("1", 0), ("RGBA", b"nonsense")],
    ids=["palette, one alpha each", "palette, one entry", "grey", "grey, wrong kind", "bilevel", "alpha, wrong kind"],
)
def test_transparency_is_dropped_and_the_callers_image_keeps_it(mode: str, transparency: object) -> None:
    given = image(mode)
    expected = np.asarray(given.convert("RGB"))
    given.info["transparency"] = transparency
    np.testing.assert_array_equal(np.asarray(as_rgb(given, Rendering(upright=True), borrowed=True)), expected)
    assert (given.mode, given.info["transparency"]) == (mode, transparency)
