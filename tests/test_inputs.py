"""What an input means, decided in one place, and errors that say what to do without showing what was given."""

from __future__ import annotations

import base64
import io
import os
import traceback
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import pytest
from PIL import Image

from jina_clip_integrations import ImageError, InputError, SourcePolicy
from jina_clip_integrations.images.encoded import EncodedImage, PixelImage
from jina_clip_integrations.images.rendering import Rendering
from jina_clip_integrations.inputs import (
    InputParser,
    all_valid,
    check_text,
    many_items,
    one_or_many_images,
    one_or_many_texts,
    parse,
    parse_texts,
)

PIXELS = np.arange(5 * 4 * 3, dtype=np.uint8).reshape(4, 5, 3)


def png(pixels: Any = PIXELS) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


PNG = png()
BASE64 = base64.b64encode(PNG).decode()
URI = f"data:image/png;base64,{BASE64}"


def pixels_of(given: Any, **options: Any) -> Any:
    return np.asarray(InputParser(**options).image(given).open())


class TestEveryForm:
    @pytest.mark.parametrize(
        "given",
        [
            PNG,
            bytearray(PNG),
            memoryview(PNG),
            io.BytesIO(PNG),
            URI,
            URI.upper()[:5] + URI[5:],
            "data:;base64," + BASE64,
            "data:image/png;charset=x;base64," + BASE64[:20] + "\n " + BASE64[20:],
            "data:image/png;base64," + BASE64.rstrip("="),
            "data:image/png;base64," + BASE64.replace("+", "-").replace("/", "_"),
            "data:image/png;base64," + BASE64.replace("+", "%2B").replace("=", "%3D"),
            "data:image/png," + "".join(f"%{byte:02x}" for byte in PNG),
            PIXELS,
            Image.fromarray(PIXELS),
            PIXELS[:, ::-1][:, ::-1],
        ],
        ids=lambda given: type(given).__name__,
    )
    def test_gives_the_same_pixels(self, given: Any) -> None:
        np.testing.assert_array_equal(pixels_of(given), PIXELS)

    @pytest.mark.parametrize("form", [str, Path, lambda path: f"file://{path}", lambda path: f"file://localhost{path}"])
    def test_files(self, form: Any, tmp_path: Path) -> None:
        path = tmp_path / "ä image?.png"
        path.write_bytes(PNG)
        given = form(path) if form in (str, Path) else form(str(path)).replace(" ", "%20").replace("?", "%3F")
        image = InputParser().image(given)
        np.testing.assert_array_equal(image.open(), PIXELS)
        assert (image.size(), image.read()) == ((5, 4), PNG)

    def test_path_with_a_tilde(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", str(tmp_path))
        (tmp_path / "a.png").write_bytes(PNG)
        np.testing.assert_array_equal(pixels_of("~/a.png"), PIXELS)

    def test_open_files_and_pipes(self, tmp_path: Path) -> None:
        (tmp_path / "a.png").write_bytes(PNG)
        with open(tmp_path / "a.png", "rb") as stream:
            np.testing.assert_array_equal(pixels_of(stream), PIXELS)
        reading, writing = os.pipe()
        os.write(writing, PNG)
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            image = InputParser().image(pipe)
            np.testing.assert_array_equal(image.open(), PIXELS)
            assert image.read() == PNG  # a pipe can be read only once

    def test_a_stream_is_read_from_its_start_and_left_where_it_was(self) -> None:
        stream = io.BytesIO()
        stream.write(PNG)
        at = stream.tell()
        np.testing.assert_array_equal(pixels_of(stream), PIXELS)
        assert stream.tell() == at

    def test_nothing_is_read_before_it_is_asked_for(self) -> None:
        for given in ("/no/such/file.png", "https://no.such.host/a.png", "data:image/png;base64,!!!", b"nothing"):
            InputParser().image(given)

    def test_only_urls_have_a_url(self) -> None:
        url = "https://example.org/a.png?token=1"
        assert InputParser().image(url).url == url
        assert InputParser().image(URI).url is None
        assert InputParser().image(Path("a.png")).url is None

    def test_urls_that_have_to_be_checked_are_not_passed_on(self) -> None:
        image = InputParser(sources=SourcePolicy.agent()).image("https://example.org/a.png")
        assert (image.url, image.address) == (None, "https://example.org/a.png")


class TestNoImage:
    @pytest.mark.parametrize(
        ("given", "said"),
        [
            (3, "cannot be a int"),
            (None, "cannot be a NoneType"),
            ([PNG], "cannot be a list"),
            ("", "empty string"),
            ("s3://bucket/a.png", "s3:// is not fetched here"),
            ("file://server/share/a.png", "another host"),
            ("data:image/png;base64", "without a comma"),
            ("data:image/png;base64,????", "base64 is broken"),
            ("a\0b.png", "null"),
            (io.StringIO("text"), "mode 'rb'"),
            (b"", "an empty file"),
            (b"<!DOCTYPE html><html>", "HTML"),
            (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "git lfs pull"),
            (b"\0\0\0\x18ftypheic\0\0\0\0", "HEIC|broken or truncated"),
            (b"%PDF-1.7", "a PDF: render its pages"),
            (PNG[:-30], "broken or truncated"),
            (b"\x89PNG\r\n\x1a\nrubbish", "broken or truncated"),
            (np.zeros((4, 5), np.uint8), "repeat the grey channel"),
            (np.zeros((4, 5, 4), np.uint8), "drop the alpha channel"),
            (np.zeros((3, 4, 5), np.uint8), "channels come last"),
            (np.zeros((4, 5, 3), np.float32), "astype"),
            (np.zeros((4, 5, 3), np.int64), "int64"),
            (np.zeros((0, 5, 3), np.uint8), "nothing to embed"),
            (Image.new("RGB", (0, 5)), "nothing to embed"),
        ],
        ids=str,
    )
    def test_says_why(self, given: Any, said: str) -> None:
        with pytest.raises(ImageError, match=said):
            InputParser().image(given).open()

    def test_paths_say_why(self, tmp_path: Path) -> None:
        with pytest.raises(ImageError, match="a folder, not an image"):
            pixels_of(tmp_path)
        with pytest.raises(ImageError, match=r"nowhere\.png: no such file"):
            pixels_of(tmp_path / "nowhere.png")
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(ImageError, match="not a regular file"):
            pixels_of(tmp_path / "pipe")
        with pytest.raises(ImageError, match="not a regular file"):
            pixels_of("/dev/zero")

    def test_a_file_without_permission(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def denied(*args: Any) -> int:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr("jina_clip_integrations.images.sources.os.open", denied)
        with pytest.raises(ImageError, match="permission denied"):
            pixels_of(tmp_path / "a.png")

    def test_asynchronous_files(self) -> None:
        class Upload:
            async def read(self) -> bytes:
                return PNG

        with pytest.raises(ImageError, match="await its read"):
            InputParser().image(Upload())

    @pytest.mark.parametrize(
        "given",
        [BASE64, BASE64 * 40, "x y" * 100, "data:image/png;base64,!" + BASE64, PNG[:45], URI[:60], f"{BASE64}/a" * 99],
        ids=["base64", "much base64", "text", "broken", "truncated", "short", "long"],
    )
    def test_payloads_never_show(self, given: Any) -> None:
        with pytest.raises(ImageError) as caught:
            InputParser().image(given).open()
        said = "".join(traceback.format_exception_only(caught.value))
        cause = caught.value.__cause__
        said += "" if cause is None else "".join(traceback.format_exception_only(cause))
        said += f"{caught.value.__dict__}"
        assert BASE64[:24] not in said
        assert "x yx y" not in said
        assert "IHDR" not in said
        assert len(said) < 500

    def test_errors_are_remembered_by_the_image(self) -> None:
        image = InputParser().image(b"nothing")
        for use in (image.open, image.size, image.pixel_digest):
            with pytest.raises(ImageError) as caught:
                use()
            assert image.failure is caught.value


class TestItems:
    @pytest.mark.framework("langchain/content-blocks")
    @pytest.mark.parametrize(
        "item",
        [
            {"image": PNG},
            {"image": URI, "text": None},
            {"image": PNG, "id": 7},
            {"type": "image", "base64": BASE64, "mime_type": "image/png"},
            {"type": "image", "base64": BASE64},
            {"type": "image", "url": URI},
            {"type": "image", "source_type": "base64", "data": BASE64, "mime_type": "image/png"},
            {"type": "image", "source_type": "url", "url": URI},
            {"type": "image_url", "image_url": {"url": URI, "detail": "low"}},
            {"type": "image_url", "image_url": URI},
            {"image_url": {"url": URI}},
            {"type": "input_image", "image_url": URI},
        ],
    )
    def test_images(self, item: Any) -> None:
        image = InputParser().item(item)
        assert isinstance(image, EncodedImage)
        np.testing.assert_array_equal(image.open(), PIXELS)

    @pytest.mark.framework("langchain/content-blocks")
    @pytest.mark.parametrize(
        "item",
        [
            {"text": "hello"},
            {"text": "hello", "image": None},
            {"type": "text", "text": "hello"},
            {"type": "text", "source_type": "text", "text": "hello"},
            {"text": "hello", "data": {"page": 3}},
        ],
    )
    def test_texts(self, item: Any) -> None:
        assert InputParser().item(item) == "hello"

    @pytest.mark.parametrize(
        ("item", "said"),
        [
            ("hello", "an item cannot be a str"),
            (PNG, "an item cannot be a bytes"),
            ({}, r"\(none\)"),
            ({"txt": "hello"}, "'txt'"),
            ({"text": "a", "image": PNG}, "make two items"),
            ({"text": None}, "must be a str, not NoneType"),
            ({"text": 3}, "must be a str, not int"),
            ({"text": "a", "task": "retrieval.query"}, "use encode"),
            ({"type": "image"}, "without url or base64"),
            ({"type": "image", "file_id": "file-1"}, "file_id"),
            ({"type": "image_url", "image_url": {}}, "must start with http"),
            ({"type": "image", "url": "/etc/passwd"}, 'use {"image": path}'),
            ({"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}, 'use {"image": path}'),
            ({"type": "image", "base64": PNG}, "must be a str, not bytes"),
            ({"type": "audio", "base64": BASE64}, "'type'"),
        ],
        ids=str,
    )
    def test_neither(self, item: Any, said: str) -> None:
        with pytest.raises(InputError, match=said):
            InputParser().item(item)

    @pytest.mark.framework("langchain/content-blocks")
    def test_langchain_makes_such_blocks(self) -> None:
        content = pytest.importorskip("langchain_core.messages.content")
        for block in (content.create_image_block(base64=BASE64), content.create_image_block(url=URI)):
            np.testing.assert_array_equal(InputParser().item(block).open(), PIXELS)
        assert InputParser().item(content.create_text_block("hello")) == "hello"


class TestOneOrMany:
    @pytest.mark.parametrize("one", ["a.png", Path("a.png"), PNG, io.BytesIO(PNG), PIXELS, Image.fromarray(PIXELS)])
    def test_one_image(self, one: Any) -> None:
        images, single = one_or_many_images(one)
        assert single
        assert images[0] is one

    @pytest.mark.parametrize(
        "many",
        [["a.png"], ("a.png",), np.array(["a.png"]), np.array([Path("a.png")], dtype=object), {"a.png": 1}.keys()],
    )
    def test_many_images(self, many: Any) -> None:
        images, single = one_or_many_images(many)
        assert not single
        assert len(images) == 1

    def test_subclasses_of_pil_images_are_one(self) -> None:
        assert one_or_many_images(Image.open(io.BytesIO(PNG)))[1]

    def test_texts(self) -> None:
        assert one_or_many_texts("abc") == (["abc"], True)
        assert one_or_many_texts(["abc"]) == (["abc"], False)
        with pytest.raises(InputError):
            one_or_many_texts({"a", "b"})

    @pytest.mark.parametrize("kind", ["columns", "column_names"])
    def test_a_table_is_no_list(self, kind: str) -> None:
        table = type("Frame", (list,), {kind: ("text",)})(["text"])
        for function in (one_or_many_texts, one_or_many_images, many_items):
            with pytest.raises(InputError, match="a Frame is a table"):
                function(table)

    def test_the_first_bad_one_is_raised_with_its_index(self) -> None:
        assert all_valid(["a", "b"]) == ["a", "b"]
        for alone, index in [(False, 1), (True, None)]:
            with pytest.raises(InputError) as caught:
                all_valid(["a", InputError("one"), InputError("two")], alone=alone)
            assert (caught.value.index, caught.value.message) == (index, "one")

    def test_texts_become_plain_str(self) -> None:
        assert type(check_text(np.str_("abc"))) is str


class Named(str):
    """Somebody's own kind of text."""


class TestManyTexts:
    @pytest.mark.parametrize(
        "given",
        [["a", "", "ä"], ["a", "half \ud83d of a pair", "b"], [Named("a"), "b"], ["a", 3, None], ("a", "b"), []],
        ids=repr,
    )
    def test_are_what_each_of_them_is(self, given: Any) -> None:
        together, one_by_one = parse_texts(given), parse(given, check_text)
        assert list(map(type, together)) == list(map(type, one_by_one))
        assert list(map(str, together)) == list(map(str, one_by_one))

    def test_are_not_the_callers_list(self) -> None:
        given = ["a", "b"]
        parsed = parse_texts(given)
        given[0] = "c"
        assert parsed == ["a", "b"]


class TestImages:
    def test_labels(self) -> None:
        parser = InputParser()
        assert parser.image("a/b.png").label == "a/b.png"
        assert parser.image("https://u:p@example.org:8/a.png?key=1#x").label == "https://example.org:8/a.png"
        image = parser.image(PNG)
        image.read()
        assert image.label.startswith(f"image/png {len(PNG)} B sha256:")
        assert parser.image(PIXELS).label == "array 5 x 4"
        assert parser.image(Image.new("L", (7, 2))).label == "PIL image 7 x 2 L"

    def test_pixels_without_a_file_are_read_as_png(self) -> None:
        for given in (PIXELS, Image.fromarray(PIXELS)):
            data = InputParser().image(given).read()
            assert data.startswith(b"\x89PNG")
            np.testing.assert_array_equal(Image.open(io.BytesIO(data)), PIXELS)

    def test_size_needs_the_header_only(self) -> None:
        assert InputParser().image(PNG[:60]).size() == (5, 4)
        assert InputParser().image(PIXELS).size() == (5, 4)

    def test_bytes_are_kept_until_released(self) -> None:
        opened = []
        image = EncodedImage(lambda: opened.append(1) or io.BytesIO(PNG), keep=True, max_pixels=99)
        image.open()
        image.read()
        assert len(opened) == 1
        image.release()
        image.read()
        assert len(opened) == 2

    def test_too_many_pixels(self) -> None:
        for given in (PNG, PIXELS, Image.fromarray(PIXELS)):
            parser = InputParser(sources=SourcePolicy.trusted(max_pixels=19))
            with pytest.raises(ImageError, match="5 x 4 pixels are more than the 19"):
                parser.image(given).open()
            with pytest.raises(ImageError, match="max_pixels"):
                parser.image(given).size()

    def test_decompression_bombs(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 12)  # a warning from here, an error from 24
        np.testing.assert_array_equal(pixels_of(PNG), PIXELS)
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 9)
        with pytest.raises(ImageError, match="MAX_IMAGE_PIXELS"):
            pixels_of(PNG)

    def test_the_callers_image_is_left_alone(self) -> None:
        given = Image.fromarray(PIXELS).convert("P")
        given.info["transparency"] = b"\0" * 10
        InputParser().image(given).open()
        assert (given.mode, given.info["transparency"]) == ("P", b"\0" * 10)

    def test_first_frame_of_an_animation(self) -> None:
        frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "green")]
        for kind in ("GIF", "WEBP"):
            buffer = io.BytesIO()
            frames[0].save(
                buffer, kind, save_all=True, append_images=frames[1:], **{"lossless": True} if kind == "WEBP" else {}
            )
            assert pixels_of(buffer.getvalue())[0, 0].tolist() == [255, 0, 0]


MODES = ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I;16", "I", "F"]


def example(mode: str) -> Image.Image:
    rng = np.random.default_rng(0)
    if mode in ("I;16", "I", "F"):
        kind = {"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode]
        return Image.fromarray(rng.integers(0, 1000, (6, 5)).astype(kind))
    return (
        Image.fromarray(rng.integers(0, 256, (6, 5, 4), dtype=np.uint8), "RGBA")
        .convert("RGB" if mode == "CMYK" else mode)
        .convert(mode)
    )


class TestColours:
    """As the published models: plain `convert("RGB")`."""

    @pytest.mark.parametrize("mode", MODES)
    def test_of_images(self, mode: str) -> None:
        np.testing.assert_array_equal(pixels_of(example(mode)), np.asarray(example(mode).convert("RGB")))

    @pytest.mark.parametrize("mode", MODES)
    def test_of_files(self, mode: str) -> None:
        if mode == "YCbCr" and int(PIL.__version__.partition(".")[0]) < 13:
            pytest.skip("Pillow before 13 cannot read a TIFF in YCbCr")
        buffer = io.BytesIO()
        example(mode).save(buffer, "TIFF")
        np.testing.assert_array_equal(pixels_of(buffer.getvalue()), np.asarray(example(mode).convert("RGB")))

    def test_sixteen_bits_are_clipped(self) -> None:
        grey = np.array([[0, 100, 255, 256, 65535]], np.uint16)
        buffer = io.BytesIO()
        Image.fromarray(grey).save(buffer, "PNG")
        assert pixels_of(buffer.getvalue())[0, :, 0].tolist() == [0, 100, 255, 255, 255]

    @pytest.mark.parametrize("transparency", [1, b"\xff\x00\x80"])
    def test_transparency_of_a_palette_is_dropped_without_a_warning(self, transparency: Any) -> None:
        buffer = io.BytesIO()
        plain = Image.fromarray(PIXELS).convert("P")
        plain.save(buffer, "PNG", transparency=transparency)
        expected = np.asarray(plain.convert("RGB"))
        np.testing.assert_array_equal(pixels_of(buffer.getvalue()), expected)
        np.testing.assert_array_equal(pixels_of(Image.open(io.BytesIO(buffer.getvalue()))), expected)

    def test_transparent_pixels_keep_their_colour(self) -> None:
        image = Image.new("RGBA", (2, 2), (10, 20, 30, 0))
        assert pixels_of(image)[0, 0].tolist() == [10, 20, 30]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP"])
class TestOrientation:
    def photo(self, orientation: int, kind: str) -> bytes:
        exif = Image.Exif()
        exif[0x0112] = orientation
        buffer = io.BytesIO()
        Image.fromarray(np.kron(PIXELS, np.ones((8, 8, 1), np.uint8))).save(buffer, kind, exif=exif, quality=95)
        return buffer.getvalue()

    def test_is_applied(self, orientation: int, kind: str) -> None:
        from PIL import ImageOps

        data = self.photo(orientation, kind)
        with Image.open(io.BytesIO(data)) as image:
            expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
        for given in (data, Image.open(io.BytesIO(data))):
            np.testing.assert_array_equal(pixels_of(given), expected)
        assert InputParser().image(data).size() == expected.shape[1::-1]
        assert InputParser().image(Image.open(io.BytesIO(data))).size() == expected.shape[1::-1]

    def test_can_be_left(self, orientation: int, kind: str) -> None:
        data = self.photo(orientation, kind)
        with Image.open(io.BytesIO(data)) as image:
            expected = np.asarray(image.convert("RGB"))
        parsed = InputParser(rendering=Rendering(upright=False)).image(data)
        np.testing.assert_array_equal(parsed.open(), expected)
        assert parsed.size() == expected.shape[1::-1]


@pytest.mark.parametrize(
    ("kind", "min_side", "size"),
    [
        ("JPEG", 1, (50, 100)),
        ("JPEG", 100, (100, 200)),
        ("JPEG", 101, (200, 400)),
        ("JPEG", 400, (400, 800)),
        ("JPEG", 10_000, (400, 800)),
        ("PNG", 1, (400, 800)),
    ],
)
def test_a_jpeg_may_be_opened_smaller_but_not_too_small(kind: str, min_side: int, size: tuple[int, int]) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).resize((800, 400)).save(buffer, kind, exif=exif)
    image = InputParser(rendering=Rendering(upright=True)).image(buffer.getvalue())
    assert image.open(min_side=min_side).size == size
    assert image.open().size == image.size() == (400, 800)
    assert image.open(min_side=min_side).mode == "RGB"


def test_pixels_are_opened_as_they_are() -> None:
    assert InputParser().image(PIXELS).open(min_side=1).size == PIXELS.shape[1::-1]


def test_broken_exif_does_not_make_a_broken_image() -> None:
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, "PNG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xffrubbish")
    np.testing.assert_array_equal(pixels_of(buffer.getvalue()), PIXELS)


def test_kinds_of_images() -> None:
    assert isinstance(InputParser().image(PIXELS), PixelImage)
    assert isinstance(InputParser().image(PNG), EncodedImage)


def test_postscript_is_never_handed_to_another_program(tmp_path: Path) -> None:
    image = tmp_path / "drawing.eps"
    Image.new("RGB", (8, 8)).save(image, "EPS")
    parsed = InputParser(sources=SourcePolicy.trusted(), rendering=Rendering()).image(image)
    with pytest.raises(ImageError, match=r"drawing\.eps: PostScript: it would need another program"):
        parsed.open()
