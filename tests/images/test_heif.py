"""HEIC is read where `pillow-heif` is installed, without a word of the caller's; elsewhere the extra is named."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from jina_clip_integrations.images.decode import load_formats
from jina_clip_integrations.inputs import InputParser

load_formats()  # writing HEIC takes the plug-in as well

TRY = """
import sys
{before}
import jina_clip_integrations
from jina_clip_integrations.inputs import InputParser
assert "pillow_heif" not in sys.modules or {before!r}
image = InputParser().image({path!r})
try:
    print(image.size(), image.open().getpixel((4, 4)))
except jina_clip_integrations.ImageError as error:
    print(error)
"""


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "IMG_0001.HEIC"
    exif = Image.Exif()
    exif[274] = 6
    Image.new("RGB", (64, 32), (200, 30, 40)).save(path, "HEIF", exif=exif.tobytes())
    return path


def run(path: Path, before: str = "") -> str:
    code = TRY.format(before=before, path=str(path))
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_it_is_read_and_turned_upright_in_a_fresh_process(photo: Path) -> None:
    size, _, pixel = run(photo).partition(") (")
    assert size == "(32, 64"
    assert abs(int(pixel.split(",")[0]) - 200) < 12


@pytest.mark.parametrize("how", [True, False])
def test_sizes_and_pixels_agree(photo: Path, how: bool) -> None:
    image = InputParser().image(photo.read_bytes() if how else photo)
    assert image.size() == image.open().size == (32, 64)
    assert image.open(min_side=8).size == (32, 64)  # no thumbnail in place of the image


def test_without_the_plug_in_the_extra_is_named(photo: Path) -> None:
    said = run(photo, "sys.modules['pillow_heif'] = None")
    assert 'HEIC: pip install "jina-clip-integrations[heif]"' in said
    assert "IMG_0001.HEIC" in said


def test_a_plug_in_that_the_program_has_registered_stays(photo: Path) -> None:
    before = "import pillow_heif; pillow_heif.register_heif_opener(); from PIL import Image; f = Image.OPEN['HEIF']"
    after = "; import atexit; atexit.register(lambda: print(Image.OPEN['HEIF'] is f))"
    assert run(photo, before + after).rstrip().endswith("True")


def test_a_truncated_one_is_broken(photo: Path) -> None:
    with pytest.raises(Exception, match="broken or truncated"):
        InputParser().image(photo.read_bytes()[:400]).open()


@pytest.mark.skipif(not features.check("avif"), reason="Pillow reads AVIF since 11.3")
def test_avif_is_read() -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 32), (200, 30, 40)).save(buffer, "AVIF")
    np.testing.assert_allclose(np.asarray(InputParser().image(buffer.getvalue()).open())[8, 8], [200, 30, 40], atol=12)
