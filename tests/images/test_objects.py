"""The forms in which other packages hold an image: read where the meaning is certain, else a message of ours."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime
import importlib.resources
import io
import os
import tempfile
import urllib.parse
import zipfile
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec  # type: ignore[import-untyped]
import httpx
import IPython.display
import numpy as np
import pyarrow as pa
import pydantic
import pytest
import requests
import torch
import upath
import yarl
from langchain_core.documents.base import Blob
from PIL import Image

from jina_clip_integrations import ImageError, InputError, JinaClipEncoder, SourcePolicy
from jina_clip_integrations.images.objects import is_image_object, simplify
from jina_clip_integrations.inputs import InputParser, one_or_many_images
from tests.fakes import BlockingBackend

PIXELS = np.random.default_rng(0).integers(0, 256, (4, 5, 3), dtype=np.uint8)


def png(pixels: Any = PIXELS) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


PNG = png()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.png").write_bytes(PNG)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("inner/a.png", PNG)
    fsspec.filesystem("memory").pipe("/img/a.png", PNG)
    return tmp_path


def requests_response(content: bytes = PNG, status: int = 200) -> requests.Response:
    response = requests.Response()
    response.raw, response.status_code, response.url = io.BytesIO(content), status, "https://example.org/a.png?key=1"
    return response


def httpx_response(content: Any = PNG, status: int = 200) -> httpx.Response:
    return httpx.Response(status, content=content, request=httpx.Request("GET", "https://example.org/a.png?key=1"))


OPENED = contextlib.ExitStack()


@pytest.fixture(scope="module", autouse=True)
def opened() -> Iterator[None]:
    with OPENED:
        yield


def spooled() -> Any:
    file = OPENED.enter_context(tempfile.SpooledTemporaryFile())  # noqa: SIM115  # closed behind the tests
    file.write(PNG)
    return file


FORMS = {
    "row": lambda folder: {"bytes": PNG, "path": "a.png"},
    "row without path": lambda folder: {"bytes": PNG, "path": None},
    "row of bytes alone": lambda folder: {"bytes": bytearray(PNG)},
    "row without bytes": lambda folder: {"bytes": None, "path": str(folder / "a.png")},
    "row in base64": lambda folder: {"bytes": base64.b64encode(PNG).decode(), "path": None},
    "Arrow struct": lambda folder: pa.array([{"bytes": PNG, "path": "a.png"}])[0],
    "Arrow binary": lambda folder: pa.array([PNG])[0],
    "Arrow string": lambda folder: pa.array([str(folder / "a.png")])[0],
    "tensor (3, H, W)": lambda folder: torch.from_numpy(PIXELS.copy()).permute(2, 0, 1),
    "tensor (H, W, 3)": lambda folder: torch.from_numpy(PIXELS.copy()),
    "local UPath": lambda folder: upath.UPath(folder / "a.png"),
    "file UPath": lambda folder: upath.UPath(f"file://{folder}/a.png"),
    "remote UPath": lambda folder: upath.UPath("memory:///img/a.png"),
    "zipfile.Path": lambda folder: zipfile.Path(folder / "a.zip", "inner/a.png"),
    "OpenFile": lambda folder: fsspec.open("memory:///img/a.png"),
    "open OpenFile": lambda folder: fsspec.open("memory:///img/a.png").open(),
    "Blob of bytes": lambda folder: Blob.from_data(PNG, mime_type="image/png"),
    "Blob of a path": lambda folder: Blob.from_path(folder / "a.png"),
    "requests": lambda folder: requests_response(),
    "httpx": lambda folder: httpx_response(),
    "httpx, streaming": lambda folder: httpx_response(iter([PNG[:9], PNG[9:]])),
    "base64 bytes": lambda folder: base64.b64encode(PNG),
    "base64 bytes in lines": lambda folder: b"\n" + base64.encodebytes(PNG),
    "data URI bytes": lambda folder: b"data:image/png;base64," + base64.b64encode(PNG),
    "IPython of bytes": lambda folder: IPython.display.Image(data=PNG),
    "IPython of a file": lambda folder: IPython.display.Image(filename=str(folder / "a.png")),
    "DirEntry": lambda folder: {entry.name: entry for entry in os.scandir(folder)}["a.png"],
    "SpooledTemporaryFile": lambda folder: spooled(),
    "memoryview": lambda folder: memoryview(PNG),
    "strided memoryview": lambda folder: memoryview(bytes(b for byte in PNG for b in (byte, 0)))[::2],
    "subclass of str": lambda folder: np.str_(folder / "a.png"),
    "path with a line break": lambda folder: f"{folder / 'a.png'}\n",
    "path with blanks": lambda folder: f"  {folder / 'a.png'} \r\n",
    "path in quotes": lambda folder: f'"{folder / "a.png"}"',
    "file URL with a line break": lambda folder: f"{(folder / 'a.png').as_uri()}\n",
    "data URI with blanks": lambda folder: f" data:image/png;base64,{base64.b64encode(PNG).decode()}\n",
}


class TestForms:
    @pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
    def test_gives_the_pixels(self, form: Any, folder: Path) -> None:
        given = form(folder)
        np.testing.assert_array_equal(InputParser().image(given).open(), PIXELS)

    @pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
    def test_is_one_image_and_may_stand_in_a_list(self, form: Any, folder: Path) -> None:
        given = form(folder)
        values, single = one_or_many_images(given)
        assert single
        assert values[0] is given
        assert one_or_many_images([given, given]) == ([given, given], False)

    def test_files_of_this_system_that_are_no_path(self, folder: Path) -> None:
        for path in importlib.resources.files("jina_clip_integrations").iterdir():
            assert isinstance(path, os.PathLike) or is_image_object(path)

    @pytest.mark.parametrize("make", [yarl.URL, httpx.URL, pydantic.AnyUrl, pydantic.HttpUrl, urllib.parse.urlsplit])
    def test_an_address_is_one(self, make: Any) -> None:
        image = InputParser().image(make("https://example.org/a.png"))
        assert image.address == "https://example.org/a.png"
        assert one_or_many_images(make("https://example.org/a.png"))[1]

    def test_blanks_around_an_address(self) -> None:
        assert InputParser().image(" https://example.org/a.png\n").address == "https://example.org/a.png"

    def test_a_stream_that_only_gives_everything(self) -> None:
        parts = iter([PNG, b""])
        given = type("Whole", (), {"read": lambda self: next(parts)})()
        np.testing.assert_array_equal(InputParser().image(given).open(), PIXELS)

    def test_rows_are_items_and_images(self) -> None:
        encoder = JinaClipEncoder(backend=BlockingBackend())
        row = {"bytes": PNG, "path": "a.png"}
        alone = encoder.encode_image(PNG)
        np.testing.assert_array_equal(encoder.encode_image(row), alone)
        np.testing.assert_array_equal(encoder.encode([row, {"image": row}]), [alone, alone])
        np.testing.assert_array_equal(encoder.encode_image(pa.array([row, row])), [alone, alone])

    def test_a_stack_of_tensors_is_a_list(self) -> None:
        encoder = JinaClipEncoder(backend=BlockingBackend())
        stack = torch.stack([torch.from_numpy(PIXELS.copy()).permute(2, 0, 1)] * 2)
        assert encoder.encode_image(stack).shape == (2, 8)
        assert encoder.encode_image(stack[0]).shape == (8,)

    def test_names_are_paths_and_addresses_without_their_query(self, folder: Path) -> None:
        label = lambda given: InputParser().image(given).label  # noqa: E731
        assert label({"bytes": PNG, "path": "a.png"}) == "a.png"
        assert label(requests_response()) == "https://example.org/a.png"
        assert label(zipfile.Path(folder / "a.zip", "inner/a.png")).endswith("a.zip/inner/a.png")

    def test_a_file_that_has_blanks_in_its_name(self, tmp_path: Path) -> None:
        (tmp_path / "a.png ").write_bytes(PNG)
        (tmp_path / "a.png").write_bytes(png(PIXELS[::-1]))
        np.testing.assert_array_equal(InputParser().image(f"{tmp_path}/a.png ").open(), PIXELS)


def closed() -> Any:
    file = io.BytesIO(PNG)
    file.close()
    return file


class Awaited:
    def read(self, size: int = -1) -> Any:
        return asyncio.sleep(0)


class Nonblocking(io.RawIOBase):
    def readable(self) -> bool:
        return True

    def readinto(self, _: Any) -> None:
        return None


class Moody:
    """An object that has every attribute, and none that works."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)


class BadPath:
    def open(self, mode: str = "r") -> Any:
        raise KeyError("nobody knows")

    def read_bytes(self) -> bytes:
        return PNG


REFUSED = {
    "float tensor": (lambda: torch.zeros(3, 4, 5), r"uint8 \(3, H, W\).*torch\.uint8"),
    "ambiguous tensor": (lambda: torch.zeros(3, 4, 3, dtype=torch.uint8), "either axis may be the channels"),
    "grey tensor": (lambda: torch.zeros(1, 4, 5, dtype=torch.uint8), "repeat the grey channel"),
    "flat tensor": (lambda: torch.zeros(4, 5, dtype=torch.uint8), "repeat the grey channel"),
    "RGBA tensor": (lambda: torch.zeros(4, 4, 5, dtype=torch.uint8), "drop the alpha channel"),
    "float array": (lambda: np.zeros((4, 5, 3)), r"astype\(np\.uint8\)"),
    "CHW array": (lambda: np.zeros((3, 4, 5), np.uint8), r"transpose\(1, 2, 0\)"),
    "16-bit array": (lambda: np.zeros((4, 5, 3), np.uint16), "must be uint8"),
    "empty row": (lambda: {"bytes": None, "path": None}, "neither 'bytes' nor 'path'"),
    "row of a number": (lambda: {"bytes": 7}, "must be bytes, not int"),
    "row of a folder": (lambda: {"path": ""}, "neither"),
    "empty Arrow value": (lambda: pa.array([None, PNG])[0], "an empty value"),
    "text OpenFile": (lambda: fsspec.open("memory:///img/a.png", "r"), "text mode"),
    "missing remote": (lambda: upath.UPath("memory:///nowhere.png"), "no such file"),
    "response 404": (lambda: requests_response(b"gone", 404), "a response with the status 404"),
    "httpx response 503": (lambda: httpx_response(b"", 503), "a response with the status 503"),
    "HTML response": (lambda: httpx_response(b"<html>"), "HTML"),
    "closed file": (closed, "a file object that is closed"),
    "awaited read": (Awaited, "reads asynchronously"),
    "non-blocking": (Nonblocking, "does not wait for its bytes"),
    "text file": (lambda: io.StringIO("a"), "mode 'rb'"),
    "path as bytes": (lambda: b"photos/cat one.jpg", "read like a path or URL.*data.decode"),
    "URL as bytes": (lambda: b"https://example.org/a.png", "read like a path or URL"),
    "IPython of nothing": (
        lambda: Blob(path="x", data=None).model_copy(update={"path": None}),
        "neither data nor path",
    ),
    "moody": (Moody, "an image cannot be a Moody; pass a path"),
    "bad path": (BadPath, r"cannot be read \(KeyError\); pass BadPath\.read_bytes"),
    "date": (lambda: datetime.date(2020, 1, 1), "cannot be a date"),
    "deque": (lambda: deque([PNG]), "cannot be a deque"),
    "Windows path": (lambda: r"C:\Users\me\a.png", "a path of Windows, and the system here is"),
    "Windows file URL": (lambda: "file:///C:/Users/me/a.png", "a path of Windows"),
    "share": (lambda: r"\\server\share\a.png", "a path of Windows"),
    "file URL of another host": (lambda: "file://server/share/a.png", "another host"),
}


class TestRefusals:
    @pytest.mark.parametrize(("make", "said"), REFUSED.values(), ids=REFUSED.keys())
    def test_says_what_to_pass(self, make: Any, said: str) -> None:
        with pytest.raises(ImageError, match=said) as caught:
            InputParser().image(make()).open()
        assert "Error: " not in str(caught.value) or "(" in str(caught.value)

    def test_objects_are_read_up_to_the_limit(self, folder: Path) -> None:
        parser = InputParser(sources=SourcePolicy(max_bytes=50))
        handed: list[int] = []

        def endless() -> Iterator[bytes]:
            while True:
                handed.append(1)
                yield bytes(20)

        for given in (
            upath.UPath("memory:///img/a.png"),
            zipfile.Path(folder / "a.zip", "inner/a.png"),
            requests_response(),
            httpx_response(endless()),
            io.BytesIO(PNG),
        ):
            with pytest.raises(ImageError, match=r"more than 50 bytes.*max_bytes"):
                parser.image(given).open()
        assert len(handed) == 3

    def test_a_bomb_in_an_archive_is_not_unpacked(self, tmp_path: Path) -> None:
        with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a.png", bytes(2**26))
        with pytest.raises(ImageError, match="max_bytes"):
            InputParser(sources=SourcePolicy(max_bytes=2**20)).image(
                zipfile.Path(tmp_path / "bomb.zip", "a.png")
            ).open()

    def test_what_a_path_says_is_left_to_the_policy(self, folder: Path) -> None:
        strict = InputParser(sources=SourcePolicy.agent())
        for form in ("row without bytes", "Blob of a path", "local UPath", "file UPath", "path with blanks"):
            with pytest.raises(ImageError, match="does not allow files"):
                strict.image(FORMS[form](folder)).open()
        for form in ("row", "Blob of bytes", "zipfile.Path", "remote UPath", "httpx"):  # held by the program itself
            np.testing.assert_array_equal(strict.image(FORMS[form](folder)).open(), PIXELS)

    async def test_an_unread_response_of_an_async_client_says_so(self) -> None:
        async def chunks() -> Any:
            yield PNG

        response = httpx_response(chunks())
        with pytest.raises(ImageError, match="await aread"):
            InputParser().image(response).open()

    def test_plain_forms_are_left_alone(self) -> None:
        for given in ("a.png", b"x", PIXELS, Path("a.png"), io.BytesIO(PNG), Image.fromarray(PIXELS), 3, None, [PNG]):
            assert simplify(given) is given
            assert not is_image_object(given)

    def test_a_mapping_of_other_keys_is_no_image(self) -> None:
        with pytest.raises(InputError, match=r"go to encode\(\[\.\.\.\]\)"):
            one_or_many_images({"bytes": PNG, "label": 3})
