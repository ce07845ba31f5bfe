"""Same model, same vectors: one test body for this machine and for the API client in front of our own server.

Every way must give the golden vectors, in the caller's order, and treat bad items alike.
"""

from __future__ import annotations

import base64
import functools
import http.server
import io
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from safetensors.numpy import load_file

from jina_clip_integrations import (
    ApiBackend,
    ConfigurationError,
    ImageError,
    InputError,
    JinaClipEncoder,
    LocalBackend,
    SourcePolicy,
)
from jina_clip_integrations.server import create_app
from jina_clip_integrations.vectors import pack_bits, truncate_and_normalize
from tests.faces import both_faces
from tests.serving import Serving

NEAR = 2e-5
"""The golden files' own tolerance: batches of another shape add up in another order."""

WAYS = ["local", "api", "api of an unknown model", "invocations"]
pytestmark = pytest.mark.filterwarnings("ignore:.*as in the published preprocessing:UserWarning")  # which is the point

every_way = pytest.mark.parametrize("way", WAYS)


@dataclass(frozen=True)
class Golden:
    """A tiny checkpoint, what it must give, and a server of it."""

    backend: LocalBackend
    texts: list[str]
    images: list[Path]
    rows: dict[str, np.ndarray]
    serving: Serving

    @property
    def name(self) -> str:
        return self.backend.spec.name

    def widths(self) -> list[int | None]:
        return [None, 48, 16, 8] if self.backend.spec.matryoshka_dimensions else [None]

    def expected(self, rows: np.ndarray, dimensions: int | None = None) -> np.ndarray:
        return truncate_and_normalize(rows, dimensions=dimensions, normalized=True)


@pytest.fixture(scope="module")
def golden(golden_folder: Path) -> Iterator[Golden]:
    facts = json.loads((golden_folder / "golden.json").read_text(encoding="utf-8"))
    arrays = load_file(golden_folder / "golden.safetensors")
    photos = [n for n, row in enumerate(facts["images"]) if "exif" not in row["file"]]  # golden rows ignore EXIF
    task = facts["tasks"][-1] if len(facts["tasks"]) > 1 else None
    with LocalBackend(golden_folder, dtype="float32", device="cpu", max_length=512) as backend:
        lengths = backend.count_tokens(facts["texts"], task=task)
        short = [n for n, length in enumerate(lengths) if length <= backend.max_length]
        rows = {name: arrays[f"text.{name}.raw"][short] for name in facts["tasks"]}
        rows["image"] = arrays["images.raw"][photos]
        images = [golden_folder / facts["images"][n]["file"] for n in photos]
        serving = Serving(create_app(backend, allow_private_addresses=True))
        serving.start()
        yield Golden(backend, [facts["texts"][n] for n in short], images, rows, serving)
        serving.stop()


@pytest.fixture
def encoder(golden: Golden, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., JinaClipEncoder]]:
    """`encoder(way, dimensions=16)`: an encoder of the golden model, here or through the server."""
    opened: list[JinaClipEncoder] = []

    def make(way: str, *, backend_options: dict[str, Any] | None = None, **options: Any) -> JinaClipEncoder:
        backend: Any = golden.backend
        if way != "local":
            spec = None if way == "api of an unknown model" else golden.backend.spec
            monkeypatch.setattr("jina_clip_integrations.backends.remote.api.find_model", lambda name: spec)
            dialect = way if way in ("invocations", "jina-onprem") else "jina"
            base_url = golden.serving.url + ("" if dialect == "invocations" else "/v1")
            given = {"dialect": dialect, "base_url": base_url, "batch_size": 5, "max_retries": 0} | (
                backend_options or {}
            )
            backend = ApiBackend(golden.name, **given)
        opened.append(JinaClipEncoder(backend=backend, **options))
        return opened[-1]

    yield make
    for one in opened:
        backend: Any = one.backend
        if backend is not golden.backend:
            backend.close()


def near(rows: np.ndarray, expected: np.ndarray) -> None:
    assert rows.dtype == np.float32
    assert rows.shape == expected.shape
    np.testing.assert_allclose(rows, expected, atol=NEAR, rtol=0)


def image_forms(path: Path) -> list[Any]:
    data = path.read_bytes()
    forms = [path, str(path), data, io.BytesIO(data), f"data:image/png;base64,{base64.b64encode(data).decode()}"]
    return [*forms, PIL.Image.open(io.BytesIO(data))]


@every_way
@both_faces
class TestVectors:
    def test_of_texts_at_every_width(self, golden: Golden, encoder, face, way: str) -> None:
        for dimensions in golden.widths():
            rows = face(encoder(way, dimensions=dimensions)).encode_text(golden.texts)
            near(rows, golden.expected(golden.rows["none"], dimensions))

    def test_of_queries(self, golden: Golden, encoder, face, way: str) -> None:
        asked = face(encoder(way))
        if "retrieval.query" in golden.rows:
            rows = asked.encode_text(golden.texts, task="retrieval.query")
            near(rows, golden.expected(golden.rows["retrieval.query"]))
        elif way == "api of an unknown model":  # only its server knows that it has no such task
            near(asked.encode_text(golden.texts, task="retrieval.query"), golden.expected(golden.rows["none"]))
        else:
            with pytest.raises(ConfigurationError, match="unknown task"):
                asked.encode_text(golden.texts, task="retrieval.query")

    def test_of_images_at_every_width(self, golden: Golden, encoder, face, way: str) -> None:
        for dimensions in golden.widths():
            rows = face(encoder(way, dimensions=dimensions)).encode_image(golden.images)
            near(rows, golden.expected(golden.rows["image"], dimensions))

    def test_of_images_in_every_form(self, golden: Golden, encoder, face, way: str) -> None:
        forms = image_forms(golden.images[0])
        rows = face(encoder(way)).encode_image(forms)
        near(rows, np.repeat(golden.expected(golden.rows["image"][:1]), len(forms), axis=0))

    @pytest.mark.obligation("23")
    def test_of_mixed_items_with_repetitions(self, golden: Golden, encoder, face, way: str) -> None:
        texts = [({"text": text}, row) for text, row in zip(golden.texts, golden.rows["none"], strict=True)]
        images = [({"image": p}, row) for p, row in zip(golden.images, golden.rows["image"], strict=True)]
        chosen = [*texts, *images, *texts[:5], *images[:3]]
        order = np.random.default_rng(3).permutation(len(chosen))
        rows = face(encoder(way)).encode([chosen[n][0] for n in order])
        near(rows, golden.expected(np.stack([chosen[n][1] for n in order])))

    def test_of_one_alone(self, golden: Golden, encoder, face, way: str) -> None:
        near(face(encoder(way)).encode_text(golden.texts[0]), golden.expected(golden.rows["none"])[0])
        near(face(encoder(way)).encode_image(golden.images[0]), golden.expected(golden.rows["image"])[0])

    def test_that_are_not_normalised(self, golden: Golden, encoder, face, way: str) -> None:
        rows = face(encoder(way, normalize=False)).encode_text(golden.texts)
        np.testing.assert_allclose(rows, golden.rows["none"], atol=5e-4, rtol=0)


@every_way
@both_faces
class TestBadItems:
    """The item at fault is named by the caller's index, or skipped, and the others are the same as ever."""

    def items(self, golden: Golden) -> tuple[list[Any], dict[int, type[Exception]], np.ndarray]:
        whole = golden.images[0].read_bytes()
        items: list[Any] = [{"text": golden.texts[0]}, {"image": golden.images[1]}]
        items += [{"image": whole[: len(whole) // 2]}, {"text": "half a pair \ud800"}, {"image": b"no image"}]
        items += [{"image": golden.images[2]}, {"image": Path("missing.png")}, {"text": golden.texts[3]}]
        raw = np.full((8, golden.backend.dimensions), np.nan, np.float32)
        raw[[0, 7]] = golden.rows["none"][[0, 3]]
        raw[[1, 5]] = golden.rows["image"][[1, 2]]
        return items, {2: ImageError, 3: InputError, 4: ImageError, 6: ImageError}, raw

    @pytest.mark.obligation("30")
    def test_skipped(self, golden: Golden, encoder, face, way: str) -> None:
        items, bad, raw = self.items(golden)
        asked = encoder(way)
        rows = face(asked).encode(items, on_error="skip")
        near(rows, golden.expected(raw))
        assert {index: type(error) for index, error in asked.last_errors.items()} == bad

    def test_raised(self, golden: Golden, encoder, face, way: str) -> None:
        items, bad, _ = self.items(golden)
        for index, kind in bad.items():
            with pytest.raises(kind) as caught:
                face(encoder(way)).encode([items[0], items[7], items[index], items[1]])
            assert caught.value.index == 2
            assert type(caught.value) is kind


@both_faces
def test_a_server_of_another_dialect(golden: Golden, encoder, face) -> None:
    """Our server understands the items of Jina's own image too."""
    items = [{"text": golden.texts[0]}, {"image": golden.images[0]}, {"text": golden.texts[3]}]
    raw = np.stack([golden.rows["none"][0], golden.rows["image"][0], golden.rows["none"][3]])
    near(face(encoder("jina-onprem")).encode(items), golden.expected(raw))


@pytest.mark.obligation("25")
@pytest.mark.parametrize("way", ["local", "api", "invocations"])
@both_faces
def test_a_photo_is_turned_upright_once(golden: Golden, encoder, face, way: str) -> None:
    photo = golden.images[0].parent / "exif_rotated.jpg"
    turned = face(encoder("local")).encode_image(photo)
    near(face(encoder(way)).encode_image(photo), turned)
    as_stored = face(encoder("local", exif_orientation=False)).encode_image(photo)
    near(face(encoder(way, exif_orientation=False)).encode_image(photo), as_stored)
    assert np.abs(turned - as_stored).max() > 100 * NEAR


def _unclear_images() -> list[Any]:
    """Different images that the published preprocessing makes equal."""
    logos = []
    for left in (0, 150):
        logo = PIL.Image.new("RGBA", (300, 300), (0, 0, 0, 0))
        logo.paste((0, 0, 0, 255), (left, 0, left + 150, 300))
        logos.append(logo)
    ramp = np.tile(np.linspace(20_000, 60_000, 90).astype(np.uint16), (70, 1))
    return [_encode(image) for image in (*logos, PIL.Image.fromarray(ramp), PIL.Image.fromarray(ramp[:, ::-1].copy()))]


def _encode(image: PIL.Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("resized", [True, False])
@pytest.mark.parametrize("way", ["api", "invocations"])
@both_faces
def test_transparency_and_depth_are_rendered_alike(golden: Golden, encoder, face, way: str, resized: bool) -> None:
    colors = {"background": "white", "high_bit_depth": "scale"}
    here = face(encoder("local", **colors)).encode_image(_unclear_images())
    there = encoder(way, backend_options={"resize_images": resized}, **colors)
    near(face(there).encode_image(_unclear_images()), here)
    published = face(encoder("local")).encode_image(_unclear_images())
    for first, second in ((0, 1), (2, 3)):
        assert published[first] @ published[second] > 1 - 1e-6
        assert here[first] @ here[second] < 1 - 1e-5


IMAGE_MODES = ("RGB", "L", "LA", "P", "RGBA", "CMYK", "1")
IMAGE_SIZES = ((400, 300), (31, 200), (300, 20), (9, 7), (61, 61), (1000, 12))
"""Larger than a tile both ways, one way only, smaller than one, and so long that only its middle is resampled."""


@pytest.mark.obligation("25")
@pytest.mark.parametrize("way", ["api", "invocations"])
@both_faces
def test_images_of_every_kind_have_one_vector(golden: Golden, encoder, face, way: str) -> None:
    """Shrunk and sent as one tile, or computed here: the cosine is 1 but for the last digits."""
    noise = np.random.default_rng(7)
    images = [
        PIL.Image.fromarray(noise.integers(0, 255, (height, width, 3), np.uint8)).convert(mode)
        for mode in IMAGE_MODES
        for width, height in IMAGE_SIZES
    ]
    asked, here = encoder(way), encoder("local")
    remote, local = face(asked).encode_image(images), here.encode_image(images)
    near(remote, local)
    assert np.einsum("nd,nd->n", remote, local).min() > 0.99999
    assert asked.usage.total_tokens == golden.backend.spec.tokens_per_tile * len(images)


@pytest.mark.parametrize("embedding_type", ["float", "base64", "binary", "ubinary"])
@both_faces
def test_ways_of_travelling(golden: Golden, encoder, face, embedding_type: str) -> None:
    asked = encoder("api", backend_options={"embedding_type": embedding_type})
    rows = face(asked).encode_text(golden.texts)
    expected = golden.expected(golden.rows["none"])
    if embedding_type in ("float", "base64"):
        near(rows, expected)
    else:
        sure = np.packbits(np.abs(expected) > NEAR, axis=1)  # the sign of a value next to zero may fall either way
        assert np.unpackbits(sure).mean() > 0.99
        np.testing.assert_array_equal(rows & sure, pack_bits(expected) & sure)


@pytest.mark.parametrize("way", ["local", "api"])
@both_faces
def test_long_texts_are_cut_at_the_same_token(golden: Golden, encoder, face, way: str) -> None:
    text = "a long text about lighthouses " * 400
    with pytest.warns(UserWarning, match="longer"):
        expected = encoder("local").encode_text([text, "short"])
    with pytest.warns(UserWarning, match="longer"):
        near(face(encoder(way)).encode_text([text, "short"]), expected)


@pytest.mark.parametrize("resize_images", [True, False])
@both_faces
def test_images_by_url(golden: Golden, encoder, face, resize_images: bool) -> None:
    """Fetched here and shrunk, or fetched by the server."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

    folder = functools.partial(Quiet, directory=golden.images[0].parent)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), folder)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        urls = [f"http://127.0.0.1:{server.server_port}/{path.name}" for path in golden.images]
        trusted = SourcePolicy.trusted()  # the host is this machine
        asked = encoder("api", backend_options={"resize_images": resize_images}, sources=trusted)
        near(face(asked).encode_image(urls), golden.expected(golden.rows["image"]))
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_usage_is_what_the_tokenizer_counts(golden: Golden, encoder) -> None:
    asked = encoder("api")
    asked.encode_text(golden.texts)
    unique = list(dict.fromkeys(golden.texts))
    assert asked.usage.total_tokens == sum(golden.backend.count_tokens(unique))
    before = asked.usage.total_tokens
    asked.encode_image(golden.images)
    tiles = golden.backend.spec.tokens_per_tile * len(golden.images)
    assert asked.usage.total_tokens - before == tiles  # one tile each, since they were shrunk


def test_tokens_are_counted_as_the_golden_files_have_them(golden: Golden, golden_folder: Path) -> None:
    facts = json.loads((golden_folder / "golden.json").read_text(encoding="utf-8"))
    for task, ids in facts["token_ids"].items():
        counts = golden.backend.count_tokens(facts["texts"], task=None if task == "none" else task)
        limit = facts["default_max_length"]
        assert [min(count, limit) for count in counts] == [len(row) for row in ids]
        assert max(counts) > limit


# Classification: as transformers' CLIP computes it, softmax(logits_per_image)


def model_probabilities(folder: Path, images: list[Path], prompts: list[str]) -> np.ndarray:
    """The model's own forward pass over images and prompts together."""
    import torch

    from jina_clip_integrations.modeling import JinaClipModel, JinaClipProcessor

    model = JinaClipModel.from_pretrained(folder, dtype="float32").eval()
    processor = JinaClipProcessor.from_pretrained(folder)
    opened = [PIL.Image.open(path).convert("RGB") for path in images]
    with torch.inference_mode():
        given = processor(text=prompts, images=opened, return_tensors="pt")
        shares = model(**given).logits_per_image.softmax(dim=1)
    return np.asarray(shares.numpy())


@every_way
@both_faces
def test_probabilities_are_those_of_the_models_forward_pass(
    golden: Golden, golden_folder: Path, encoder, face, way: str
) -> None:
    labels = ["lighthouse", "bicycle", "a bowl of rice", "Hund", "海"]
    expected = model_probabilities(golden_folder, golden.images, [f"a photo of a {label}." for label in labels])
    told = None if way == "local" else golden.backend.logit_scale  # a server does not tell it
    result = face(encoder(way)).classify(golden.images, labels, logit_scale=told)
    # A logit is the scale, up to 19 here, times a cosine that is exact to 3e-7.
    limit = 1e-6 if way == "local" else 1e-5
    np.testing.assert_allclose(result.probabilities, expected, atol=limit, rtol=0)
    assert result.predicted == [labels[row.argmax()] for row in expected]
    assert expected.std(axis=1).min() > 1e-3  # not all alike


def test_the_logit_scale_is_that_of_the_golden_logits(golden: Golden, golden_folder: Path) -> None:
    arrays = load_file(golden_folder / "golden.safetensors")
    cosines = arrays["text.none.normalized"] @ arrays["images.normalized"].T
    np.testing.assert_allclose(golden.backend.logit_scale * cosines, arrays["logits_per_text"], atol=2e-5, rtol=0)
