"""An exported model gives the golden vectors, through the encoder and in every order and batch."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from jina_clip_integrations import JinaClipEncoder, VectorFingerprint
from jina_clip_integrations.backends.base import Batch
from jina_clip_integrations.backends.local import LocalBackend
from jina_clip_integrations.backends.registry import create_backend
from jina_clip_integrations.cache import MemoryCache
from jina_clip_integrations.errors import ConfigurationError, ImageError
from tests.exports import GOLDEN, exported

pytestmark = pytest.mark.filterwarnings("ignore:.*as in the published preprocessing:UserWarning")

ATOL = 2e-5
"""Of the golden files, for normalised vectors in float32."""


@dataclass(frozen=True)
class Case:
    folder: Path
    format: str
    facts: dict[str, Any]
    arrays: dict[str, np.ndarray[Any, Any]]
    images: list[Path]
    source: Path

    def encoder(self, **options: Any) -> JinaClipEncoder:
        return JinaClipEncoder(
            self.folder, backend=self.format, **{"max_length": 512, "exif_orientation": False, **options}
        )

    def backend(self, **options: Any) -> Any:
        return create_backend(self.format, str(self.folder), {"max_length": 512, **options})


@pytest.fixture(scope="module", params=["v1-onnx", "v2-onnx", "v2-openvino"])
def case(request: pytest.FixtureRequest) -> Case:
    model, format = request.param.split("-")
    source = GOLDEN / model
    facts = json.loads((source / "golden.json").read_text(encoding="utf-8"))
    images = [source / each["file"] for each in facts["images"]]
    return Case(exported(model, format), format, facts, load_file(source / "golden.safetensors"), images, source)


@pytest.fixture(scope="module")
def encoder(case: Case) -> Iterator[JinaClipEncoder]:
    with case.encoder() as encoder:
        yield encoder


Face = Callable[..., Any]


@pytest.fixture(params=["sync", "async"])
def call(request: pytest.FixtureRequest, encoder: JinaClipEncoder) -> Face:
    """A method of the encoder by name, blocking or awaited."""
    if request.param == "sync":
        return lambda name, *args, **options: getattr(encoder, name)(*args, **options)
    return lambda name, *args, **options: asyncio.run(getattr(encoder, f"a{name}")(*args, **options))


@pytest.mark.filterwarnings("ignore:.*were cut:UserWarning")
class TestGolden:
    def test_texts(self, case: Case, call: Face) -> None:
        for task in case.facts["tasks"]:
            vectors = call("encode_text", case.facts["texts"], task=None if task == "none" else task)
            np.testing.assert_allclose(vectors, case.arrays[f"text.{task}.normalized"], atol=ATOL, rtol=0)
            assert (vectors * case.arrays[f"text.{task}.normalized"]).sum(axis=1).min() >= 0.99999

    def test_images(self, case: Case, call: Face) -> None:
        vectors = call("encode_image", case.images)
        np.testing.assert_allclose(vectors, case.arrays["images.normalized"], atol=ATOL, rtol=0)

    def test_reversed_rows_are_reversed_vectors(self, case: Case, call: Face) -> None:
        vectors = call("encode_text", case.facts["texts"][::-1])
        np.testing.assert_allclose(vectors, case.arrays["text.none.normalized"][::-1], atol=ATOL, rtol=0)

    @pytest.mark.parametrize("size", [1, 5])
    def test_batch_size_does_not_matter(self, case: Case, size: int) -> None:
        with case.encoder(batch_size=size, num_threads=1, num_workers=1) as encoder:
            texts, images = encoder.encode_text(case.facts["texts"]), encoder.encode_image(case.images)
        np.testing.assert_allclose(texts, case.arrays["text.none.normalized"], atol=ATOL, rtol=0)
        np.testing.assert_allclose(images, case.arrays["images.normalized"], atol=ATOL, rtol=0)

    def test_threads_do_not_mix_rows_up(self, case: Case, encoder: JinaClipEncoder) -> None:
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(encoder.encode_text, [case.facts["texts"]] * 4))
        for vectors in answers:
            np.testing.assert_allclose(vectors, case.arrays["text.none.normalized"], atol=ATOL, rtol=0)

    def test_texts_longer_than_the_limit(self, case: Case) -> None:
        with case.encoder(max_length=16) as encoder:
            vectors = encoder.encode_text(case.facts["texts"])
        np.testing.assert_allclose(vectors, case.arrays["text.none.max16"], atol=ATOL, rtol=0)


def test_texts_that_are_cut_are_counted(case: Case) -> None:
    with case.encoder(max_length=16) as encoder, pytest.warns(UserWarning, match="1 of 2 texts were longer"):
        encoder.encode_text(["a", "word " * 60])


def test_dimensions_are_cut_before_normalising(case: Case) -> None:
    if not case.facts["tasks"][1:]:  # v1 has no Matryoshka
        with pytest.raises(ConfigurationError, match="was not trained with Matryoshka"):
            case.encoder(dimensions=48)
        return
    with case.encoder(dimensions=case.facts["short_dim"]) as encoder:
        vectors = encoder.encode_image(case.images)
    np.testing.assert_allclose(vectors, case.arrays[f"images.dim{case.facts['short_dim']}"], atol=ATOL, rtol=0)


def test_an_unknown_task(case: Case, encoder: JinaClipEncoder) -> None:
    with pytest.raises(ConfigurationError, match="unknown task 'classification'"):
        encoder.encode_text("a", task="classification")


def test_a_broken_image_loses_nothing_else(case: Case, encoder: JinaClipEncoder, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\n nothing more")
    images = [case.images[0], broken, case.images[2]]
    with pytest.raises(ImageError) as caught:
        encoder.encode_image(images)
    assert caught.value.index == 1
    np.testing.assert_allclose(caught.value.partial[0], case.arrays["images.normalized"][0], atol=ATOL, rtol=0)
    vectors = encoder.encode_image(images, on_error="skip")
    assert np.isnan(vectors[1]).all()
    np.testing.assert_allclose(vectors[[0, 2]], case.arrays["images.normalized"][[0, 2]], atol=ATOL, rtol=0)


def test_a_text_that_is_no_unicode(encoder: JinaClipEncoder) -> None:
    vectors = encoder.encode_text(["fine", "\udcff"], on_error="skip")
    assert np.isnan(vectors).all(axis=1).tolist() == [False, True]


def test_a_text_may_spell_the_padding_token(case: Case, encoder: JinaClipEncoder) -> None:
    text = "one <pad> two [PAD] three"
    with JinaClipEncoder(case.source, backend="local", device="cpu", dtype="float32") as original:
        np.testing.assert_allclose(encoder.encode_text(text), original.encode_text(text), atol=ATOL, rtol=0)


def test_vectors_can_be_compared_with_those_of_the_original(case: Case, encoder: JinaClipEncoder) -> None:
    with JinaClipEncoder(case.source, backend="local", device="cpu") as original:
        assert VectorFingerprint.of(encoder) == VectorFingerprint.of(original)


def test_a_cache_tells_apart_what_gives_other_vectors(case: Case) -> None:
    identity = case.backend().cache_identity
    assert case.backend(num_threads=1, batch_size=3).cache_identity == identity
    others = {case.backend(**other).cache_identity for other in ({"max_length": 16}, {"fast_decode": True})}
    assert len(others - {identity}) == 2


def test_the_cache_answers_the_second_time(case: Case) -> None:
    with case.encoder(cache=MemoryCache()) as encoder:
        first = encoder.encode_image(case.images)
        np.testing.assert_array_equal(encoder.encode_image(case.images), first)
        assert encoder.usage.cache_hits == len(case.images)


def test_copies_and_pickles_compute_the_same(case: Case, encoder: JinaClipEncoder) -> None:
    expected = case.arrays["images.normalized"][:1]
    for other in (copy.deepcopy(encoder), pickle.loads(pickle.dumps(encoder))):
        np.testing.assert_allclose(other.encode_image(case.images[:1]), expected, atol=ATOL, rtol=0)


def test_a_backend_can_be_closed_and_used_again(case: Case) -> None:
    backend = case.backend()
    for _ in range(2):
        vectors = backend.embed(Batch(modality="text", texts=case.facts["texts"][:3])).vectors
        np.testing.assert_allclose(vectors, case.arrays["text.none.raw"][:3], atol=5e-4, rtol=0)
        backend.close()


def test_no_torch_is_needed() -> None:
    program = f"""
import sys
from jina_clip_integrations import JinaClipEncoder
with JinaClipEncoder({str(exported("v1"))!r}, backend="onnx") as encoder:
    assert encoder.encode_text("a").shape == (96,)
    encoder.encode_image({str(GOLDEN / "v1" / "images")!r} + "/" + {next((GOLDEN / "v1" / "images").iterdir()).name!r})
print(sorted({{"torch", "transformers"}} & set(sys.modules)))
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_tokens_are_counted_as_by_the_original(case: Case) -> None:
    texts = ["a", "word " * 600]
    original = LocalBackend(case.source, device="cpu", dtype="float32")
    with case.backend() as backend, original:
        assert backend.count_tokens(texts) == original.count_tokens(texts)
