"""The example page in a real browser: the vectors of an exported model are those of this machine."""

from __future__ import annotations

import base64
import io
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from jina_clip_integrations import JinaClipEncoder
from jina_clip_integrations.backends.exported.folder import read_description
from jina_clip_integrations.export import export_model, onnx_graphs
from jina_clip_integrations.images.geometry import normalize_pixels, resize_and_crop
from jina_clip_integrations.retrieval.fingerprint import EXPORT_FILE
from tests.browsing import Watched, missing, open_browser
from tests.exports import GOLDEN, exported

PAGE = Path(__file__).parents[2] / "examples" / "browser"
PACKAGES = PAGE / "node_modules"

TEXTS = (
    "a red bicycle",
    "ein großes, rotes Fahrrad lehnt an der Wand",
    "雨の中で踊る二人",
    "الأفق عند الغروب",
    "  two  spaces, ﬁ, ½ and e\u0301 ",
    "",
    "a long text, " * 60,
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if not (PACKAGES / "onnxruntime-web").is_dir():
        missing(
            f"no packages for the page: run `npm ci --ignore-scripts` in {PAGE.name}/ (Debian: apt-get install npm)"
        )
    with open_browser() as opened:
        yield opened


class Quiet(SimpleHTTPRequestHandler):
    """What `python -m http.server` answers, without its log."""

    def log_message(self, format: str, *args: Any) -> None:
        del format, args


Visit = Callable[[Path], Watched]


@pytest.fixture
def visit(browser: Any, tmp_path: Path) -> Iterator[Visit]:
    """`visit(exported_folder)`: the page with that model, served from loopback; it may ask for nothing elsewhere."""
    site = tmp_path / "site"
    site.mkdir()
    for each in PAGE.iterdir():
        (site / each.name).symlink_to(each)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=site))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}"
    context = browser.new_context()
    watched = Watched(context.new_page(), url)

    def open_page(model: Path) -> Watched:
        (site / "the-model").symlink_to(model)
        watched.page.goto(f"{url}/index.html?model=the-model")
        watched.page.wait_for_function("document.getElementById('text').onchange !== null")
        return watched

    yield open_page
    context.close()
    server.shutdown()
    thread.join()
    server.server_close()
    assert watched.errors == []
    assert watched.foreign == []


LOAD = "const { JinaClip } = await import('./jina-clip.js'); const clip = await JinaClip.load('the-model');"
FILE = "const file = await (await fetch(`data:;base64,${encoded}`)).blob();"


def embed_texts(page: Any, texts: list[str], options: str = "{}") -> Any:
    script = f"""async (texts) => {{ {LOAD} const rows = [];
        for (const text of texts) rows.push(Array.from(await clip.embedText(text, {options}))); return rows; }}"""
    return np.array(page.evaluate(script, texts), np.float32)


def embed_image(page: Any, image: bytes) -> Any:
    script = f"async (encoded) => {{ {LOAD} {FILE} return Array.from(await clip.embedImage(file)); }}"
    return np.array(page.evaluate(script, base64.b64encode(image).decode()), np.float32)


def picture(width: int, height: int, format: str = "PNG", **options: Any) -> bytes:
    """An image with edges, gradients and noise."""
    random = np.random.default_rng(width * height)
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    waves = np.stack([np.sin(9 * x + 3 * y), np.cos(17 * x * y), x - y], axis=-1)
    levels = np.clip((waves + random.normal(0, 0.3, waves.shape)) * 90 + 128, 0, 255).astype(np.uint8)
    file = io.BytesIO()
    PIL.Image.fromarray(levels).save(file, format, **options)
    return file.getvalue()


def turned() -> bytes:
    """A photograph that was taken with the camera on its side."""
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    return picture(300, 200, "JPEG", quality=92, exif=exif)


@pytest.mark.parametrize("model", ["demo", "v1", "v2"])
def test_a_text_has_the_vector_that_it_has_here(visit: Visit, model: str) -> None:
    source = "demo" if model == "demo" else GOLDEN / model
    with JinaClipEncoder(source, backend="local", device="cpu", dtype="float32") as encoder:
        expected = encoder.encode_text(list(TEXTS))
    found = embed_texts(visit(exported(model)).page, list(TEXTS))
    np.testing.assert_allclose(found, expected, atol=2e-5, rtol=0)


def test_tasks_and_dimensions(visit: Visit) -> None:
    with JinaClipEncoder("demo", backend="local", device="cpu", dtype="float32", dimensions=32) as encoder:
        expected = encoder.encode_text(["a red bicycle"], task="retrieval.query")
    options = "{ task: 'retrieval.query', dimensions: 32 }"
    found = embed_texts(visit(exported("demo")).page, ["a red bicycle"], options)
    np.testing.assert_allclose(found, expected, atol=2e-5, rtol=0)


def test_a_misspelt_task_is_an_error(visit: Visit) -> None:
    page = visit(exported("v2")).page
    with pytest.raises(Exception, match=r"retrieval\.querry: not one of retrieval\.query"):
        embed_texts(page, ["a red bicycle"], "{ task: 'retrieval.querry' }")


def test_a_text_beyond_the_longest_is_cut_before_its_last_token(visit: Visit, tmp_path: Path) -> None:
    folder = tmp_path / "short"
    shutil.copytree(exported("v2"), folder)
    about = json.loads((folder / EXPORT_FILE).read_text("utf-8"))
    about["text"]["max_length"] = 40
    (folder / EXPORT_FILE).write_text(json.dumps(about), "utf-8")
    with JinaClipEncoder(folder, backend="onnx") as encoder, pytest.warns(UserWarning, match="max_length=40"):
        expected = encoder.encode_text([TEXTS[-1]])
    np.testing.assert_allclose(embed_texts(visit(folder).page, [TEXTS[-1]]), expected, atol=2e-5, rtol=0)


def test_an_image_has_the_vector_that_it_has_here(visit: Visit) -> None:
    size = read_description(exported("demo")).images.size
    images = [
        picture(size, size),
        picture(3 * size + 7, 2 * size),
        picture(size // 2, size - 11),
        picture(501, 333, "JPEG", quality=90),
        turned(),
    ]
    with JinaClipEncoder("demo", backend="local", device="cpu", dtype="float32") as encoder:
        expected = encoder.encode_image(images)
    page = visit(exported("demo")).page
    found = np.stack([embed_image(page, each) for each in images])
    np.testing.assert_allclose(found, expected, atol=2e-5, rtol=0)


@pytest.mark.parametrize("size", [(512, 512), (700, 401), (97, 411), (1500, 1501), (31, 1000)])
def test_every_pixel_is_the_one_that_pillow_computes(visit: Visit, size: tuple[int, int]) -> None:
    images = read_description(exported("v2")).images
    file = picture(*size)
    levels = resize_and_crop(PIL.Image.open(io.BytesIO(file)), images.size)
    page = visit(exported("v2")).page
    script = f"""async ([encoded, steps]) => {{ const {{ toPixels }} = await import('./pixels.js'); {FILE}
        return Array.from(await toPixels(file, steps)); }}"""
    steps = {"size": images.size, "mean": images.mean, "std": images.std}
    steps |= {"resize_mode": images.resize_mode, "interpolation": images.interpolation}
    found = page.evaluate(script, [base64.b64encode(file).decode(), steps])
    expected = normalize_pixels(levels, images.mean, images.std)
    np.testing.assert_allclose(np.reshape(found, expected.shape), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_smaller_weights_compute_in_a_browser_what_they_compute_here(visit: Visit, dtype: str) -> None:
    folder = exported("v2", "onnx", dtype)
    image = picture(300, 200)
    with JinaClipEncoder(folder, backend="onnx") as encoder:
        texts, images = encoder.encode_text(list(TEXTS[:4])), encoder.encode_image(image)
    page = visit(folder).page
    assert (embed_texts(page, list(TEXTS[:4])) * texts).sum(axis=1).min() >= 0.999
    assert embed_image(page, image) @ images >= 0.999


def test_weights_in_files_beside_the_graph_are_fetched(
    visit: Visit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_graphs, "MAX_FILE_BYTES", 300_000)
    export_model(GOLDEN / "v2", tmp_path / "parts")
    with JinaClipEncoder(exported("v2"), backend="onnx") as encoder:
        expected = encoder.encode_text(list(TEXTS[:2]))
    found = embed_texts(visit(tmp_path / "parts").page, list(TEXTS[:2]))
    np.testing.assert_allclose(found, expected, atol=2e-5, rtol=0)


def test_a_person_types_a_text_and_chooses_an_image(visit: Visit, tmp_path: Path) -> None:
    image = tmp_path / "photo.jpg"
    image.write_bytes(picture(400, 300, "JPEG", quality=90))
    with JinaClipEncoder("demo", backend="local", device="cpu", dtype="float32") as encoder:
        one, other = encoder.encode_text(["a red bicycle", "a wooden boat"])
        vector = encoder.encode_image(image)
    page = visit(exported("demo")).page
    page.set_input_files("#image", image)
    page.wait_for_function("/\\d/.test(document.getElementById('cosine').value)")
    assert float(page.evaluate("document.getElementById('cosine').value")) == pytest.approx(
        float(one @ vector), abs=1e-4
    )
    page.fill("#text", "a wooden boat")
    page.press("#text", "Enter")
    page.wait_for_function(f"document.getElementById('cosine').value === '{other @ vector:.4f}'")


def test_packages_are_pinned_by_checksum_and_no_registry_is_named() -> None:
    lock = json.loads((PAGE / "package-lock.json").read_text("utf-8"))
    wanted = json.loads((PAGE / "package.json").read_text("utf-8"))["dependencies"]
    packages = {name.removeprefix("node_modules/"): each for name, each in lock["packages"].items() if name}
    assert {name: packages[name]["version"] for name in wanted} == wanted
    assert all(each["integrity"].startswith("sha512-") and "resolved" not in each for each in packages.values())


def test_the_documentation_shows_the_page_as_it_is() -> None:
    page = (PAGE / "index.html").read_text("utf-8")
    shown = page[page.index("<p>") :]
    assert f"```html\n{shown}```" in (PAGE.parents[1] / "docs" / "export.md").read_text("utf-8")
