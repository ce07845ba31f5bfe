"""The engine's own decisions: packed rows, and the padded grid where a text spells the padding token."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from jina_clip_integrations.backends.local.devices import DeviceChoice
from jina_clip_integrations.backends.local.engine import Engine
from jina_clip_integrations.modeling import JinaClipModel

CPU = DeviceChoice(device="cpu", dtype="float32", reason="test")


@pytest.fixture(scope="module")
def engine(golden_folder: Path) -> Engine:
    return Engine(golden_folder, CPU, attn_implementation="sdpa", compile=False)


@pytest.fixture(scope="module")
def model(golden_folder: Path) -> JinaClipModel:
    return JinaClipModel.from_pretrained(golden_folder, dtype="float32").eval()


def padded(model: JinaClipModel, rows: list[list[int]]) -> np.ndarray:
    """The vectors by way of the framework's own interface."""
    pad = model.config.text_config.settings.pad_token_id
    ids = torch.full((len(rows), max(map(len, rows))), pad)
    for row, tokens in zip(ids, rows, strict=True):
        row[: len(tokens)] = torch.tensor(tokens)
    with torch.inference_mode():
        return model.get_text_features(ids).pooler_output.numpy()


def test_no_padding_on_a_cpu(engine: Engine, model: JinaClipModel) -> None:
    assert not engine.pads
    rows = [[5, 6, 7, 8], [9, 10], [11, 12], [13, 14, 15, 16, 17]]
    np.testing.assert_allclose(engine.embed_ids(rows), padded(model, rows), atol=2e-5)


def test_a_text_that_spells_the_padding_token(engine: Engine, model: JinaClipModel) -> None:
    """Such a token is neither attended to nor pooled, as in the published model."""
    pad = model.config.text_config.settings.pad_token_id
    rows = [[5, pad, 7, 8, 9], [10, 11, 12]]
    vectors = engine.embed_ids(rows)
    np.testing.assert_allclose(vectors, padded(model, rows), atol=2e-5)
    assert np.abs(vectors[0] - engine.embed_ids([[5, 6, 7, 8, 9]])[0]).max() > 1e-3


def test_images(engine: Engine, model: JinaClipModel) -> None:
    size = model.config.vision_config.image_size
    pixels = np.random.default_rng(0).integers(0, 256, (3, size, size, 3), dtype=np.uint8)
    mean, std = np.array([0.5, 0.4, 0.3], np.float32), np.array([0.2, 0.3, 0.4], np.float32)
    values = (torch.from_numpy(pixels) / 255 - torch.from_numpy(mean)) / torch.from_numpy(std)
    with torch.inference_mode():
        expected = model.get_image_features(values.permute(0, 3, 1, 2)).pooler_output.numpy()
    np.testing.assert_allclose(engine.embed_pixels(pixels, mean=mean, std=std), expected, atol=2e-5)
