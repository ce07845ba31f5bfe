"""sentence-transformers over our classes: the same vectors, its options, files and evaluators, and some training.

Nothing here passes `trust_remote_code`.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer import losses
from sentence_transformers.sentence_transformer.evaluation import (
    EmbeddingSimilarityEvaluator,
    InformationRetrievalEvaluator,
    TripletEvaluator,
)

from jina_clip_integrations import JinaClipEncoder
from jina_clip_integrations.errors import ConfigurationError, ImageError
from jina_clip_integrations.modeling.sentence_transformer import load_sentence_transformer
from tests.modeling.conftest import Golden

pytestmark = pytest.mark.filterwarnings("ignore:.*as in the published preprocessing:UserWarning")  # of the encoder

AGREEMENT = 1e-6
"""Largest difference of values of unit vectors: both run the same float32 model, in batches of other sizes."""

FLOAT32 = {"dtype": "float32"}


@pytest.fixture(scope="module")
def plain(golden_folder: Path) -> SentenceTransformer:
    """The checkpoint as `SentenceTransformer` alone loads it."""
    return SentenceTransformer(str(golden_folder), model_kwargs=FLOAT32)


@pytest.fixture(scope="module")
def encoder(golden_folder: Path) -> Iterator[JinaClipEncoder]:
    # As the published preprocessing, which looks at no EXIF.
    with JinaClipEncoder(str(golden_folder), backend="local", dtype="float32", exif_orientation=False) as encoder:
        yield encoder


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return ["a red bicycle", "ein Haus am See", "", "word " * 40]


@pytest.fixture(scope="module")
def images(golden_folder: Path) -> list[Image.Image]:
    return [Image.open(path) for path in sorted((golden_folder / "images").iterdir())]


def distance(left: Any, right: Any) -> float:
    return float(np.abs(np.asarray(left) - np.asarray(right)).max())


def test_vectors_are_those_of_the_encoder(
    plain: SentenceTransformer, encoder: JinaClipEncoder, texts: list[str], images: list[Image.Image]
) -> None:
    assert distance(plain.encode(texts, normalize_embeddings=True), encoder.encode_text(texts)) <= AGREEMENT
    assert distance(plain.encode(images, normalize_embeddings=True), encoder.encode_image(images)) <= AGREEMENT
    assert plain.get_embedding_dimension() == encoder.dimensions
    assert set(plain.modalities) == {"text", "image"}


def test_vectors_are_the_golden_ones(golden: Golden) -> None:
    model = SentenceTransformer(str(golden.folder), model_kwargs=FLOAT32)
    model.max_seq_length = 512  # as the published `encode_text`
    images = [Image.open(path) for path in golden.image_files()]
    for inputs, name in ((images, "images.normalized"), (golden.texts, "text.none.normalized")):
        found = model.encode(inputs, normalize_embeddings=True, convert_to_tensor=True)
        golden.check(found, name, "embedding_max_abs")


@pytest.mark.parametrize("batch_size", [1, 3])
def test_inputs_may_be_dicts(
    plain: SentenceTransformer,
    encoder: JinaClipEncoder,
    texts: list[str],
    images: list[Image.Image],
    batch_size: int,
) -> None:
    options = {"normalize_embeddings": True, "batch_size": batch_size}
    assert (
        distance(plain.encode([{"text": text} for text in texts], **options), encoder.encode_text(texts)) <= AGREEMENT
    )
    assert (
        distance(plain.encode([{"image": one} for one in images], **options), encoder.encode_image(images)) <= AGREEMENT
    )


def test_nothing_is_opened_for_a_string(
    plain: SentenceTransformer, encoder: JinaClipEncoder, golden_folder: Path
) -> None:
    path = str(golden_folder / "images" / "rgba.png")
    as_text = plain.encode([{"text": path}], normalize_embeddings=True)
    assert distance(as_text, encoder.encode_text([path])) <= AGREEMENT
    # As a plain string it is an image to sentence-transformers, which leaves opening it to us.
    with pytest.raises(ImageError, match="open the file first"):
        plain.encode([path])


def test_modalities_are_encoded_in_one_call_each(plain: SentenceTransformer, images: list[Image.Image]) -> None:
    with pytest.raises(ValueError, match="Encode each modality separately"):
        plain.encode(["a text", images[0]])


def test_widths_are_truncated(encoder: JinaClipEncoder, golden_folder: Path, texts: list[str]) -> None:
    width = encoder.dimensions // 2
    model = SentenceTransformer(str(golden_folder), model_kwargs=FLOAT32, truncate_dim=width)
    expected = encoder.encode_text(texts)[:, :width]
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    assert distance(model.encode(texts, normalize_embeddings=True), expected) <= AGREEMENT


def test_the_length_of_texts_is_the_one_that_was_set(golden_folder: Path) -> None:
    model = SentenceTransformer(str(golden_folder), model_kwargs=FLOAT32)
    assert model.preprocess(["word " * 40])["input_ids"].shape[1] > 8
    model.max_seq_length = 8
    assert model.preprocess(["word " * 40])["input_ids"].shape[1] == 8
    options = {"backend": "local", "dtype": "float32", "max_length": 8}
    with JinaClipEncoder(str(golden_folder), **options) as short, pytest.warns(UserWarning, match="were cut"):
        expected = short.encode_text("word " * 40)
    assert distance(model.encode("word " * 40, normalize_embeddings=True), expected) <= AGREEMENT


def test_queries_get_the_instruction_of_the_checkpoint(
    golden_folder: Path, encoder: JinaClipEncoder, texts: list[str]
) -> None:
    model = load_sentence_transformer(golden_folder, model_kwargs=FLOAT32)
    queries = encoder.encode_text(texts, task=encoder.query_task)
    assert distance(model.encode_query(texts), queries) <= AGREEMENT
    assert distance(model.encode_document(texts), encoder.encode_text(texts)) <= AGREEMENT
    if encoder.query_task is None:  # v1
        assert model.prompts == {"query": "", "document": ""}
    else:
        assert distance(model.encode(texts, prompt_name="retrieval.query"), queries) <= AGREEMENT
        assert distance(queries, encoder.encode_text(texts)) > 0.01


def test_other_prompts_can_be_given(golden_folder: Path) -> None:
    model = load_sentence_transformer(golden_folder, prompts={"query": "find: "}, model_kwargs=FLOAT32)
    assert distance(model.encode_query("a dog"), model.encode("find: a dog")) == 0


def test_a_saved_model_is_loaded_again_by_the_library_alone(
    golden_folder: Path, texts: list[str], images: list[Image.Image], tmp_path: Path
) -> None:
    model = load_sentence_transformer(golden_folder, model_kwargs=FLOAT32, truncate_dim=16)
    model.save(str(tmp_path))
    again = SentenceTransformer(str(tmp_path))
    assert again.prompts == model.prompts
    assert [type(module) for module in again] == [type(module) for module in model]
    for encode in (lambda one: one.encode_query(texts), lambda one: one.encode(images)):
        assert distance(encode(model), encode(again)) == 0
    with JinaClipEncoder(str(tmp_path), backend="local", dtype="float32") as encoder:  # and by us
        found = again.encode(texts, normalize_embeddings=True)
        expected = encoder.encode_text(texts)[:, :16]
        assert distance(found, expected / np.linalg.norm(expected, axis=1, keepdims=True)) <= AGREEMENT


@pytest.fixture
def published(golden_folder: Path, tmp_path: Path) -> Path:
    """A folder with what the published repositories have for sentence-transformers; their code must not run."""
    folder = shutil.copytree(golden_folder, tmp_path / "published")
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": "custom_st.Transformer"},
        {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
    ]
    (folder / "modules.json").write_text(json.dumps(modules), "utf-8")
    (folder / "config_sentence_transformers.json").write_text(json.dumps({"prompts": {}}), "utf-8")
    (folder / "custom_st.py").write_text("raise SystemExit('this code was run')\n", "utf-8")
    return folder


def test_published_repositories_need_no_code_of_theirs(
    published: Path, encoder: JinaClipEncoder, texts: list[str]
) -> None:
    with pytest.raises(Exception, match="trust_remote_code"):
        SentenceTransformer(str(published))
    model = load_sentence_transformer(published, model_kwargs=FLOAT32, local_files_only=True)
    assert distance(model.encode(texts), encoder.encode_text(texts)) <= AGREEMENT


def test_the_demo_model_has_its_name(texts: list[str]) -> None:
    model = load_sentence_transformer("demo", model_kwargs=FLOAT32)
    with JinaClipEncoder("demo", backend="local", dtype="float32") as encoder:
        assert distance(model.encode(texts), encoder.encode_text(texts)) <= AGREEMENT


def test_what_cannot_be_loaded_is_one_of_our_errors() -> None:
    with pytest.raises(ConfigurationError, match="variant"):
        load_sentence_transformer("demo", model_kwargs={"variant": "fp16"})


def test_its_evaluators_run(encoder: JinaClipEncoder, golden_folder: Path, images: list[Image.Image]) -> None:
    model = load_sentence_transformer(golden_folder, model_kwargs=FLOAT32)
    captions = [f"image number {n}" for n in range(len(images))]
    keys = [str(n) for n in range(len(images))]
    retrieval = InformationRetrievalEvaluator(
        dict(zip(keys, captions, strict=True)),
        dict(zip(keys, images, strict=True)),
        {key: {key} for key in keys},
        accuracy_at_k=[1, 5],
        write_csv=False,
    )
    scores = encoder.encode_text(captions, task=encoder.query_task) @ encoder.encode_image(images).T
    rank = 1 + (scores > np.diag(scores)[:, None]).sum(axis=1)
    found = retrieval(model)
    for k in (1, 5):
        assert found[f"cosine_accuracy@{k}"] == pytest.approx(np.mean(rank <= k))
    similarity = EmbeddingSimilarityEvaluator(captions, captions[::-1], list(range(len(captions))), write_csv=False)
    assert -1 <= similarity(model)["spearman_cosine"] <= 1
    triplets = TripletEvaluator(images[:4], images[:4], images[4:8], write_csv=False)
    assert triplets(model)["cosine_accuracy"] == 1


def test_training_lowers_the_loss(golden_folder: Path, images: list[Image.Image]) -> None:
    model = load_sentence_transformer(golden_folder, model_kwargs=FLOAT32)
    captions = [f"image number {n}" for n in range(6)]
    widths = [model.get_embedding_dimension() or 0, 32, 16]
    loss = losses.MatryoshkaLoss(model, losses.MultipleNegativesRankingLoss(model), matryoshka_dims=widths)
    torch.manual_seed(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4)
    model.train()
    values = []
    for _ in range(12):
        features = [model.preprocess(captions), model.preprocess(images[:6])]
        value = loss(features, torch.zeros(6))
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        values.append(value.item())
    assert min(values[-3:]) < 0.9 * values[0]
    assert all(torch.isfinite(parameter).all() for parameter in model.parameters())
