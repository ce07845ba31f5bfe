"""The demo checkpoint: published layout, small, and good at what it was trained for."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import pytest

from jina_clip_integrations import JinaClipEncoder
from jina_clip_integrations.demo import demo_model_path, gallery

PACKAGED_BYTES = 12_000_000
NAMED_LANGUAGES = ("en", "de", "tr", "ar", "zh", "hi")


def truncate(vectors: np.ndarray, dimensions: int) -> np.ndarray:
    part = vectors[:, :dimensions]
    return part / np.linalg.norm(part, axis=1, keepdims=True)


def recall_at_5(queries: np.ndarray, images: np.ndarray, dimensions: int) -> float:
    scores = truncate(queries, dimensions) @ truncate(images, dimensions).T
    own = np.diagonal(scores)[:, None]
    return float(((scores >= own).sum(axis=1) <= 5).mean())


@pytest.fixture(scope="module")
def encoder() -> Iterator[JinaClipEncoder]:
    with JinaClipEncoder(model="demo", backend="local", device="cpu") as opened:
        yield opened


@pytest.fixture(scope="module")
def image_vectors(encoder: JinaClipEncoder) -> np.ndarray:
    return encoder.encode_image([image.image() for image in gallery()])


@pytest.fixture(scope="module")
def name_vectors(encoder: JinaClipEncoder) -> dict[str, np.ndarray]:
    return {lang: encoder.encode_text([p.names[lang] for p in gallery()]) for lang in NAMED_LANGUAGES}


def test_the_folder_has_the_published_files() -> None:
    names = {path.name for path in demo_model_path().iterdir()}
    assert names == {
        "config.json",
        "model.safetensors",
        "preprocessor_config.json",
        "special_tokens_map.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }


def test_the_configuration_says_that_it_is_a_demo() -> None:
    config = json.loads((demo_model_path() / "config.json").read_text("utf-8"))
    assert "demo model" in config["_name_or_path"]
    assert config["model_type"] == "jina_clip"
    assert config["text_config"]["default_lora_task"] == "retrieval.query"


def test_the_adapters_are_stored_and_not_zero() -> None:
    from safetensors import safe_open

    with safe_open(demo_model_path() / "model.safetensors", framework="pt") as file:
        adapters = [name for name in file.keys() if name.endswith("lora_A")]  # noqa: SIM118  # not a dict
        assert len(adapters) == 2 + 4 * 2
        assert all(file.get_tensor(name).dtype.is_floating_point for name in adapters)
        words = "text_model.transformer.roberta.embeddings.word_embeddings.parametrizations.weight.0.lora_A"
        assert file.get_tensor(words).abs().max() > 0


def test_everything_in_the_package_stays_small() -> None:
    data = demo_model_path().parent
    assert sum(path.stat().st_size for path in data.rglob("*") if path.is_file()) <= PACKAGED_BYTES


def test_names_find_their_images_in_many_languages(
    name_vectors: dict[str, np.ndarray], image_vectors: np.ndarray
) -> None:
    found = {lang: recall_at_5(vectors, image_vectors, 128) for lang, vectors in name_vectors.items()}
    assert np.mean(list(found.values())) >= 0.85
    assert min(found.values()) >= 0.80 * np.mean(list(found.values()))


def test_half_the_width_costs_little(name_vectors: dict[str, np.ndarray], image_vectors: np.ndarray) -> None:
    lost = [recall_at_5(v, image_vectors, 128) - recall_at_5(v, image_vectors, 64) for v in name_vectors.values()]
    assert np.mean(lost) <= 0.03


def test_the_query_instruction_does_no_harm(
    encoder: JinaClipEncoder, name_vectors: dict[str, np.ndarray], image_vectors: np.ndarray
) -> None:
    asked = encoder.encode_text([p.names["en"] for p in gallery()], task="retrieval.query")
    assert not np.allclose(asked, name_vectors["en"])
    with_it, without = (recall_at_5(v, image_vectors, 128) for v in (asked, name_vectors["en"]))
    assert with_it >= without - 0.03
