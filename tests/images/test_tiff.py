"""Camera raw files are TIFF files in which Pillow finds the thumbnail: refused, with what to do instead."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from jina_clip_integrations import ImageError
from jina_clip_integrations.inputs import InputParser

THUMBNAIL = Image.effect_noise((16, 12), 60).convert("RGB")


def tiff(tags: dict[int, Any], **options: Any) -> bytes:
    info = TiffImagePlugin.ImageFileDirectory_v2()
    for tag, (kind, value) in tags.items():
        info.tagtype[tag] = kind
        info[tag] = value
    buffer = io.BytesIO()
    THUMBNAIL.save(buffer, "TIFF", tiffinfo=info, **options)
    return buffer.getvalue()


DNG = tiff({254: (4, 1), 330: (4, (8,)), 50706: (1, b"\1\4\0\0")})
NEF = tiff({254: (4, 1), 330: (4, (8,)), 271: (2, "NIKON CORPORATION")})


@pytest.mark.parametrize(
    ("data", "said"), [(DNG, r"raw file \(DNG\)"), (NEF, "only its thumbnail")], ids=["DNG", "NEF"]
)
@pytest.mark.parametrize("ask", [lambda image: image.open(), lambda image: image.size()])
def test_a_raw_file_is_refused(data: bytes, said: str, ask: Any, tmp_path: Path) -> None:
    path = tmp_path / "DSC_0001.raw"
    path.write_bytes(data)
    for given in (data, path):
        with pytest.raises(ImageError, match=f"{said}.*develop it to JPEG or PNG first"):
            ask(InputParser().image(given))
    with Image.open(path) as opened, pytest.raises(ImageError, match=f"PIL image 16 x 12 RGB: .*{said}"):
        InputParser().image(opened).open()


@pytest.mark.parametrize("photometric", [32803, 34892])
def test_pixels_of_a_sensor_are_refused(photometric: int) -> None:
    data = bytearray(tiff({}))
    (offset,) = struct.unpack_from("<I", data, 4)
    at = data.index(struct.pack("<HHI", 262, 3, 1), offset)
    struct.pack_into("<H", data, at + 8, photometric)
    with pytest.raises(ImageError, match=r"raw file \(DNG\): develop it"):
        InputParser().image(bytes(data)).open()


def test_a_thumbnail_in_front_of_its_image_is_refused() -> None:
    data = tiff({254: (4, 1)}, save_all=True, append_images=[THUMBNAIL.resize((160, 120))])
    with pytest.raises(ImageError, match="begins with a thumbnail of another image"):
        InputParser().image(data).open()


@pytest.mark.parametrize("tags", [{254: (4, 1)}, {254: (4, 0)}, {254: (4, 2), 330: (4, (8,))}, {}])
def test_ordinary_files_are_read(tags: dict[int, Any]) -> None:
    np.testing.assert_array_equal(InputParser().image(tiff(tags)).open(), THUMBNAIL)


def test_pages_are_read() -> None:
    data = tiff({}, save_all=True, append_images=[THUMBNAIL])
    np.testing.assert_array_equal(InputParser().image(data).open(), THUMBNAIL)


def test_a_raw_file_that_no_tiff_reader_opens() -> None:
    with pytest.raises(ImageError, match="a camera's raw file: develop it"):
        InputParser().image(b"FUJIFILMCCD-RAW 0201FF").open()
