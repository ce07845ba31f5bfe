"""Same model, same vectors, through the classes of frameworks and stores: here and over the API from our own server."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from jina_clip_integrations import ImageError, LocalBackend
from jina_clip_integrations.chroma import JinaClipEmbeddingFunction
from jina_clip_integrations.inputs import InputParser
from jina_clip_integrations.lancedb import JinaClipEmbeddings as TableEmbeddings
from jina_clip_integrations.langchain import JinaClipEmbeddings
from jina_clip_integrations.llama_index import JinaClipEmbedding
from jina_clip_integrations.server import create_app
from jina_clip_integrations.vectors import truncate_and_normalize
from tests.faces import both_faces
from tests.serving import Serving

pytestmark = pytest.mark.filterwarnings("ignore:.*as in the published preprocessing:UserWarning")  # which is the point

NEAR = 2e-5
"""The golden files' own tolerance: batches of another shape add up in another order."""

FOLDER = Path(__file__).parent / "golden" / "v2"
QUERY_TASK = "retrieval.query"

LONGEST = 40
"""Tokens; the long golden texts are compared without a framework."""


@dataclass(frozen=True)
class Framework:
    """A class and what it calls its methods."""

    make: Callable[..., Any]
    query: str
    texts: str
    image: str
    images: str


FRAMEWORKS = {
    "langchain": Framework(
        JinaClipEmbeddings,
        query="embed_query",
        texts="embed_documents",
        image="embed_image",
        images="embed_images",
    ),
    "llama_index": Framework(
        JinaClipEmbedding,
        query="get_query_embedding",
        texts="get_text_embedding_batch",
        image="get_image_embedding",
        images="get_image_embedding_batch",
    ),
}
WAYS = ["local", "api"]


@dataclass(frozen=True)
class Golden:
    """The tiny v2 checkpoint, what it must give, and a server of it."""

    backend: LocalBackend
    texts: list[str]
    images: list[str]
    rows: dict[str, np.ndarray]
    serving: Serving

    @property
    def places(self) -> dict[str, dict[str, Any]]:
        """Options of a class that computes here, and of one that asks the server."""
        return {
            "local": {"model": str(FOLDER), "device": "cpu", "dtype": "float32", "max_length": 512},
            "api": {"model": "v2", "base_url": f"{self.serving.url}/v1", "batch_size": 5, "max_retries": 0},
        }

    def expected(self, kind: str, dimensions: int | None) -> np.ndarray:
        return truncate_and_normalize(self.rows[kind], dimensions=dimensions, normalized=True)


@pytest.fixture(scope="module")
def golden() -> Iterator[Golden]:
    assert (FOLDER / "golden.safetensors").is_file(), f"golden fixtures are missing: {FOLDER}"
    facts = json.loads((FOLDER / "golden.json").read_text(encoding="utf-8"))
    arrays = load_file(FOLDER / "golden.safetensors")
    photos = [n for n, row in enumerate(facts["images"]) if "exif" not in row["file"]]  # golden rows ignore EXIF
    with LocalBackend(FOLDER, dtype="float32", device="cpu", max_length=512) as backend:
        lengths = backend.count_tokens(facts["texts"], task=QUERY_TASK)
        short = [n for n, length in enumerate(lengths) if length <= LONGEST]
        rows = {task: arrays[f"text.{task}.raw"][short] for task in ("none", QUERY_TASK)}
        rows["image"] = arrays["images.raw"][photos]
        images = [str(FOLDER / facts["images"][n]["file"]) for n in photos]
        serving = Serving(create_app(backend))
        serving.start()
        yield Golden(backend, [facts["texts"][n] for n in short], images, rows, serving)
        serving.stop()


@dataclass(frozen=True)
class Asked:
    """One object of a framework's class, called by what its methods do, in one face."""

    model: Any
    framework: Framework
    face: Callable[[Any], Any]

    def __call__(self, what: str, argument: Any) -> Any:
        return getattr(self.face(self.model), getattr(self.framework, what))(argument)


@pytest.fixture(params=list(FRAMEWORKS))
def ask(
    request: pytest.FixtureRequest, golden: Golden, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Any]]:
    """`ask(way, face, 16)("texts", […])`: the class of one framework, with its model here or behind the server."""
    framework = FRAMEWORKS[request.param]
    monkeypatch.setattr("jina_clip_integrations.backends.remote.api.find_model", lambda name: golden.backend.spec)
    places = golden.places
    opened: list[Any] = []

    def make(way: str, face: Callable[[Any], Any], dimensions: int | None = None) -> Asked:
        opened.append(framework.make(backend=way, dimensions=dimensions, **places[way]))
        return Asked(opened[-1], framework, face)

    yield make
    for one in opened:
        one.close()


def near(vectors: Any, expected: np.ndarray) -> None:
    rows = np.asarray(vectors)
    assert rows.shape == expected.shape
    np.testing.assert_allclose(rows, expected, atol=NEAR, rtol=0)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dimensions", [None, 16])
@both_faces
class TestVectors:
    """Every way gives the golden rows, and so both give the same."""

    def test_in_the_order_of_the_caller(self, golden: Golden, ask, face, way: str, dimensions: int | None) -> None:
        asked = ask(way, face, dimensions)
        for what, kind, inputs in (("texts", "none", golden.texts), ("images", "image", golden.images)):
            order = np.random.default_rng(5).permutation([*range(len(inputs)), *range(4)])  # some of them twice
            near(asked(what, [inputs[n] for n in order]), golden.expected(kind, dimensions)[order])

    def test_of_one_alone(self, golden: Golden, ask, face, way: str, dimensions: int | None) -> None:
        """Queries with the model's instruction, which either way knows of by itself."""
        asked = ask(way, face, dimensions)
        near(asked("query", golden.texts[0]), golden.expected(QUERY_TASK, dimensions)[0])
        near(asked("texts", golden.texts[:1]), golden.expected("none", dimensions)[:1])
        near(asked("image", golden.images[1]), golden.expected("image", dimensions)[1])


@pytest.mark.parametrize("way", WAYS)
@both_faces
def test_a_bad_image_is_named_by_its_place(golden: Golden, ask, face, way: str) -> None:
    with pytest.raises(ImageError) as caught:
        ask(way, face)("images", [golden.images[0], golden.images[1], b"no image", golden.images[2]])
    assert caught.value.index == 2


@pytest.mark.parametrize("ask", ["langchain"], indirect=True)  # the other framework's methods have no such option
@pytest.mark.parametrize("way", WAYS)
@both_faces
def test_bad_images_can_be_skipped(golden: Golden, ask, face, way: str) -> None:
    asked = ask(way, face)
    images = [golden.images[0], "missing.png", golden.images[1], b"no image"]
    rows = np.asarray(face(asked.model).embed_images(images, on_error="skip"))
    near(rows[[0, 2]], golden.expected("image", None)[:2])
    assert np.isnan(rows[[1, 3]]).all()
    assert {index: type(error) for index, error in asked.model.last_errors.items()} == {1: ImageError, 3: ImageError}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dimensions", [None, 16])
def test_the_functions_of_stores(golden: Golden, monkeypatch, way: str, dimensions: int | None) -> None:
    """Chroma's and LanceDB's embedding functions, built from what the store keeps."""
    monkeypatch.setattr("jina_clip_integrations.backends.remote.api.find_model", lambda name: golden.backend.spec)
    options = {"backend": way, "dimensions": dimensions, **golden.places[way]}
    chroma = JinaClipEmbeddingFunction.build_from_config(JinaClipEmbeddingFunction(**options).get_config())
    mixed = [*golden.texts, *(np.asarray(InputParser().image(path).open()) for path in golden.images)]
    expected = [golden.expected(kind, dimensions) for kind in ("none", "image")]
    near(chroma(mixed), np.concatenate(expected))
    near(chroma.embed_query(golden.texts), golden.expected(QUERY_TASK, dimensions))
    tables = {source: TableEmbeddings.create(**options, source=source) for source in ("text", "image")}
    near(tables["text"].compute_source_embeddings(golden.texts), expected[0])
    near(tables["image"].compute_source_embeddings(golden.images), expected[1])
    near(tables["image"].compute_query_embeddings(golden.texts[0]), golden.expected(QUERY_TASK, dimensions)[:1])
