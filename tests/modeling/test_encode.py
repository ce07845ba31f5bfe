"""`encode_text` and `encode_image` of the model cards, on what `AutoModel` gives: the encoder's vectors."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoModel

from jina_clip_integrations import JinaClipEncoder, SourcePolicy
from jina_clip_integrations.errors import ConfigurationError, ImageError, InputError
from jina_clip_integrations.modeling import JinaClipConfig, JinaClipModel

pytestmark = pytest.mark.filterwarnings("ignore:.*as in the published preprocessing:UserWarning")  # of the encoder

NEAR = 2e-5
TEXTS = ["A blue cat", "", "a long one " * 40, "A red cat", "https://example.org/a.png", "un chien"]


@pytest.fixture(scope="module")
def card(golden: Any) -> Any:
    """The model as the cards load it."""
    return AutoModel.from_pretrained(golden.folder, trust_remote_code=True, dtype="float32")


@pytest.fixture(scope="module")
def encoder(golden: Any) -> Any:
    with JinaClipEncoder(golden.folder, backend="local", dtype="float32", device="cpu") as opened:
        yield opened


@pytest.fixture(scope="module")
def paths(golden: Any) -> list[str]:
    return [str(path) for path in golden.image_files()[:5]]


def near(rows: Any, expected: Any) -> None:
    assert isinstance(rows, np.ndarray)
    assert rows.dtype == np.float32
    assert rows.shape == expected.shape
    np.testing.assert_allclose(rows, expected, atol=NEAR)


@pytest.mark.parametrize("batch_size", [1, 4, 32])
def test_texts_keep_their_order(card: Any, encoder: Any, batch_size: int) -> None:
    near(card.encode_text(TEXTS, batch_size=batch_size), encoder.encode_text(TEXTS))
    near(card.encode_text(TEXTS[0]), encoder.encode_text(TEXTS[0]))
    near(card.encode_text([]), encoder.encode_text([]))


@pytest.mark.parametrize("batch_size", [2, 32])
def test_images_in_every_form(card: Any, encoder: Any, paths: list[str], batch_size: int) -> None:
    with Image.open(paths[1]) as opened:
        opened.load()
        forms = [paths[0], opened, Path(paths[2]), Path(paths[3]).read_bytes(), *paths[4:]]
        near(card.encode_image(forms, batch_size=batch_size), encoder.encode_image(paths))
    near(card.encode_image(paths[0]), encoder.encode_image(paths[0]))


def test_the_example_of_the_card(card: Any, golden: Any, encoder: Any, paths: list[str]) -> None:
    if golden.folder.name == "v1":
        texts, images = card.encode_text(TEXTS[:2]), card.encode_image(paths[:2])
        expected = encoder.encode_text(TEXTS[0]) @ encoder.encode_image(paths[1])
        assert texts[0] @ images[1].T == pytest.approx(expected, abs=NEAR)
        return
    narrow = JinaClipEncoder(golden.folder, backend=encoder.backend, dimensions=32)
    near(card.encode_text(TEXTS, truncate_dim=32), narrow.encode_text(TEXTS))
    near(card.encode_image(paths, truncate_dim=32), narrow.encode_image(paths))
    near(
        card.encode_text("a query", task="retrieval.query", truncate_dim=32),
        narrow.encode_text("a query", task="retrieval.query"),
    )


def test_forms_of_the_result(card: Any, paths: list[str]) -> None:
    rows = card.encode_text(TEXTS)
    tensor = card.encode_text(TEXTS, convert_to_tensor=True)
    assert isinstance(tensor, torch.Tensor)
    assert np.array_equal(tensor.numpy(), rows)
    several = card.encode_text(TEXTS, convert_to_numpy=False)
    assert isinstance(several, list)
    assert torch.equal(torch.stack(several), tensor)
    assert card.encode_image(paths[0], convert_to_tensor=True).shape == (rows.shape[1],)
    assert card.encode_image(paths[0], convert_to_numpy=False).shape == (rows.shape[1],)
    raw = card.encode_image(paths, normalize_embeddings=False)
    assert not np.allclose(np.linalg.norm(raw, axis=1), 1, atol=1e-3)
    np.testing.assert_allclose(raw / np.linalg.norm(raw, axis=1, keepdims=True), card.encode_image(paths), atol=1e-6)


def test_keywords_of_the_tokenizer(card: Any) -> None:
    long = "a long one " * 40
    short = card.encode_text(long, max_length=8, truncation=True, padding=True)
    assert not np.allclose(short, card.encode_text(long), atol=1e-3)


def test_a_progress_bar_when_asked_for(card: Any, capsys: pytest.CaptureFixture[str]) -> None:
    card.encode_text(TEXTS, show_progress_bar=True, device="cpu")
    assert "6/6" in capsys.readouterr().err
    card.encode_text(TEXTS)
    assert capsys.readouterr().err == ""


def test_training_goes_on_afterwards(golden: Any) -> None:
    model = JinaClipModel.from_pretrained(golden.folder, dtype="float32").train()
    model.encode_text("a")
    assert model.training
    assert model.get_text_features(torch.tensor([[0, 5, 2]])).pooler_output.requires_grad


def test_what_cannot_be_encoded_is_named(card: Any, paths: list[str], tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"not an image")
    for bad in (tmp_path / "broken.png", tmp_path / "gone.png", 7):
        with pytest.raises(ImageError) as caught:
            card.encode_image([paths[0], bad])
        assert caught.value.index == 1
    with pytest.raises(InputError) as no_text:
        card.encode_text(["a", None])
    assert no_text.value.index == 1
    with pytest.raises(InputError, match="dict"):
        card.encode_text({"a": 1})
    with pytest.raises(ConfigurationError, match="unknown task"):
        card.encode_text([], task="other")
    with pytest.raises(ConfigurationError, match="dimensions=7"):
        card.encode_text("a", truncate_dim=7)
    with pytest.raises(ConfigurationError, match="batch_size"):
        card.encode_text("a", batch_size=0)


def test_images_obey_a_policy(card: Any, paths: list[str], tmp_path: Path) -> None:
    with pytest.raises(ImageError):
        card.encode_image(paths[0], sources=SourcePolicy.agent(roots=tmp_path))
    with pytest.raises(ImageError):
        card.encode_image(["http://127.0.0.1:9/a.png"], sources=SourcePolicy.agent())


def test_photos_are_turned_upright_unless_told_otherwise(card: Any, tmp_path: Path) -> None:
    sideways, exif = Image.effect_noise((40, 30), 90).convert("RGB"), Image.Exif()
    exif[0x0112] = 6
    sideways.save(tmp_path / "photo.png", exif=exif)
    upright = sideways.transpose(Image.Transpose.ROTATE_270)
    near(card.encode_image(tmp_path / "photo.png"), card.encode_image(upright))
    near(card.encode_image(tmp_path / "photo.png", exif_orientation=False), card.encode_image(sideways))


def test_copies_and_pickles_encode_and_hold_no_token(golden: Any) -> None:
    model = JinaClipModel.from_pretrained(golden.folder, dtype="float32", token="hf_secret", local_files_only=True)
    expected = model.encode_text("a")
    assert "hf_secret" not in repr(model._origin)
    model._processor = None
    pickled = pickle.dumps(model)
    assert b"hf_secret" not in pickled
    for same in (copy.deepcopy(model), pickle.loads(pickled)):
        near(same.encode_text("a"), expected)


def test_a_model_from_nowhere_needs_a_processor(golden: Any, card: Any) -> None:
    model = JinaClipModel(JinaClipConfig.from_pretrained(golden.folder)).float()
    with pytest.raises(ConfigurationError, match=r"model\.processor ="):
        model.encode_text("a")
    model.processor = card.processor
    assert model.encode_text("a").shape == (model.config.embed_dim,)
