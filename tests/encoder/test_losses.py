"""What images lose is said once, and what keeps it is part of every key and the same on every backend."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from jina_clip_integrations import ConfigurationError, JinaClipEncoder, MemoryCache
from jina_clip_integrations.retrieval.fingerprint import VectorFingerprint
from tests.faces import both_faces
from tests.fakes import BlockingBackend

BLANK = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
DEEP = Image.fromarray(np.full((8, 8), 40_000, np.uint16))


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def logo(shape: int) -> bytes:
    image = BLANK.copy()
    image.paste((0, 0, 0, 255), (shape, 0, shape + 3, 8))
    return png(image)


def encoder(**options: Any) -> JinaClipEncoder:
    return JinaClipEncoder(**{"backend": BlockingBackend(), **options})


@both_faces
def test_one_warning_of_each_kind_names_the_first_item_and_the_option(face: Any) -> None:
    made = encoder()
    images = [png(Image.new("RGB", (8, 8))), logo(0), logo(4), png(DEEP)]
    with pytest.warns(UserWarning) as caught:  # noqa: PT030, PT031
        face(made).encode_image(images)
        face(made).encode_image(images)
    said = sorted(str(warning.message) for warning in caught)
    assert len(said) == 2
    assert said[0].startswith("input 1 (image/png")
    assert "and 1 more like it: its transparent pixels" in said[0]
    assert 'background="white"' in said[0]
    assert said[1].startswith("input 3 (image/png")
    assert 'high_bit_depth="scale"' in said[1]


@both_faces
def test_a_single_image_is_named_alone_and_a_chunk_counts_from_the_first_item(face: Any, tmp_path: Path) -> None:
    path = tmp_path / "logo.png"
    path.write_bytes(logo(0))
    with pytest.warns(UserWarning, match=f"^{path}: its transparent"):
        face(encoder()).encode_image(path)
    items = [{"text": "a"}, {"text": "b"}, {"image": path}]
    with pytest.warns(UserWarning, match=r"^input 2 \("):
        list(encoder().iter_encode(items, chunk_size=2))


@both_faces
@pytest.mark.parametrize("cache", [None, MemoryCache])
def test_with_the_options_different_images_have_different_vectors(face: Any, cache: Any) -> None:
    options = {"background": "white", "high_bit_depth": "scale", "cache": cache and cache()}
    darker = png(Image.fromarray(np.full((8, 8), 20_000, np.uint16)))
    rows = face(encoder(**options)).encode_image([logo(0), logo(4), png(DEEP), darker])  # and no warning
    assert len(np.unique(rows, axis=0)) == 4


def test_a_cache_that_is_shared_keeps_them_apart() -> None:
    cache = MemoryCache()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        published = encoder(cache=cache).encode_image([logo(0), png(DEEP)])
        again = encoder(cache=cache).encode_image([logo(0), png(DEEP)])
        scaled = encoder(cache=cache, high_bit_depth="scale").encode_image([logo(0), png(DEEP)])
    white = encoder(cache=cache, background="white", high_bit_depth="scale").encode_image([logo(0), png(DEEP)])
    np.testing.assert_array_equal(published, again)
    np.testing.assert_array_equal(scaled[0], published[0])
    np.testing.assert_array_equal(scaled[1], white[1])
    assert not np.allclose(scaled[1], published[1])
    assert not np.allclose(white[0], published[0])


def test_fingerprints_differ_and_say_why() -> None:
    published, white = (VectorFingerprint.of(encoder(background=color)) for color in (None, "#fff"))
    assert published == VectorFingerprint.of(encoder(exif_orientation=False))
    assert white.to_metadata()["jina_clip_colors"] == "#ffffff"
    assert "jina_clip_colors" not in published.to_metadata()
    for one, other in ((published, white), (white, published)):
        one.check(one.to_metadata(), where="it")
        with pytest.raises(ConfigurationError, match="images rendered with #ffffff"):
            one.check(other.to_metadata(), where="it")


@pytest.mark.parametrize("options", [{"background": "whitish"}, {"high_bit_depth": "x"}, {"background": (1, 2)}])
def test_a_wrong_value_is_refused_at_once(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        encoder(**options)


@pytest.mark.filterwarnings("error:.*published:UserWarning")
def test_a_warning_that_is_an_error_loses_nothing() -> None:
    made = encoder()
    with pytest.raises(UserWarning, match="published") as caught:  # as in all tests here, warnings are errors
        made.encode_image([logo(0), png(Image.new("RGB", (8, 8)))])
    assert np.isfinite(caught.value.partial).all()
